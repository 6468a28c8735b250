"""The losses of CLINE against closed forms and loops, and the labels of its copies."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.data import Example
from models.networks.batches import collate
from models.networks.encoder import Batch, Encoder
from models.networks.heads import HEAD_TRAINING, IGNORED
from models.networks.loading import load_encoder
from models.networks.masking import MaskedExamples, Masking
from models.robust.cline import (
    Cline,
    ClineError,
    ClineSettings,
    Detector,
    build,
    contrast_loss,
    detection_loss,
    reference,
    separate_contrast_loss,
    similarities,
    weigh,
)
from models.robust.method import BuildContext, Method, StepContext, StepResult
from models.synonyms.wordnet import WordNetError
from models.tasks.masked_words import MASKED_WORDS
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.task import Head, TextItem
from models.text import Reader, ReadingLimits
from tests.tiny import METHOD_SETTINGS, make_texts, make_tokenizer

TOKENIZER = make_tokenizer()
READER = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=32))
CPU = torch.device("cpu")
EVERY = torch.ones(4, dtype=torch.bool)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0)


def test_equal_copies_have_a_contrast_of_log_2() -> None:
    s = _random(4)
    assert float(contrast_loss(s, s, EVERY)) == pytest.approx(math.log(2))


def test_the_contrast_is_the_mean_softplus_of_the_difference_and_swapping_copies_turns_its_sign() -> None:
    s, v = _random(4), _random(4, seed=1)
    for one, other in ((s, v), (v, s)):
        expected = sum(_softplus(b - a) for a, b in zip(one.tolist(), other.tolist(), strict=True)) / 4
        assert float(contrast_loss(one, other, EVERY)) == pytest.approx(expected)


def test_the_contrast_falls_with_the_synonymous_copy_and_rises_with_the_opposite_one() -> None:
    s, v = _random(4).requires_grad_(), _random(4, seed=1).requires_grad_()
    falls, rises = torch.autograd.grad(contrast_loss(s, v, EVERY), [s, v])
    assert (falls < 0).all()
    assert (rises > 0).all()


def test_the_contrast_is_the_same_for_texts_in_another_order() -> None:
    s, v, order = _random(4), _random(4, seed=1), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(contrast_loss(s[order], v[order], EVERY), contrast_loss(s, v, EVERY))


def test_texts_that_do_not_count_are_left_out_and_without_any_the_contrast_is_0() -> None:
    s, v = _random(4).requires_grad_(), _random(4, seed=1)
    counts = torch.tensor([True, False, True, False])
    torch.testing.assert_close(contrast_loss(s, v, counts), contrast_loss(s[::2], v[::2], EVERY[:2]))
    (gradient,) = torch.autograd.grad(contrast_loss(s, v, counts), s)
    assert gradient[1] == gradient[3] == 0
    assert float(contrast_loss(s, v, ~EVERY).detach()) == 0


def test_a_dot_product_of_hundreds_does_not_overflow() -> None:
    s, v = torch.tensor([-9e4, 9e4]), torch.tensor([9e4, -9e4])
    assert contrast_loss(s, v, EVERY[:2]).item() == 9e4


def test_similarities_are_dot_products_or_cosines() -> None:
    first, second = _random(4, 6), _random(4, 6, seed=1)
    products, cosines = similarities(first, second, "dot"), similarities(first, second, "cosine")
    for product, cosine, a, b in zip(products, cosines, first.tolist(), second.tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        assert float(product) == pytest.approx(dot)
        assert float(cosine) == pytest.approx(dot / (math.hypot(*a) * math.hypot(*b)))


def test_the_codes_contrast_is_two_logistic_losses_of_the_mean_product() -> None:
    original, synonymous, opposite = (torch.tanh(_random(4, 6, seed=seed)) for seed in range(3))
    s, v = (similarities(original, copy, "dot") for copy in (synonymous, opposite))
    chances = [torch.sigmoid((original * copy).mean(-1)).tolist() for copy in (synonymous, opposite)]
    expected = sum(-math.log(p) for p in chances[0]) + sum(-math.log(1 - p) for p in chances[1])
    assert float(separate_contrast_loss(s, v, 6)) == pytest.approx(expected / 8)
    assert float(separate_contrast_loss(0 * s, 0 * v, 6)) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("classes", "expected"), [(1, math.log(2)), (3, math.log(3))])
def test_a_detector_that_knows_nothing_has_the_log_of_its_classes(classes: int, expected: float) -> None:
    labels = torch.tensor([[0, 1, IGNORED]])
    assert float(detection_loss(torch.zeros(1, 3, classes), labels)) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 3])
def test_detection_is_the_mean_over_labelled_tokens_and_others_get_no_gradient(classes: int) -> None:
    logits = _random(2, 4, classes).requires_grad_()
    labels = torch.tensor([[IGNORED, 0, 1, 1], [0, IGNORED, 1, IGNORED]])
    expected, count = 0.0, 0
    for row, wanted in zip(logits.tolist(), labels.tolist(), strict=True):
        for scores, label in zip(row, wanted, strict=True):
            if label == IGNORED:
                continue
            full = [0.0, scores[0]] if classes == 1 else scores
            expected, count = expected + math.log(sum(map(math.exp, full))) - full[label], count + 1
    loss = detection_loss(logits, labels)
    assert float(loss.detach()) == pytest.approx(expected / count)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.any(-1), labels != IGNORED)


def test_where_nothing_is_labelled_detection_is_0() -> None:
    assert float(detection_loss(torch.zeros(1, 2, 3), torch.full((1, 2), IGNORED))) == 0


@pytest.mark.parametrize("loss", [0.3, 1.0, 4.0])
def test_a_learned_weight_starts_as_the_plain_sum_and_comes_to_rest_at_the_log_of_its_loss(loss: float) -> None:
    start, rest = torch.tensor(0.0, requires_grad=True), torch.tensor(math.log(loss), requires_grad=True)
    value = weigh(torch.tensor(loss), start)
    assert float(value.detach()) == pytest.approx(loss)
    assert float(torch.autograd.grad(value, start)[0]) == pytest.approx(1 - loss)
    if loss > 1:
        (gradient,) = torch.autograd.grad(weigh(torch.tensor(loss), rest), rest)
        assert float(gradient) == pytest.approx(0, abs=1e-6)


def test_the_articles_detector_is_one_map_without_bias_and_the_codes_has_three_classes() -> None:
    article, code = (Detector(8, form, torch.Generator()) for form in ("article", "code"))
    assert [tuple(parameter.shape) for parameter in article.parameters()] == [(1, 8)]
    assert code(torch.zeros(2, 5, 8)).shape == (2, 5, 3)


def test_the_codes_detector_normalises_small_states_as_the_released_one_does() -> None:
    """Its LayerNorm adds 1e-12 to the variance; torch's usual 1e-5 would drown variances of 1e-7 and less."""
    code = Detector(8, "code", torch.Generator().manual_seed(1))
    states = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(code(states * 1e-2), code(states * 3e-3), rtol=0.01, atol=1e-4)


