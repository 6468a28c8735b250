"""Attention AT, iAT and RP inside a step, against second passes written out and finite differences."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMultipleChoice, AutoModelForQuestionAnswering, AutoModelForTokenClassification

from models.networks.encoder import Batch, Encoder
from models.networks.heads import HEAD_TRAINING
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.attention_at import AttentionAt, reference
from models.robust.method import StepContext
from models.robust.reference.arrays import WrongArray
from models.tasks.task import Head
from tests.models.passes import (
    gradients,
    make_batch,
    make_build_context,
    make_config,
    make_context,
    make_encoder,
    take_row,
    total,
)

NAMES = ("attention-at", "attention-iat", "attention-rp")
AUTO = {
    "token-classification": AutoModelForTokenClassification,
    "multiple-choice": AutoModelForMultipleChoice,
    "question-answering": AutoModelForQuestionAnswering,
}


def _method(encoder: Encoder, name: str = "attention-at", head: Head = "sequence-classification", **given: Any) -> Any:
    return IMPLEMENTATIONS[name].build(read_settings(name, given), make_build_context(encoder, head=head)).train()


def _noise(method: AttentionAt, batch: Batch, context: StepContext) -> tuple[Tensor, Tensor]:
    """The noise that the method adds, and the gradient of the clean loss that it was made from."""
    start = method.site.zeros(batch).requires_grad_()
    clean = context.encoder(batch, score_bias=method.site.bias(start), keep=method.site.layers)
    task = context.task_loss(clean.logits, batch.targets)
    (gradient,) = context.gradients(task, [start])
    return method._find_noise(start, task, clean, batch, context), gradient


def _harm(method: AttentionAt, batch: Batch, context: StepContext, noise: Tensor) -> float:
    """The loss under noise minus the clean loss, whole passes both."""
    with torch.no_grad():
        harmed = context.encoder(batch, score_bias=method.site.bias(noise)).logits
        clean = context.encoder(batch).logits
    return (context.task_loss(harmed, batch.targets) - context.task_loss(clean, batch.targets)).item()


def _other_head(head: Head) -> tuple[Encoder, Batch, StepContext]:
    torch.manual_seed(5)
    config = make_config(labels=2 if head == "question-answering" else 3)
    encoder = Encoder(AUTO[head].from_config(config, attn_implementation="eager")).train()
    batch = make_batch((7, 4, 3))
    if head == "token-classification":
        batch = replace(batch, targets=torch.where(batch.mask, batch.ids % 3, -100))
    elif head == "question-answering":
        batch = replace(batch, targets=torch.tensor([[1, 3], [0, 2], [1, 1]]))
    else:
        batch = replace(batch, targets=torch.tensor([1, 0]), indices=torch.arange(2), choices=(2, 1))
    context = StepContext(encoder=encoder, task_loss=HEAD_TRAINING[head].loss, seed=1, step=0)
    return encoder, batch, context


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_both_losses_and_their_gradients_are_the_same(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    result = _method(encoder, name, epsilon=0.0, weight=0.7).step(batch, make_context(encoder))
    plain = make_context(encoder).task_loss(encoder(batch).logits, batch.targets)
    assert result.losses["adversarial"].value.item() == result.losses["task"].value.item() == plain.item()
    for found, expected in zip(gradients(encoder, total(result)), gradients(encoder, plain), strict=True):
        torch.testing.assert_close(found, 1.7 * expected, rtol=1e-5, atol=1e-7)  # sums in float32, another order


@pytest.mark.parametrize("name", NAMES)
def test_with_weight_0_there_is_one_pass_and_one_loss(name: str) -> None:
    encoder, batch = make_encoder(dropout=0.3), make_batch()
    torch.manual_seed(2)
    result = _method(encoder, name, weight=0.0).step(batch, make_context(encoder))
    torch.manual_seed(2)
    plain = encoder(batch)
    assert set(result.losses) == {"task"}
    assert torch.equal(result.losses["task"].value, make_context(encoder).task_loss(plain.logits, batch.targets))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [None, (0, 1, 2)])
def test_the_clean_loss_and_the_random_stream_are_plain_trainings(name: str, layers: tuple[int, ...] | None) -> None:
    encoder, batch = make_encoder(dropout=0.3), make_batch()
    method = _method(encoder, name, layers=layers)
    torch.manual_seed(9)
    plain = make_context(encoder).task_loss(encoder(batch).logits, batch.targets)
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    task = method.step(batch, make_context(encoder)).losses["task"].value
    assert torch.equal(task, plain)
    assert torch.equal(torch.rand(1), after_plain)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("layers", [None, (1,), (0, 2)])
def test_the_noisy_loss_is_that_of_a_whole_pass_under_the_noise(family: str, layers: tuple[int, ...] | None) -> None:
    encoder, batch = make_encoder(family), make_batch()
    context = make_context(encoder)
    method = _method(encoder, layers=layers)
    noise, _ = _noise(method, batch, context)
    whole = encoder(batch, score_bias=method.site.bias(noise))
    found = method.step(batch, context).losses["adversarial"].value
    assert torch.equal(found, context.task_loss(whole.logits, batch.targets))


def test_noise_is_along_each_heads_gradient_of_the_first_row_at_the_set_length() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder, epsilon=1.5)
    noise, gradient = _noise(method, batch, make_context(encoder))
    assert noise.shape == (1, 3, 2, 1, 7)
    lengths = torch.linalg.vector_norm(noise, dim=-1)[0, :, :, 0]
    torch.testing.assert_close(lengths, torch.tensor([[1.5, 1.5], [1.5, 1.5], [0, 0]]), rtol=1e-6, atol=0)
    cosine = torch.nn.functional.cosine_similarity(noise[0, :2], gradient[0, :2], dim=-1)
    torch.testing.assert_close(cosine, torch.ones(2, 2, 1))
    assert (noise.masked_select(~method.site.real(batch)) == 0).all()


def test_under_a_head_that_reads_the_first_token_other_rows_of_the_last_layer_have_no_gradient() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder, layers=(-1,), scope="example")
    every = replace(method.site, first_row=False)
    start = every.zeros(batch).requires_grad_()
    loss = make_context(encoder).task_loss(encoder(batch, score_bias=every.bias(start)).logits, batch.targets)
    (gradient,) = make_context(encoder).gradients(loss, [start])
    assert not gradient[..., 1:, :].any()
    assert gradient[..., :1, :].any()


def test_halving_the_length_halves_what_the_loss_rises_by() -> None:
    encoder, batch = make_encoder().double(), make_batch()
    context = make_context(encoder)
    rises = []
    for epsilon in (2e-3, 1e-3):
        method = _method(encoder, epsilon=epsilon)
        noise, gradient = _noise(method, batch, context)
        rises.append(_harm(method, batch, context, noise))
        first_order = epsilon * torch.linalg.vector_norm(gradient, dim=-1).sum().item()
        assert rises[-1] == pytest.approx(first_order, rel=20 * epsilon)
    assert rises[0] / rises[1] == pytest.approx(2, rel=1e-2)


def test_no_random_noise_of_the_length_is_worse_and_iat_lies_between() -> None:
    encoder, batch = make_encoder().double(), make_batch()
    context = make_context(encoder)
    method = _method(encoder, epsilon=0.01)
    worst = _harm(method, batch, context, _noise(method, batch, context)[0])
    emphasised = _harm(
        method, batch, context, _noise(_method(encoder, "attention-iat", epsilon=0.01), batch, context)[0]
    )
    assert worst >= emphasised > 0
    for step in range(20):
        random = _noise(_method(encoder, "attention-rp", epsilon=0.01), batch, make_context(encoder, step=step))[0]
        lengths = torch.linalg.vector_norm(random[:, :2], dim=-1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.01))
        assert _harm(method, batch, context, random) < worst


@pytest.mark.parametrize("name", NAMES[:2])
def test_no_gradient_reaches_parameters_through_the_noise(name: str) -> None:
    """The step's gradient against central differences of L + lambda L_adv with the noise held fixed."""
    encoder, batch = make_encoder().double(), make_batch()
    context = make_context(encoder)
    method = _method(encoder, name, weight=0.5)
    frozen, _ = _noise(method, batch, context)
    found = gradients(encoder, total(method.step(batch, context)))

    def objective() -> float:
        clean, harmed = encoder(batch), encoder(batch, score_bias=method.site.bias(frozen))
        return sum(
            weight * context.task_loss(passed.logits.double(), batch.targets).item()
            for weight, passed in ((1.0, clean), (0.5, harmed))
        )

    generator = torch.Generator().manual_seed(0)
    checked = 0
    for parameter, gradient in zip(encoder.parameters(), found, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-3)
                sides.append(objective())
                parameter.sub_(direction, alpha=sign * 1e-3)
        slope = (sides[0] - sides[1]) / 2e-3
        # The loss is computed in float32: 1e-7 / 1e-3, and the differences' own error.
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=2e-3, abs=5e-4)
        checked += int(abs(slope) > 1e-2)
    assert checked > 20


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_padding_does_not_matter(name: str, layers: tuple[int, ...] | None) -> None:
    encoder = make_encoder()
    method = _method(encoder, name, layers=layers)
    narrow, wide = (method.step(make_batch(padding=padding), make_context(encoder)) for padding in (0, 5))
    for loss, padded in zip(narrow.losses.values(), wide.losses.values(), strict=True):
        torch.testing.assert_close(padded.value, loss.value)
    assert wide.scalars == pytest.approx(narrow.scalars)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_a_batch_gives_the_mean_of_what_its_examples_give_alone(name: str, layers: tuple[int, ...] | None) -> None:
    """Losses and gradients: so accumulated batches equal the big one, and no example depends on its batch-mates."""
    encoder, batch = make_encoder(), make_batch((7, 4, 3, 1))
    method = _method(encoder, name, layers=layers)
    together = method.step(batch, make_context(encoder))
    alone = [method.step(take_row(batch, number), make_context(encoder)) for number in range(4)]
    for key, loss in together.losses.items():
        mean = torch.stack([one.losses[key].value for one in alone]).mean()
        torch.testing.assert_close(loss.value, mean)
    expected = gradients(encoder, torch.stack([total(one) for one in alone]).mean())
    for found, wanted in zip(gradients(encoder, total(together)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)  # noise found in float32, another batch's sums


def test_multiplying_the_loss_leaves_the_noise_as_it_is() -> None:
    encoder, batch = make_encoder(), make_batch()
    context = make_context(encoder)
    louder = replace(context, task_loss=lambda logits, targets: 1024 * context.task_loss(logits, targets))
    method = _method(encoder)
    assert torch.equal(_noise(method, batch, context)[0], _noise(method, batch, louder)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_touches_no_parameters_gradient_and_no_batch(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    before = {key: value.clone() for key, value in vars(batch).items() if isinstance(value, Tensor)}
    kept = [torch.full_like(parameter, 0.25) for parameter in encoder.parameters()]
    for parameter, gradient in zip(encoder.parameters(), kept, strict=True):
        parameter.grad = gradient.clone()
    _method(encoder, name).step(batch, make_context(encoder))
    for parameter, gradient in zip(encoder.parameters(), kept, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
    assert all(torch.equal(getattr(batch, key), value) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_what_it_is_without_the_method(name: str) -> None:
    encoder, batch = make_encoder(dropout=0.3).eval(), make_batch()
    before = encoder(batch).logits
    method = _method(encoder, name)
    encoder.train()
    method.step(batch, make_context(encoder))
    assert torch.equal(encoder.eval()(batch).logits, before)
    assert not method.state_dict()


def test_both_passes_share_the_dropout_below_the_layer_that_is_moved() -> None:
    encoder, batch = make_encoder(dropout=0.5), make_batch()
    for module in (encoder.layers[-1], encoder.model.classifier, encoder.model.bert.pooler, encoder.model.dropout):
        module.eval()
    losses = _method(encoder, epsilon=0.0).step(batch, make_context(encoder)).losses
    assert torch.equal(losses["adversarial"].value, losses["task"].value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", ["token-classification", "question-answering"])
def test_heads_that_read_every_token_have_all_real_rows_moved_at_one_length(name: str, head: Head) -> None:
    encoder, batch, context = _other_head(head)
    method = _method(encoder, name, head, epsilon=0.8)
    noise, _ = _noise(method, batch, context)
    torch.testing.assert_close(torch.linalg.vector_norm(noise, dim=(0, 2, 3, 4)), torch.full((3,), 0.8 * 2**0.5))
    assert (noise.masked_select(~method.site.real(batch)) == 0).all()
    assert noise[0, 1, :, 3, :4].all()
    losses = method.step(batch, context).losses
    if name != "attention-rp":
        assert losses["adversarial"].value > losses["task"].value


@pytest.mark.parametrize("name", NAMES)
def test_of_several_choices_each_has_its_own_length(name: str) -> None:
    encoder, batch, context = _other_head("multiple-choice")
    method = _method(encoder, name, "multiple-choice")
    noise, _ = _noise(method, batch, context)
    assert noise.shape == (1, 3, 2, 1, 7)
    # The last row is an example's only choice: whatever its scores are, it is chosen, and its gradient is 0.
    lengths = torch.linalg.vector_norm(noise, dim=-1)[0, :, :, 0]
    expected = torch.ones(3, 2) if name == "attention-rp" else torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(lengths, expected)
    assert method.step(batch, context).losses["adversarial"].value.isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_bf16_gives_no_nan_and_finds_the_noise_in_float32(name: str) -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _method(encoder, name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert _noise(method, batch, make_context(encoder))[0].dtype == torch.float32
        result = method.step(batch, make_context(encoder))
    assert all(gradient.isfinite().all() for gradient in gradients(encoder, total(result)))


def _inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(2)
    return {
        "u": draw.normal(size=(3, 6)),
        "m": np.arange(6)[None, :] < np.array([6, 4, 1])[:, None],
        "eps": np.array(0.7),
        "H": draw.normal(size=(3, 6, 5)),
        "w_o": draw.normal(size=5),
        "b_o": np.array(0.2),
        "y": np.array([1, 0, 1]),
        "P": np.array(1.8),
    }


def _loss_by_hand(given: dict[str, np.ndarray], scores: np.ndarray) -> float:
    total = 0.0
    for b in range(3):
        real = int(given["m"][b].sum())
        powers = np.exp(scores[b, :real])
        logit = (powers / powers.sum()) @ given["H"][b, :real] @ given["w_o"] + given["b_o"]
        probability = 1 / (1 + np.exp(-logit))
        total -= 1.8 * np.log(probability) if given["y"][b] else np.log(1 - probability)
    return float(total / 3)


def test_the_formulas_at_given_arrays_are_those_written_out() -> None:
    given = _inputs()
    found = reference(given)
    slopes = np.zeros((3, 6))
    for place in np.ndindex(3, 6):
        step = np.zeros((3, 6))
        step[place] = 1e-5
        slopes[place] = (_loss_by_hand(given, given["u"] + step) - _loss_by_hand(given, given["u"] - step)) / 2e-5
    np.testing.assert_allclose(found["g"], slopes, atol=1e-9)  # central differences
    g = np.asarray(found["g"])
    w = np.array(
        [
            [sum((u[t] - u[k]) ** 2 for k in range(6) if m[k]) * m[t] for t in range(6)]
            for u, m in zip(given["u"], given["m"], strict=True)
        ]
    )
    np.testing.assert_allclose(found["w"], w, rtol=1e-12)
    expected = {
        "at": 0.7 * g[:2] / np.linalg.norm(g[:2], axis=1, keepdims=True),
        "weighted": 0.7 * (g * w)[:2] / np.linalg.norm((g * w)[:2], axis=1, keepdims=True),
        "sign": 0.7 * np.sign(g[:2]),
    }
    expected |= {"literal": expected["at"], "code": -expected["at"]}
    for name, noise in expected.items():
        np.testing.assert_allclose(found[f"r_{name}"][:2], noise, rtol=1e-9, atol=1e-12, err_msg=name)  # type: ignore[index]
        assert not np.any(found[f"r_{name}"][2])  # type: ignore[index]
        harmed = _loss_by_hand(given, given["u"] + found[f"r_{name}"])
        assert found[f"L_adv_{name}"] == pytest.approx(harmed, rel=1e-12)
    assert found["L"] == pytest.approx(_loss_by_hand(given, given["u"]), rel=1e-12)


def test_a_given_gradient_is_taken_instead_of_the_losses_own() -> None:
    given = {name: _inputs()[name] for name in ("u", "m", "eps")}
    given |= {"g": np.ones((3, 6)), "n": np.full((3, 6), -2.0)}
    found = reference(given)
    assert set(found) == {"w", "r_at", "r_weighted", "r_literal", "r_sign", "r_code", "r_rp"}
    np.testing.assert_allclose(found["r_at"][1], np.array([0.35] * 4 + [0, 0]))  # type: ignore[index]
    np.testing.assert_allclose(found["r_rp"][1], np.array([-0.35] * 4 + [0, 0]))  # type: ignore[index]


def test_without_a_gradient_or_a_loss_to_take_it_of_it_is_asked_for() -> None:
    with pytest.raises(WrongArray, match=r"no array 'g'; it is needed, with axes \(batch, seq\)"):
        reference({name: _inputs()[name] for name in ("u", "m", "eps")})
