"""Attention VAT and iVAT inside a step, against divergences and gradients written out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Example
from models.networks.encoder import Batch, Encoder
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.attention_vat import AttentionVat, divergence, reference
from models.robust.perturbation import draw_noise, scale
from models.tasks.sentiment import SENTIMENT
from models.text import Reader, ReadingLimits
from tests.models.passes import gradients, make_batch, make_build_context, make_context, make_encoder, take_row, total
from tests.tiny import make_texts, make_tokenizer

NAMES = ("attention-vat", "attention-ivat")


def _method(encoder: Encoder, name: str = "attention-vat", unlabelled: Sequence[Example] = (), **given: Any) -> Any:
    context = replace(make_build_context(encoder), unlabelled=unlabelled)
    return IMPLEMENTATIONS[name].build(read_settings(name, given), context).train()


@pytest.fixture(scope="module")
def texts() -> list[Example]:
    """Unlabelled examples whose tokens are among the 50 that the tiny encoders know."""
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=24))
    items = (SENTIMENT.item(text=text) for text, _ in make_texts(20, 7))
    return [Example(SENTIMENT.encode(item, reader, "right"), None) for item in items]


def _found_noise(method: AttentionVat, batch: Batch, encoder: Encoder) -> tuple[Tensor, Tensor]:
    """The random start, and the noise that one iteration makes of it."""
    clean = encoder(batch, keep=method.site.layers)
    start = scale(draw_noise(method.site, batch, "1/0/0"), method.site.length(method.settings.xi), method.site.axes)
    start.requires_grad_()
    moved = encoder(batch, score_bias=method.site.bias(start)).logits
    p, q = clean.logits.detach().softmax(-1), moved.softmax(-1)
    (gradient,) = torch.autograd.grad((p * (p / q).log()).sum(), start)
    return start.detach(), method._direct(gradient, clean, batch)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_the_divergence_is_that_of_whole_passes_under_the_noise_of_one_iteration(
    name: str, layers: tuple[int, ...] | None
) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder, name, layers=layers)
    _, noise = _found_noise(method, batch, encoder)
    p = encoder(batch).logits.detach().softmax(-1)
    q = encoder(batch, score_bias=method.site.bias(noise)).logits.softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    found = method.step(batch, make_context(encoder)).losses["divergence"].value
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)  # directions found in another order of sums


@pytest.mark.parametrize("name", NAMES)
def test_noise_has_its_length_and_moves_the_prediction_further_than_the_start_does(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder, name, epsilon=0.1, xi=0.1)
    start, noise = _found_noise(method, batch, encoder)
    lengths = torch.linalg.vector_norm(noise, dim=-1)[0, :, :, 0]
    torch.testing.assert_close(lengths, torch.tensor([[0.1, 0.1], [0.1, 0.1], [0, 0]]), rtol=1e-5, atol=1e-7)
    expected = encoder(batch).logits
    further, nearer = (
        divergence(expected, encoder(batch, score_bias=method.site.bias(one)).logits, batch, "sequence-classification")
        for one in (noise, start)
    )
    assert (further[:2] > nearer[:2]).all()


def test_p_gets_no_gradient() -> None:
    """Against central differences of KL(p || q) with p and the noise held fixed."""
    encoder, batch = make_encoder().double(), make_batch()
    method = _method(encoder)
    _, noise = _found_noise(method, batch, encoder)
    p = encoder(batch).logits.detach().softmax(-1)
    loss = method.step(batch, make_context(encoder)).losses["divergence"].value
    weight = encoder.layers[-1].attention.self.value.weight  # type: ignore[union-attr]
    (gradient,) = torch.autograd.grad(loss, weight)  # type: ignore[arg-type]
    direction = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def objective() -> float:
        q = encoder(batch, score_bias=method.site.bias(noise)).logits.softmax(-1)
        return float((p * (p / q).log()).sum(-1).mean())

    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * 1e-5)  # type: ignore[operator]
            sides.append(objective())
            weight.sub_(direction, alpha=sign * 1e-5)  # type: ignore[operator]
    assert (gradient * direction).sum().item() == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_with_dropout_but_without_noise_nothing_diverges(name: str, texts: list[Example]) -> None:
    encoder = make_encoder(dropout=0.4)
    result = _method(encoder, name, texts, epsilon=0.0).step(make_batch(), make_context(encoder))
    assert result.losses["divergence"].value.item() == 0


@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_the_clean_loss_and_the_random_stream_are_plain_trainings(
    texts: list[Example], layers: tuple[int, ...] | None
) -> None:
    encoder, batch = make_encoder(dropout=0.3), make_batch()
    method = _method(encoder, unlabelled=texts, layers=layers)
    torch.manual_seed(9)
    plain = make_context(encoder).task_loss(encoder(batch).logits, batch.targets)
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    task = method.step(batch, make_context(encoder)).losses["task"].value
    assert torch.equal(task, plain)
    assert torch.equal(torch.rand(1), after_plain)


def test_with_weight_0_there_is_one_pass_and_one_loss(texts: list[Example]) -> None:
    encoder = make_encoder()
    assert set(_method(encoder, unlabelled=texts, weight=0.0).step(make_batch(), make_context(encoder)).losses) == {
        "task"
    }


def test_labels_do_not_touch_the_divergence() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder)
    other = replace(batch, targets=(batch.targets + 1) % 3)
    here, there = (method.step(one, make_context(encoder)).losses["divergence"].value for one in (batch, other))
    assert torch.equal(here, there)


def test_unlabelled_examples_weigh_as_labelled_ones_do(texts: list[Example]) -> None:
    encoder, batch = make_encoder(), make_batch()
    without, with_texts = _method(encoder), _method(encoder, unlabelled=texts)
    unlabelled = with_texts._draw_unlabelled(batch, make_context(encoder))
    assert len(unlabelled.indices) == len(batch.indices)
    alone = without._divergences(unlabelled, encoder(unlabelled, keep=[2]), make_context(encoder), 2)
    labelled = without.step(batch, make_context(encoder)).losses["divergence"].value
    found = with_texts.step(batch, make_context(encoder)).losses["divergence"].value
    torch.testing.assert_close(found, (labelled + alone.mean()) / 2)


def test_unlabelled_examples_are_drawn_by_the_seed_the_step_and_the_process(texts: list[Example]) -> None:
    encoder, batch = make_encoder(), make_batch()
    drawn = [
        _method(encoder, unlabelled=texts)._draw_unlabelled(batch, make_context(encoder, step=step)).indices.tolist()
        for step in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    elsewhere = replace(make_context(encoder), process=1)
    assert _method(encoder, unlabelled=texts)._draw_unlabelled(batch, elsewhere).indices.tolist() != drawn[0]
    few = _method(encoder, unlabelled=texts[:2])._draw_unlabelled(batch, make_context(encoder))
    assert sorted(few.indices.tolist()) == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name: str) -> None:
    encoder = make_encoder()
    method = _method(encoder, name)
    narrow, wide = (method.step(make_batch(padding=padding), make_context(encoder)) for padding in (0, 5))
    for loss, padded in zip(narrow.losses.values(), wide.losses.values(), strict=True):
        torch.testing.assert_close(padded.value, loss.value, rtol=1e-3, atol=1e-6)  # the direction is found in float32


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_the_mean_of_what_its_examples_give_alone(name: str) -> None:
    encoder, batch = make_encoder(), make_batch((7, 4, 3, 1))
    method = _method(encoder, name)
    together = method.step(batch, make_context(encoder))
    alone = [method.step(take_row(batch, number), make_context(encoder)) for number in range(4)]
    for key, loss in together.losses.items():
        mean = torch.stack([one.losses[key].value for one in alone]).mean()
        torch.testing.assert_close(loss.value, mean, rtol=1e-3, atol=1e-6)  # the direction is found in float32
    expected = gradients(encoder, torch.stack([total(one) for one in alone]).mean())
    for found, wanted in zip(gradients(encoder, total(together)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=5e-3, atol=1e-4)


def test_a_step_touches_no_parameters_gradient(texts: list[Example]) -> None:
    encoder = make_encoder()
    _method(encoder, unlabelled=texts).step(make_batch(), make_context(encoder))
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_evaluation_is_what_it_is_without_the_method(texts: list[Example]) -> None:
    encoder, batch = make_encoder(dropout=0.3).eval(), make_batch()
    before = encoder(batch).logits
    method = _method(encoder, unlabelled=texts)
    method.step(batch, make_context(encoder.train()))
    assert torch.equal(encoder.eval()(batch).logits, before)
    assert not method.state_dict()


def test_bf16_gives_no_nan(texts: list[Example]) -> None:
    encoder = make_encoder()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = _method(encoder, unlabelled=texts).step(make_batch(), make_context(encoder))
    assert all(gradient.isfinite().all() for gradient in gradients(encoder, total(result)))


def test_between_labels_it_is_kl_over_labels() -> None:
    batch = make_batch((5, 2))
    expected, found = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0)).unbind()
    p, q = expected.double().softmax(-1), found.double().softmax(-1)
    kl = divergence(expected, found, batch, "sequence-classification")
    torch.testing.assert_close(kl.double(), (p * (p / q).log()).sum(-1), rtol=1e-5, atol=1e-6)


def test_between_tokens_it_is_the_mean_over_real_ones() -> None:
    batch = make_batch((5, 2))
    expected, found = torch.randn(2, 2, 5, 3, generator=torch.Generator().manual_seed(0)).unbind()
    kl = divergence(expected, found, batch, "token-classification")
    each = divergence(expected[1], found[1], batch, "sequence-classification")
    torch.testing.assert_close(kl[1], each[:2].mean())


def test_between_spans_it_is_over_real_positions() -> None:
    batch = make_batch((5, 2))
    expected, found = torch.randn(2, 2, 5, 2, generator=torch.Generator().manual_seed(0)).unbind()
    kl = divergence(expected, found, batch, "question-answering")
    ends = [
        divergence(expected[1, :2, end][None], found[1, :2, end][None], batch, "sequence-classification")
        for end in (0, 1)
    ]
    torch.testing.assert_close(kl[1:], (ends[0] + ends[1]) / 2)


def test_between_numbers_it_is_half_the_square() -> None:
    kl = divergence(
        torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [5.0]]), make_batch((5, 2)), "sequence-classification"
    )
    assert kl.tolist() == [0.125, 4.5]


def test_a_start_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="xi"):
        read_settings("attention-vat", {"xi": 0})


def test_the_formulas_at_given_arrays_are_those_written_out() -> None:
    draw = np.random.default_rng(2)
    u, real = draw.normal(size=(2, 5)), np.arange(5)[None, :] < np.array([5, 3])[:, None]
    states, weight, n = draw.normal(size=(2, 5, 4)), draw.normal(size=4), draw.normal(size=(2, 5))
    numbers = {name: np.array(value) for name, value in {"b_o": -0.3, "eps": 1.2, "xi": 0.1}.items()}
    found = reference({"u": u, "m": real, "H": states, "w_o": weight, "n": n, **numbers})

    def predict(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores) * real
        attention = powers / powers.sum(-1, keepdims=True)
        return np.asarray(1 / (1 + np.exp(-(np.einsum("bs,bsd,d->b", attention, states, weight) - 0.3))))

    def kl(noise: np.ndarray) -> float:
        p, q = predict(u), predict(u + noise)
        return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean())

    start = 0.1 * n * real / np.linalg.norm(n * real, axis=1, keepdims=True)
    gradient = np.zeros((2, 5))
    for place in np.ndindex(2, 5):
        step = np.zeros((2, 5))
        step[place] = 1e-5
        gradient[place] = (kl(start + step) - kl(start - step)) / 2e-5
    w = np.array([[((row[t] - row[one]) ** 2).sum() for t in range(5)] for row, one in zip(u, real, strict=True)])
    np.testing.assert_allclose(found["g"], gradient, atol=1e-9)
    np.testing.assert_allclose(found["p"], predict(u))
    for name, direction in {"vat": gradient, "ivat": gradient * w}.items():
        noise = 1.2 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        np.testing.assert_allclose(found[f"r_{name}"], noise, rtol=1e-4, atol=1e-6)  # central differences
        assert found[f"KL_{name}"] == pytest.approx(kl(noise), rel=1e-4)
