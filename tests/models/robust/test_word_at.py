"""Word AT and Word iAT, against loops in float64 and whole passes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Example
from models.networks.encoder import Encoder
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.method import Method
from models.robust.reference.arrays import WrongArray
from models.robust.word_at import WordIat, find_neighbours, reference, towards_neighbours
from models.tasks.sentiment import SENTIMENT
from models.text import Reader, ReadingLimits
from tests.models.passes import gradients, make_batch, make_build_context, make_context, make_encoder, take_row, total
from tests.tiny import make_tokenizer

NAMES = ("word-at", "word-iat")


def _method(encoder: Encoder, name: str, **given: Any) -> Any:
    method = IMPLEMENTATIONS[name].build(read_settings(name, given), make_build_context(encoder)).train()
    if isinstance(method, WordIat):
        vectors = encoder.word_vectors.detach()
        method.neighbours.copy_(find_neighbours(vectors, torch.arange(50), method.neighbours.shape[1], [0]))
    return method


def _build_iat(encoder: Encoder, neighbours: int) -> Method:
    settings = read_settings("word-iat", {"neighbours": neighbours})
    return IMPLEMENTATIONS["word-iat"].build(settings, make_build_context(encoder))


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_the_second_pass_has_every_texts_noise_along_its_gradient_at_the_set_length(family: str) -> None:
    encoder, batch = make_encoder(family), make_batch()
    context = make_context(encoder)
    start = torch.zeros(3, 7, encoder.word_vectors.shape[1], requires_grad=True)
    loss = context.task_loss(encoder(batch, word_noise=start).logits, batch.targets)
    (gradient,) = torch.autograd.grad(loss, start)
    lengths = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
    expected = context.task_loss(encoder(batch, word_noise=0.3 * gradient / lengths).logits, batch.targets)
    found = _method(encoder, "word-at", epsilon=0.3).step(batch, context).losses["adversarial"].value
    torch.testing.assert_close(found, expected)
    assert found > loss


def test_iat_moves_words_along_unit_directions_to_their_neighbours() -> None:
    encoder, batch = make_encoder(), make_batch()
    vectors, neighbours = encoder.word_vectors.detach(), torch.tensor([[3, 9], [2, 7]]).repeat(25, 1)
    gradient = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0)) * batch.mask[:, :, None]
    found = towards_neighbours(gradient, batch.ids, vectors, neighbours)
    for b, t in np.ndindex(3, 7):
        word = int(batch.ids[b, t])
        units = []
        for other in neighbours[word].tolist():
            away = (vectors[other] - vectors[word]).double()
            units.append(away / max(float(away.norm()), 1e-12))
        rises = [float(unit @ gradient[b, t].double()) for unit in units]
        norm = math.sqrt(sum(rise**2 for rise in rises)) or 1.0
        expected = sum((rise / norm * unit for rise, unit in zip(rises, units, strict=True)), torch.zeros(16).double())
        torch.testing.assert_close(found[b, t].double(), expected, rtol=1e-4, atol=1e-5)  # float32


def test_neighbours_are_the_nearest_by_cosine_without_the_word_itself_and_special_ones() -> None:
    vectors = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    found = find_neighbours(vectors, torch.tensor([4, 11]), 5, [0, 7])
    for row, word in zip(found.tolist(), (4, 11), strict=True):
        cosines = {
            other: float(torch.nn.functional.cosine_similarity(vectors[word].double(), vectors[other].double(), dim=0))
            for other in range(30)
            if other not in (word, 0, 7)
        }
        assert row == sorted(cosines, key=lambda other: -cosines[other])[:5]


def test_neighbours_of_the_words_in_use_are_found_once_an_epoch_and_kept_for_a_restart() -> None:
    encoder = make_encoder()
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))
    examples = [Example(SENTIMENT.encode(SENTIMENT.item(text="good film"), reader, "right"), 1)]
    words = list(examples[0].encoded.rows[0].ids)
    method = IMPLEMENTATIONS["word-iat"].build(
        read_settings("word-iat", {"neighbours": 3}), make_build_context(encoder)
    )
    assert isinstance(method, WordIat)
    assert method.before_epoch(examples, 1, make_context(encoder)) is examples
    first = method.neighbours.clone()
    special = make_tokenizer().all_special_ids
    expected = find_neighbours(encoder.word_vectors.detach(), torch.tensor(words), 3, special)
    assert torch.equal(first[words], expected)
    assert not set(first[words].flatten().tolist()) & set(special)
    with torch.no_grad():
        encoder.word_vectors.copy_(torch.randn(50, 16, generator=torch.Generator().manual_seed(8)))
    resumed = IMPLEMENTATIONS["word-iat"].build(
        read_settings("word-iat", {"neighbours": 3}), make_build_context(encoder)
    )
    resumed.load_state_dict(method.state_dict())
    resumed.before_epoch(examples, 1, make_context(encoder))
    assert torch.equal(resumed.state_dict()["neighbours"], first)
    resumed.before_epoch(examples, 2, make_context(encoder))
    assert not torch.equal(resumed.state_dict()["neighbours"], first)


def test_a_small_vocabulary_has_fewer_neighbours() -> None:
    encoder = make_encoder()
    method = IMPLEMENTATIONS["word-iat"].build(
        read_settings("word-iat", {"neighbours": 500}), make_build_context(encoder)
    )
    assert method.state_dict()["neighbours"].shape == (50, 50 - len(make_tokenizer().all_special_ids) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_both_losses_and_their_gradients_are_the_same(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    result = _method(encoder, name, epsilon=0.0, weight=0.7).step(batch, make_context(encoder))
    plain = make_context(encoder).task_loss(encoder(batch).logits, batch.targets)
    assert result.losses["adversarial"].value.item() == result.losses["task"].value.item() == plain.item()
    for found, expected in zip(gradients(encoder, total(result)), gradients(encoder, plain), strict=True):
        torch.testing.assert_close(found, 1.7 * expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_with_weight_0_there_is_one_pass_and_one_loss(name: str) -> None:
    encoder = make_encoder()
    assert set(_method(encoder, name, weight=0.0).step(make_batch(), make_context(encoder)).losses) == {"task"}


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_loss_and_the_random_stream_are_plain_trainings(name: str) -> None:
    encoder, batch = make_encoder(dropout=0.3), make_batch()
    method = _method(encoder, name)
    torch.manual_seed(9)
    plain = make_context(encoder).task_loss(encoder(batch).logits, batch.targets)
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    task = method.step(batch, make_context(encoder)).losses["task"].value
    assert torch.equal(task, plain)
    assert torch.equal(torch.rand(1), after_plain)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name: str) -> None:
    encoder = make_encoder()
    method = _method(encoder, name, epsilon=0.5)
    narrow, wide = (method.step(make_batch(padding=padding), make_context(encoder)) for padding in (0, 5))
    for loss, padded in zip(narrow.losses.values(), wide.losses.values(), strict=True):
        torch.testing.assert_close(padded.value, loss.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_the_mean_of_what_its_examples_give_alone(name: str) -> None:
    encoder, batch = make_encoder(), make_batch((7, 4, 3, 1))
    method = _method(encoder, name, epsilon=0.5)
    together = method.step(batch, make_context(encoder))
    alone = [method.step(take_row(batch, number), make_context(encoder)) for number in range(4)]
    for key, loss in together.losses.items():
        torch.testing.assert_close(loss.value, torch.stack([one.losses[key].value for one in alone]).mean())
    expected = gradients(encoder, torch.stack([total(one) for one in alone]).mean())
    for found, wanted in zip(gradients(encoder, total(together)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)  # noise found in float32, another batch's sums


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_parameters_through_the_noise(name: str) -> None:
    """A step with the noise that was found handed in as a constant has the same gradient."""
    encoder, batch = make_encoder(), make_batch()
    context = make_context(encoder)
    method = _method(encoder, name, epsilon=0.5)
    seen: list[dict[str, Tensor]] = []
    encoder.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    found = gradients(encoder, total(method.step(batch, context)))
    noise = seen[1]["word_noise"]
    assert not noise.requires_grad
    losses = [
        context.task_loss(passed.logits, batch.targets) for passed in (encoder(batch), encoder(batch, word_noise=noise))
    ]
    for one, other in zip(found, gradients(encoder, losses[0] + losses[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_touches_no_parameters_gradient_and_evaluation_stays(name: str) -> None:
    encoder, batch = make_encoder(dropout=0.3).eval(), make_batch()
    before = encoder(batch).logits
    _method(encoder.train(), name).step(batch, make_context(encoder))
    assert torch.equal(encoder.eval()(batch).logits, before)
    assert all(parameter.grad is None for parameter in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_bf16_gives_no_nan(name: str) -> None:
    encoder = make_encoder()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = _method(encoder, name).step(make_batch(), make_context(encoder))
    assert all(gradient.isfinite().all() for gradient in gradients(encoder, total(result)))


def _inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        "g": draw.normal(size=(2, 4, 3)),
        "m": np.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "eps": np.array(5.0),
        "ids": np.array([[2, 5, 3, 4], [6, 2, 0, 0]]),
        "vectors": draw.normal(size=(9, 3)),
        "K": np.array(2),
        "special_ids": np.array([0, 1]),
    }


def test_the_formulas_at_given_arrays_are_those_written_out() -> None:
    given = _inputs()
    found = reference(given)
    gradient = given["g"] * given["m"][:, :, None]
    np.testing.assert_allclose(found["r_at"], 5 * gradient / np.linalg.norm(gradient, axis=(1, 2), keepdims=True))
    vectors = given["vectors"]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    moved = np.zeros((2, 4, 3))
    for b, t in np.ndindex(2, 4):
        word = given["ids"][b, t]
        nearest = sorted(
            (other for other in range(2, 9) if other != word), key=lambda other: -units[other] @ units[word]
        )
        assert found["neighbours"][b, t].tolist() == nearest[:2]  # type: ignore[index]
        away = np.array([vectors[other] - vectors[word] for other in nearest[:2]])
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        rises = away @ gradient[b, t]
        moved[b, t] = rises @ away / max(np.linalg.norm(rises), 1e-300)
    np.testing.assert_allclose(
        found["r_iat"], 5 * moved / np.linalg.norm(moved, axis=(1, 2), keepdims=True), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("ids", np.full((2, 4), 9), "hold numbers of words, from 0 to 8"),
        ("K", np.array(7), "'K' is 7; of 9 words, 2 special"),
        ("vectors", np.zeros((9, 4)), "'vectors' has 4 along axis 'width', but 'g' has 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(WrongArray, match=message):
        reference({**_inputs(), name: array})