@pytest.fixture(scope="module")
def encoder(base: Path) -> Encoder:
    return load_encoder(base, "masked-language-model", ()).train()


def _context_of(encoder: Encoder, head: Head = "masked-language-model") -> BuildContext:
    return BuildContext(
        encoder=encoder,
        head=head,
        tokenizer=TOKENIZER,
        seed=11,
        example_count=8,
        max_tokens=32,
        epochs=2,
        score_range=None,
    )


def _build(encoder: Encoder, head: Head = "masked-language-model", **given: Any) -> Method:
    return build(ClineSettings.model_validate(METHOD_SETTINGS["cline"] | given), _context_of(encoder, head))


EXAMPLES = [
    Example(MASKED_WORDS.encode(TextItem(text=text), READER, "right"), None) for text, _ in make_texts(8, seed=5)
]


def _context(encoder: Encoder, head: Head = "masked-language-model") -> StepContext:
    return StepContext(encoder=encoder, task_loss=HEAD_TRAINING[head].loss, seed=1, step=0)


def _batch(indices: range = range(8)) -> Batch:
    masked = MaskedExamples(EXAMPLES, Masking.of(TOKENIZER), 1, 1)
    return collate(masked, indices, "masked-language-model", 0, CPU)


def _step(method: Method, encoder: Encoder, indices: range = range(8)) -> StepResult:
    context = _context(encoder)
    method.before_epoch(EXAMPLES, 1, context)
    return method.step(_batch(indices), context)


