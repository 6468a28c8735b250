"""The properties of self-supervised attention, in a step and through the real loop."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.data import Example
from models.networks.encoder import Batch, Encoder
from models.networks.loading import load_encoder
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.method import StepResult
from models.robust.reference.evaluation import evaluate
from models.robust.ssa import Ssa, label_loss, masked_share
from models.text import Reader, ReadingLimits
from tests.models.passes import make_batch, make_build_context, make_context, make_encoder
from tests.tiny import make_texts, make_tokenizer

METHOD_NAMES = ["ssa-co", "ssa-hybrid"]
READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=32))


def _ssa(encoder: Encoder, name: str = "ssa-co", *, examples: int = 3, **given: Any) -> Ssa:
    method = IMPLEMENTATIONS[name].build(read_settings(name, given), make_build_context(encoder, examples=examples))
    assert isinstance(method, Ssa)
    return method


def _label(method: Ssa, batch: Batch) -> Ssa:
    """Labels as an epoch would have them: some words of the batch 0, the others 1."""
    draw = torch.Generator().manual_seed(6)
    drawn = (torch.rand(batch.ids.shape, generator=draw) > 0.3).to(torch.int8)
    method.labels[: len(batch.ids), : batch.ids.shape[1]] = drawn.masked_fill(~batch.mask, -1)
    return method


def _total(result: StepResult) -> Tensor:
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def _gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, materialize_grads=True))


# --- a step


@pytest.mark.parametrize(("name", "given"), [("ssa-co", {}), ("ssa-hybrid", {"start_share": 1.0})])
def test_without_token_weight_and_with_the_start_alone_a_step_is_the_plain_one(
    name: str, given: dict[str, Any]
) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _label(_ssa(encoder, name, token_weight=0.0, **given), batch)
    result, plain = method.step(batch, make_context(encoder)), encoder(batch).logits
    expected = make_context(encoder).task_loss(plain, batch.targets)
    assert torch.equal(_total(result), expected)
    for found, wanted in zip(_gradients(encoder, _total(result)), _gradients(encoder, expected), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_loss_is_linear_in_lambda(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    totals = {}
    for weight in (0.0, 0.3, 1.0):
        method = _label(_ssa(encoder, name, token_weight=weight), batch)
        totals[weight] = _total(method.step(batch, make_context(encoder)))
    torch.testing.assert_close(totals[0.3], 0.7 * totals[0.0] + 0.3 * totals[1.0])


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_task_loss_does_not_depend_on_labels(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _ssa(encoder, name)
    unlabelled = method.step(batch, make_context(encoder))
    labelled = _label(method, batch).step(batch, make_context(encoder))
    assert torch.equal(labelled.losses["task"].value, unlabelled.losses["task"].value)
    assert unlabelled.losses["tokens"].value == 0
    assert labelled.losses["tokens"].value > 0


def test_the_label_loss_is_a_mean_over_labelled_tokens_of_all_rows() -> None:
    logits = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-1, 0, 1, -1], [-1, 1, -1, -1]])
    chances = logits.double().softmax(-1)
    expected = -(chances[0, 1, 0].log() + chances[0, 2, 1].log() + chances[1, 1, 1].log()) / 3
    torch.testing.assert_close(label_loss(logits, labels).double(), expected, rtol=1e-5, atol=1e-6)  # float32


def test_where_nothing_is_labelled_the_label_loss_is_0_and_so_are_its_gradients() -> None:
    logits = torch.randn(2, 4, 2, requires_grad=True)
    loss = label_loss(logits, torch.full((2, 4), -1))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_padding_columns_change_nothing(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _label(_ssa(encoder, name), batch)
    narrow, wide = (method.step(make_batch(padding=padding), make_context(encoder)) for padding in (0, 9))
    for loss_name, loss in narrow.losses.items():
        torch.testing.assert_close(wide.losses[loss_name].value, loss.value)
    assert wide.scalars == narrow.scalars


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_labels_follow_their_text_into_any_batch(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _label(_ssa(encoder, name), batch)
    order = torch.tensor([2, 0, 1])
    moved = replace(batch, **{name: value[order] for name, value in vars(batch).items() if value is not None})
    here, there = (method.step(rows, make_context(encoder)) for rows in (batch, moved))
    for loss_name, loss in here.losses.items():
        torch.testing.assert_close(there.losses[loss_name].value, loss.value)


def test_the_token_loss_teaches_classifier_and_encoder_and_the_gate_hands_the_task_loss_on() -> None:
    encoder, batch = make_encoder(), make_batch()
    for name, reached in {"ssa-co": False, "ssa-hybrid": True}.items():
        method = _label(_ssa(encoder, name), batch)
        losses = method.step(batch, make_context(encoder)).losses
        assert any(gradient.abs().max() > 0 for gradient in _gradients(encoder, losses["tokens"].value))
        assert all(gradient.abs().max() > 0 for gradient in _gradients(method, losses["tokens"].value))
        by_task = _gradients(method, losses["task"].value)
        assert any(gradient.abs().max() > 0 for gradient in by_task) is reached


def test_the_scalars_give_the_recall_of_irrelevant_words() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _label(_ssa(encoder), batch)
    labels = method.labels[:3, :7][batch.mask]
    share = float((labels == 0).float().mean())
    with torch.no_grad():
        for bias, recall in (((1e3, -1e3), 1.0), ((-1e3, 1e3), 0.0)):
            method.tokens.output.bias.copy_(torch.tensor(bias))
            scalars = method.step(batch, make_context(encoder)).scalars
            assert scalars == {
                "irrelevant": pytest.approx(share),
                "irrelevant_found": pytest.approx(recall * share),
            }


def test_the_step_leaves_the_random_stream_where_plain_training_would() -> None:
    encoder = make_encoder(dropout=0.3)
    torch.manual_seed(9)
    encoder(make_batch())
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    method = _ssa(encoder, "ssa-hybrid")
    method.step(make_batch(), make_context(encoder))
    assert torch.equal(torch.rand(1), after_plain)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_bf16_gives_no_nan(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _label(_ssa(encoder, name), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = method.step(batch, make_context(encoder))
    _total(result).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for module in (encoder, method) for parameter in module.parameters()]
    assert all(gradient is None or torch.isfinite(gradient).all() for gradient in gradients)


def test_no_tensor_of_the_caller_is_changed() -> None:
    encoder, batch = make_encoder(), make_batch()
    copies = {name: value.clone() for name, value in vars(batch).items() if value is not None}
    _label(_ssa(encoder, "ssa-hybrid"), batch).step(batch, make_context(encoder))
    assert all(torch.equal(getattr(batch, name), copy) for name, copy in copies.items())


# --- the formulas


def _reference_inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(4)
    batch, seq, width = 2, 5, 4
    return {
        "states": draw.normal(size=(batch, seq, width)),
        "real": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]),
        "labels": np.array([[-1, 0, 1, 1, -1], [-1, 1, 0, -1, -1]]),
        "dense_weight": draw.normal(size=(width, width)),
        "dense_bias": draw.normal(size=width),
        "norm_weight": draw.normal(size=width),
        "norm_bias": draw.normal(size=width),
        "output_weight": 0.2 * draw.normal(size=(2, width)),
        "output_bias": 0.2 * draw.normal(size=2),
        "pooled": draw.normal(size=(batch, width)),
        "head_weight": draw.normal(size=(3, width)),
        "head_bias": draw.normal(size=3),
        "start_share": np.array(0.4),
        "threshold": np.array(0.68),
        "task_loss": np.array(0.7),
        "token_weight": np.array(0.1),
        "epochs": np.array(7),
        "ratio_step": np.array(0.2),
    }


def test_every_array_of_the_reference_is_what_loops_in_float64_give() -> None:
    given = _reference_inputs()
    found = evaluate("ssa-hybrid", given)
    p, losses = np.zeros((2, 5)), []
    keep, a, ctx, logits = np.zeros((2, 5)), np.zeros((2, 5)), np.zeros((2, 4)), np.zeros((2, 3))
    for row in range(2):
        for j in range(5):
            hidden = given["dense_weight"] @ given["states"][row, j] + given["dense_bias"]
            hidden = np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in hidden])
            hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-12) * given["norm_weight"] + given[
                "norm_bias"
            ]
            powers = np.exp(given["output_weight"] @ hidden + given["output_bias"])
            p[row, j] = powers[1] / powers.sum()
            label = given["labels"][row, j]
            if label >= 0:
                losses.append(-math.log(powers[label] / powers.sum()))
            keep[row, j] = given["real"][row, j] and label != -1 and p[row, j] >= 0.68
        a[row] = np.exp(p[row]) * keep[row]
        a[row] /= a[row].sum()
        ctx[row] = a[row] @ given["states"][row]
        logits[row] = given["head_weight"] @ (0.4 * given["pooled"][row] + 0.6 * ctx[row]) + given["head_bias"]
    assert 0 < keep.sum() < 5  # the threshold had something to do
    expected: dict[str, Any] = {"p": p, "keep": keep, "a": a, "ctx": ctx, "logits": logits, "l_tok": np.mean(losses)}
    expected |= {"loss": 0.9 * 0.7 + 0.1 * np.mean(losses), "ratios": [0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8]}
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)  # float32 against float64


def test_the_reference_of_co_reads_the_start_alone() -> None:
    given = _reference_inputs() | {"start_share": np.array(1.0)}
    found = evaluate("ssa-co", given)["logits"]
    expected = given["pooled"] @ given["head_weight"].T + given["head_bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 against float64


# --- an epoch


def test_the_masked_share_grows_by_a_fifth_and_stays_below_1() -> None:
    shares = [masked_share(epoch, 0.2) for epoch in range(1, 8)]
    assert shares == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert [masked_share(epoch, 0.3) for epoch in range(1, 6)] == pytest.approx([0.0, 0.3, 0.6, 0.9, 0.9])
    assert masked_share(9, 0.0) == 0


@pytest.fixture
def encoder(base: Path) -> Encoder:
    torch.manual_seed(1)
    return load_encoder(base, "sequence-classification", ("no", "yes")).eval()


@pytest.fixture
def examples() -> list[Example]:
    return [Example(READER.read(text), label) for text, label in make_texts(60, seed=4)]


def _words(example: Example) -> list[bool]:
    return [sequence is not None for sequence in example.encoded.rows[0].encoding.sequence_ids]


def _rows_of_labels(method: Ssa, chosen: list[Example]) -> list[list[int]]:
    return [method.labels[index, : len(_words(example))].tolist() for index, example in enumerate(chosen)]


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_labels_are_for_words_alone_and_texts_stay_as_they_were(
    name: str, encoder: Encoder, examples: list[Example]
) -> None:
    method = _ssa(encoder, name, examples=60)
    chosen = list(method.before_epoch(examples, 4, make_context(encoder)))
    assert len(chosen) == 60
    assert all(any(one is other for other in examples) for one in chosen)
    for example, labels in zip(chosen, _rows_of_labels(method, chosen), strict=True):
        assert [label >= 0 for label in labels] == _words(example)
    rest = [method.labels[index, len(_words(example)) :] for index, example in enumerate(chosen)]
    assert (torch.cat(rest) == -1).all()
    assert (method.labels == 0).any()


def test_the_words_labelled_0_are_those_that_were_masked(encoder: Encoder, examples: list[Example]) -> None:
    method = _ssa(encoder, examples=60)
    method.before_epoch(examples, 4, make_context(encoder))
    texts = method.trials.plan(examples, masked_share(4, 0.2), encoder, "11/4", lambda _: None)
    assert [text.source for text in texts] == method.sources.tolist()
    for text, labels in zip(texts, method.labels.tolist(), strict=True):
        assert {place for place, label in enumerate(labels) if label == 0} == text.masked


def test_the_first_epoch_is_the_data_with_every_word_relevant(encoder: Encoder, examples: list[Example]) -> None:
    method = _ssa(encoder, examples=60)
    assert method.before_epoch(examples, 1, make_context(encoder)) == examples
    assert not (method.labels == 0).any()


def test_each_training_of_a_soup_begins_with_the_plain_data(encoder: Encoder, examples: list[Example]) -> None:
    method = _ssa(encoder, examples=60)  # six epochs a training
    assert method.before_epoch(examples, 7, make_context(encoder)) == examples
    assert method.before_epoch(examples, 8, make_context(encoder)) != examples


def test_random_labels_are_as_many_in_each_text_but_on_other_words(encoder: Encoder, examples: list[Example]) -> None:
    masked, control = (_ssa(encoder, examples=60, random_labels=is_random) for is_random in (False, True))
    chosen = [list(method.before_epoch(examples, 5, make_context(encoder))) for method in (masked, control)]
    assert chosen[0] == chosen[1]
    assert torch.equal((masked.labels == 0).sum(1), (control.labels == 0).sum(1))
    assert torch.equal(masked.labels < 0, control.labels < 0)
    assert not torch.equal(masked.labels, control.labels)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_within_an_epoch_later_weights_give_the_list_and_labels_of_its_start(
    name: str, encoder: Encoder, examples: list[Example]
) -> None:
    method = _ssa(encoder, name, examples=60)
    first = method.before_epoch(examples, 3, make_context(encoder))
    resumed = _ssa(encoder, name, examples=60)
    resumed.load_state_dict(method.state_dict())
    with torch.no_grad():
        encoder.model.classifier.weight.neg_()
    assert list(resumed.before_epoch(examples, 3, make_context(encoder))) == list(first)
    assert torch.equal(resumed.labels, method.labels)
    remade = _ssa(encoder, name, examples=60)
    remade.before_epoch(examples, 3, make_context(encoder))
    assert not torch.equal(remade.labels, method.labels)  # else it would prove nothing


# --- a training