def test_the_text_is_masked_and_its_copies_are_not(encoder: Encoder) -> None:
    method = _build(encoder, synonymous_share=0.0, opposite_share=0.0)
    assert isinstance(method, Cline)
    method.before_epoch(EXAMPLES, 1, _context(encoder))
    assert method._maker
    copies = method._read_copies(method._maker, torch.arange(8), 1)
    for number, example in enumerate(EXAMPLES):
        (row,) = example.encoded.rows
        for half in (0, 8):
            assert copies.batch.ids[half + number, : len(row)].tolist() == row.ids
    assert (_batch().ids == TOKENIZER.mask_token_id).any()


def test_copies_differ_by_epoch_and_not_by_the_batch_they_are_in(encoder: Encoder) -> None:
    method = _build(encoder)
    assert isinstance(method, Cline)
    assert method._maker

    def read(epoch: int, indices: list[int]) -> list[list[int]]:
        method.before_epoch(EXAMPLES, epoch, _context(encoder))
        copies = method._read_copies(method._maker, torch.tensor(indices), 1)  # type: ignore[arg-type]
        return [row[mask].tolist() for row, mask in zip(copies.batch.ids, copies.batch.mask, strict=True)]

    whole, alone = read(1, list(range(8))), read(1, [3])
    assert alone == [whole[3], whole[11]]
    assert read(2, list(range(8))) != whole


@pytest.mark.parametrize("given", [{}, {"form": "code", "triples": "code"}, {"weighting": "learned"}], ids=str)
def test_the_texts_own_loss_is_plain_trainings_and_so_are_its_random_draws(
    encoder: Encoder, given: dict[str, Any]
) -> None:
    torch.manual_seed(9)
    expected = _context(encoder).task_loss(encoder(_batch()).logits, _batch().targets)
    after = torch.rand(1)
    torch.manual_seed(9)
    result = _step(_build(encoder, **given), encoder)
    assert torch.equal(torch.rand(1), after)
    torch.testing.assert_close(result.losses["task"].value, expected, rtol=0, atol=0)
    assert all(torch.isfinite(loss.value) for loss in result.losses.values())
    assert set(result.losses) == {"task", "detection", "contrast"}


def test_only_the_texts_teach_masked_words(encoder: Encoder) -> None:
    losses = _step(_build(encoder), encoder).losses
    head = [parameter for name, parameter in encoder.model.cls.named_parameters() if "decoder" not in name]
    for name in ("detection", "contrast"):
        found = torch.autograd.grad(losses[name].value, head, allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in found)


def test_switched_off_there_is_no_second_pass_and_no_wordnet(encoder: Encoder, tmp_path: Path) -> None:
    method = _build(encoder, detection_weight=0.0, contrast_weight=0.0, wordnet=str(tmp_path))
    assert set(_step(method, encoder).losses) == {"task"}


def test_without_wordnet_it_says_so_before_anything_starts(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(WordNetError, match="wordnet-base"):
        _build(encoder, wordnet=str(tmp_path))


def test_learned_weights_are_not_decayed_and_not_clipped_with_the_encoder(encoder: Encoder) -> None:
    groups = {group.name: group for group in _build(encoder, weighting="learned").parameter_groups()}
    assert groups["log-weights"].weight_decay == 0
    assert [parameter.shape for parameter in groups["log-weights"].parameters] == [(3,)]
    assert groups["log-weights"].parameters[0].dtype == torch.float32
    assert not {id(one) for one in groups["copies"].parameters} & {id(one) for one in groups["log-weights"].parameters}


@pytest.mark.parametrize(("head", "weight"), [("masked-language-model", 1.0), ("sequence-classification", 0.1)])
def test_beside_a_task_the_losses_are_auxiliary(head: Head, weight: float) -> None:
    assert ClineSettings().weights(head) == {"task": 1.0, "detection": weight, "contrast": weight}
    assert ClineSettings(contrast_weight=3.0).weights(head)["contrast"] == 3


@pytest.mark.parametrize(
    ("given", "temperature"), [({}, 4.0), ({"temperature": 1.0}, 1.0), ({"similarity": "cosine"}, 0.1)], ids=str
)
def test_the_temperature_is_the_root_of_the_width_unless_set(
    encoder: Encoder, given: dict[str, Any], temperature: float
) -> None:
    method = _build(encoder, **given)
    assert isinstance(method, Cline)
    assert method._temperature == temperature


def test_a_pair_of_texts_has_a_pair_of_copies(base: Path) -> None:
    encoder = load_encoder(base, "sequence-classification", ("a", "b")).train()
    items = [{"text_a": "the film was very good", "text_b": "a story is bad"}] * 2
    encoded = [PARAPHRASE.encode(PARAPHRASE.item.model_validate(item), READER, "right") for item in items]
    examples = [Example(one, 1) for one in encoded]
    method, context = _build(encoder, "sequence-classification"), _context(encoder, "sequence-classification")
    method.before_epoch(examples, 1, context)
    result = method.step(collate(examples, range(2), "sequence-classification", 0, CPU), context)
    assert {name: loss.weight for name, loss in result.losses.items()} == {"task": 1, "detection": 0.1, "contrast": 0.1}


def test_the_control_reads_as_many_sequences_of_masked_words(encoder: Encoder, tmp_path: Path) -> None:
    rows: list[int] = []

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        del module, args
        rows.append(len(kwargs["input_ids"]))

    handle = encoder.model.register_forward_pre_hook(count, with_kwargs=True)
    losses = _step(_build(encoder, control=True, wordnet=str(tmp_path)), encoder).losses
    handle.remove()
    assert rows == [8, 16]
    assert {name: loss.weight for name, loss in losses.items()} == {"task": 1 / 3, "more_masked_words": 2 / 3}
    assert losses["more_masked_words"].value > 0


def test_the_control_beside_a_task_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ClineError, match="pre-training only"):
        _build(encoder, "sequence-classification", control=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"form": "code", "temperature": 1.0}, "form 'code' has its own similarity"),
        ({"nouns": "nouns.txt"}, "nouns are for triples 'code'"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClineSettings.model_validate(given)


def test_bf16_gives_finite_losses_and_gradients(encoder: Encoder) -> None:
    method = _build(encoder, form="code", weighting="learned")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = _step(method, encoder)
    torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    for module in (encoder, method):
        assert all(one.grad is None or torch.isfinite(one.grad).all() for one in module.parameters())
    assert all(one.grad is not None for one in method.parameters())
    encoder.zero_grad()


def _reference(**arrays: Any) -> Mapping[str, Any]:
    return reference({name: np.asarray(array) for name, array in arrays.items()})


def test_the_reference_gives_each_formula() -> None:
    original, synonymous, opposite = (_random(4, 6, seed=seed).numpy() for seed in range(3))
    vectors = {"original": original, "synonymous": synonymous, "opposite": opposite}
    found = _reference(
        **vectors, temperature=2.0, logits=_random(2, 3).numpy(), labels=[[0, 1, -100], [1, -100, 0]], task_loss=1.5,
        detection_weight=0.5, log_weights=[0.0, 1.0, -1.0],
    )  # fmt: skip
    s, v = (original * synonymous).sum(1), (original * opposite).sum(1)
    np.testing.assert_allclose(found["s"], s)
    np.testing.assert_allclose(found["v"], v)
    contrast = np.mean([_softplus(one) for one in (v - s) / 2])
    assert found["contrast"] == pytest.approx(contrast)
    push = 1 / (1 + np.exp((s - v) / 2)) / 2 / 4
    np.testing.assert_allclose(found["synonymous_gradient"], -push[:, None] * original)
    np.testing.assert_allclose(found["opposite_gradient"], push[:, None] * original)
    np.testing.assert_allclose(found["original_gradient"], push[:, None] * (opposite - synonymous))
    total = 1.5 + 0.5 * (found["detection"] / math.e + 1) + contrast * math.e
    assert found["total"] == pytest.approx(total)
    gradient = [1 - 1.5, 0.5 * (1 - found["detection"] / math.e), -contrast * math.e]
    np.testing.assert_allclose(found["log_weights_gradient"], gradient)
    pooled = _reference(**vectors, pooled=1)
    expected = np.mean([_softplus(one) for one in (*(-s / 6), *(v / 6))])
    assert pooled["contrast"] == pytest.approx(expected)
