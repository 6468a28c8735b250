"""The properties of adversarial self-attention, against closed forms and float64 loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from models.networks.encoder import Encoder
from models.robust.asa import (
    SLOPE,
    Asa,
    AsaSettings,
    MaskScorer,
    draw_mask,
    mask_bias,
    reverse_gradient,
    symmetric_divergence,
)
from models.robust.method import StepResult
from tests.models.passes import make_batch, make_context, make_encoder


def _asa(encoder: Encoder, **given: float) -> Asa:
    return Asa(AsaSettings.model_validate(given), encoder, seed=11, head="sequence-classification")


def _total(result: StepResult) -> Tensor:
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def _step(method: Asa, encoder: Encoder, **batch: int) -> StepResult:
    return method.step(make_batch(**batch), make_context(encoder))  # type: ignore[arg-type]


def _gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, materialize_grads=True))


def _scaled(method: Asa, factor: float) -> Asa:
    """The same adversary, pushing harder: at initialisation its scores are all but zero."""
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(factor)
    return method


def test_a_mask_is_exactly_0_or_1_and_half_on_a_score_of_exactly_0() -> None:
    scores = torch.tensor([[[-1e4, -3.0, -1e-30], [0.0, -0.0, 1e-30], [0.7, 5.0, 50.0]]])
    assert draw_mask(scores).tolist() == [[[0.0, 0.0, 0.0], [0.5, 0.5, 1.0], [1.0, 1.0, 1.0]]]


def test_the_mask_has_the_sigmoids_gradient() -> None:
    scores = torch.linspace(-4, 4, 9).reshape(1, 3, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(draw_mask(scores).sum(), scores)
    expected = torch.sigmoid(scores) * (1 - torch.sigmoid(scores))
    torch.testing.assert_close(gradient, expected)


def test_padding_keys_are_masked_and_padded_queries_are_not_touched() -> None:
    scorer = MaskScorer(16, torch.Generator().manual_seed(0))
    state = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(1))
    batch = make_batch((7, 4, 1))
    mask = draw_mask(scorer(state, batch.mask))
    assert (mask.masked_select(~batch.mask[:, None, :]) == 0).all()
    unpadded = draw_mask(scorer(state, torch.ones_like(batch.mask)))
    assert torch.equal(mask[1, 5, :4], unpadded[1, 5, :4])


def test_the_scores_are_scaled_by_the_root_of_the_full_width() -> None:
    scorer = MaskScorer(16, torch.Generator().manual_seed(0))
    state = torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(1))
    query, key = (linear(state)[0].detach().double().numpy() for linear in (scorer.query, scorer.key))
    expected = [[sum(query[i] * key[j]) / math.sqrt(16) for j in range(2)] for i in range(2)]
    found = scorer(state, torch.ones(1, 2, dtype=torch.bool))[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 against float64


def test_adversaries_start_as_fresh_layers_of_the_backbone_do() -> None:
    encoder = make_encoder()
    method = Asa(AsaSettings(), encoder, seed=0, head="sequence-classification")
    weights = torch.cat([parameter.flatten() for parameter in method.parameters() if parameter.ndim == 2])
    assert abs(weights.std().item() - 0.02) < 0.001  # 1,536 draws: three standard errors
    assert sum(parameter.numel() for parameter in method.parameters()) == 2 * 3 * (16**2 + 16)


def test_a_fully_masked_row_attends_as_if_unmasked_and_passes_no_gradient() -> None:
    real = torch.tensor([[True, True, False]])
    mask = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0]]], requires_grad=True)
    bias = mask_bias(mask, real)
    assert bias[0, 0].tolist() == [[0, 0, 0], [0, -SLOPE, -SLOPE], [0, 0, 0]]
    (gradient,) = torch.autograd.grad(bias.sum(), mask)
    assert gradient[0].tolist() == [[0, 0, 0], [SLOPE, SLOPE, SLOPE], [0, 0, 0]]


def test_no_real_row_is_empty_and_attention_on_padding_is_exactly_0() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _scaled(_asa(encoder), 30)
    counts: list[Tensor] = []
    bias = {layer: method._bias(scorer, counts.append) for layer, scorer in enumerate(method.scorers)}
    kept = encoder(batch, score_bias=bias, keep=[0, 1, 2]).kept
    for layer in kept.values():
        assert (layer.probabilities.masked_select(~batch.mask[:, None, None, :]) == 0).all()
        torch.testing.assert_close(layer.probabilities.sum(-1), torch.ones(3, 2, 7))


def test_an_emptied_row_still_pays_its_price() -> None:
    encoder = make_encoder()
    method = _asa(encoder)
    with torch.no_grad():
        for scorer in method.scorers:
            scorer.query.weight.zero_()  # type: ignore[union-attr,operator]
            scorer.query.bias.fill_(1.0)  # type: ignore[union-attr,operator]
            scorer.key.weight.zero_()  # type: ignore[union-attr,operator]
            scorer.key.bias.fill_(-1.0)  # type: ignore[union-attr,operator]
    result = _step(method, encoder)
    assert result.losses["kept_units"].value.item() == 0
    assert result.losses["divergence"].value.item() == pytest.approx(0, abs=1e-9)


def test_heads_share_a_layers_mask_and_layers_have_their_own() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _scaled(_asa(encoder), 30)
    bias = {layer: method._bias(scorer, lambda _: None) for layer, scorer in enumerate(method.scorers)}
    masked = [encoder(batch, score_bias=bias, keep=[0, 1, 2]).kept[layer].probabilities == 0 for layer in range(3)]
    for zeros in masked:
        assert torch.equal(zeros[:, 0], zeros[:, 1])
    assert not torch.equal(masked[0], masked[1])


def test_forced_to_keep_everything_the_second_pass_is_the_first() -> None:
    encoder = make_encoder()
    method = _asa(encoder, tau=0.5)
    with torch.no_grad():
        for scorer in method.scorers:
            for linear in (scorer.query, scorer.key):
                linear.weight.zero_()  # type: ignore[union-attr,operator]
                linear.bias.fill_(1.0)  # type: ignore[union-attr,operator]
    result = _step(method, encoder)
    assert result.losses["divergence"].value.item() == 0
    layers, width, mean_length = 3, 7, (7 + 4 + 1) / 3
    expected = result.losses["task"].value + 0.5**2 * layers * width * mean_length
    torch.testing.assert_close(_total(result), expected)


def test_real_queries_only_leaves_padded_queries_out_of_the_price() -> None:
    encoder = make_encoder()
    method = _asa(encoder, real_queries_only=True)
    with torch.no_grad():
        for scorer in method.scorers:
            for linear in (scorer.query, scorer.key):
                linear.weight.zero_()  # type: ignore[union-attr,operator]
                linear.bias.fill_(1.0)  # type: ignore[union-attr,operator]
    result = _step(method, encoder)
    assert result.losses["kept_units"].value.item() == 3 * (7**2 + 4**2 + 1**2) / 3
    assert result.scalars["kept_share"] == 1


_LOGITS = arrays.arrays(np.float64, (4, 3), elements=st.floats(-20, 20, width=32))


@given(clean=_LOGITS, other=_LOGITS, shift=st.floats(-50, 50))
@settings(deadline=None)
def test_divergence_is_symmetric_not_negative_and_blind_to_a_constant(
    clean: np.ndarray, other: np.ndarray, shift: float
) -> None:
    a, b = torch.tensor(clean), torch.tensor(other)
    forward = symmetric_divergence(a, b).item()
    assert forward == pytest.approx(symmetric_divergence(b, a).item(), abs=1e-6)
    assert forward >= 0
    assert forward == pytest.approx(symmetric_divergence(a + shift, b).item(), rel=1e-3, abs=1e-4)
    assert symmetric_divergence(a, a).item() == 0


@given(clean=_LOGITS, other=_LOGITS)
@settings(deadline=None)
def test_divergence_is_the_mean_over_examples_of_both_kl_halves(clean: np.ndarray, other: np.ndarray) -> None:
    def softmax(row: list[float]) -> list[float]:
        powers = [math.exp(value - max(row)) for value in row]
        return [power / sum(powers) for power in powers]

    expected = 0.0
    for left, right in zip(clean.tolist(), other.tolist(), strict=True):
        p, q = softmax(left), softmax(right)
        expected += 0.5 * sum(x * math.log(x / y) + y * math.log(y / x) for x, y in zip(p, q, strict=True)) / 4
    # float32 log-softmax of logits up to 20 apart against float64
    assert symmetric_divergence(torch.tensor(clean), torch.tensor(other)).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


def test_regression_divergence_runs_over_the_batch_and_is_0_for_one_row() -> None:
    a, b = torch.tensor([[1.0], [2.0], [0.5]]), torch.tensor([[0.0], [3.0], [0.5]])
    flat = symmetric_divergence(a.T, b.T) / 3  # (1, 3): the same softmax, divided by 1 instead of 3
    torch.testing.assert_close(symmetric_divergence(a, b), flat)
    assert symmetric_divergence(a[:1], b[:1]).item() == 0


def test_token_divergence_sums_positions_and_divides_by_the_batch_alone() -> None:
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 5, 3)
    by_token = symmetric_divergence(a.reshape(10, 3), b.reshape(10, 3))
    torch.testing.assert_close(symmetric_divergence(a, b), by_token * 5)


def test_the_adversarys_gradient_is_minus_that_without_reversal(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder()
    method = _scaled(_asa(encoder), 10)
    reversed_result = _step(method, encoder)
    adversary = _gradients(method, _total(reversed_result))
    model = _gradients(encoder, _total(reversed_result))
    monkeypatch.setattr("models.robust.asa.reverse_gradient", lambda mask: mask)
    plain_result = _step(method, encoder)
    for found, expected in zip(adversary, _gradients(method, _total(plain_result)), strict=True):
        torch.testing.assert_close(found, -expected)
    for found, expected in zip(model, _gradients(encoder, _total(plain_result)), strict=True):
        assert torch.equal(found, expected)


def test_reversing_keeps_values_and_flips_gradients() -> None:
    tensor = torch.tensor([1.0, -2.0], requires_grad=True)
    result = reverse_gradient(tensor)
    (gradient,) = torch.autograd.grad((result * torch.tensor([3.0, 5.0])).sum(), tensor)
    assert result.tolist() == [1.0, -2.0]
    assert gradient.tolist() == [-3.0, -5.0]


def test_the_price_never_reaches_the_encoder() -> None:
    encoder = make_encoder()
    method = _scaled(_asa(encoder), 10)
    mild, dear = (Asa(AsaSettings(tau=tau), encoder, seed=0, head="sequence-classification") for tau in (0.1, 3.0))
    for other in (mild, dear):
        other.load_state_dict(method.state_dict())
    for found, expected in zip(
        _gradients(encoder, _total(_step(mild, encoder))),
        _gradients(encoder, _total(_step(dear, encoder))),
        strict=True,
    ):
        assert torch.equal(found, expected)
    units = _step(method, encoder).losses["kept_units"].value
    assert all(gradient.abs().max() == 0 for gradient in _gradients(encoder, units))


def test_the_task_loss_never_reaches_the_adversary() -> None:
    encoder = make_encoder()
    method = _asa(encoder)
    task = _step(method, encoder).losses["task"].value
    assert all(gradient.abs().max() == 0 for gradient in _gradients(method, task))


def test_the_masks_gradient_is_the_closed_form_and_0_on_masked_units() -> None:
    """dKL/dm[b,i,j] = K sum_h A (g - sum_k A g), g = dKL/dA, of which a masked unit (A = 0) gets nothing."""
    encoder, batch = make_encoder(), make_batch()
    generator = torch.Generator().manual_seed(8)
    drawn = (torch.rand(3, 7, 7, generator=generator) > 0.4).float()
    mask = (drawn * batch.mask[:, None, :]).requires_grad_()
    clean = encoder(batch)
    masked = encoder(batch, score_bias={1: lambda _, real: mask_bias(mask, real)}, keep=[1])
    divergence = symmetric_divergence(clean.logits, masked.logits)
    attention = masked.kept[1].probabilities
    found, wanted = torch.autograd.grad(divergence, [mask, attention])
    a, g = attention.detach().double(), wanted.double()
    expected = SLOPE * (a * (g - (a * g).sum(-1, keepdim=True))).sum(1)
    is_empty = (mask * batch.mask[:, None, :]).sum(-1) == 0
    torch.testing.assert_close(found[~is_empty].double(), expected[~is_empty], rtol=1e-4, atol=1e-5)  # float32 graph
    assert (found[~is_empty][mask[~is_empty] == 0] == 0).all()
    assert (found[is_empty] == 0).all()


def test_permuting_the_batch_permutes_everything() -> None:
    encoder, batch = make_encoder(), make_batch()
    method = _scaled(_asa(encoder), 10)
    order = torch.tensor([2, 0, 1])
    moved = replace(batch, **{name: value[order] for name, value in vars(batch).items() if value is not None})
    here, there = (method.step(rows, make_context(encoder)) for rows in (batch, moved))
    for name, loss in here.losses.items():
        torch.testing.assert_close(there.losses[name].value, loss.value)


def test_padding_columns_change_the_count_through_padded_queries_alone() -> None:
    encoder = make_encoder()
    method = _scaled(_asa(encoder), 10)
    narrow, wide = _step(method, encoder), _step(method, encoder, padding=5)
    torch.testing.assert_close(wide.losses["task"].value, narrow.losses["task"].value)
    torch.testing.assert_close(wide.losses["divergence"].value, narrow.losses["divergence"].value, rtol=1e-4, atol=1e-7)
    only_real = Asa(AsaSettings(real_queries_only=True), encoder, seed=0, head="sequence-classification")
    only_real.load_state_dict(method.state_dict())
    counts = [_step(only_real, encoder, padding=padding).losses["kept_units"].value.item() for padding in (0, 5)]
    assert counts[0] == counts[1]


def test_the_second_pass_leaves_the_random_stream_where_plain_training_would() -> None:
    encoder = make_encoder(dropout=0.3)
    method = _asa(encoder)
    torch.manual_seed(9)
    encoder(make_batch())
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    _step(method, encoder)
    assert torch.equal(torch.rand(1), after_plain)


def test_switched_off_there_is_no_second_pass() -> None:
    encoder = make_encoder()
    result = _step(_asa(encoder, tau=0, divergence_weight=0), encoder)
    assert set(result.losses) == {"task"}


@pytest.mark.parametrize(("dropout", "differs"), [(0.0, False), (0.3, True)])
def test_the_control_masks_nothing_so_that_only_dropout_tells_its_passes_apart(dropout: float, differs: bool) -> None:
    encoder = make_encoder(dropout=dropout)
    method = _asa(encoder, control=True)
    result = _step(method, encoder)
    assert (method.parameter_groups(), list(method.parameters())) == ((), [])
    assert set(result.losses) == {"task", "divergence"}
    assert (float(result.losses["divergence"].value.detach()) > 0) is differs


def test_the_control_without_its_divergence_is_off() -> None:
    encoder = make_encoder()
    result = _step(_asa(encoder, control=True, divergence_weight=0), encoder)
    assert set(result.losses) == {"task"}


def test_bf16_gives_no_nan_and_scores_the_mask_in_float32() -> None:
    encoder = make_encoder()
    method = _asa(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = _step(method, encoder)
        state = torch.randn(1, 2, 16).bfloat16()
        assert method.scorers[0](state, torch.ones(1, 2, dtype=torch.bool)).dtype == torch.float32
    _total(result).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for module in (encoder, method) for parameter in module.parameters()]
    assert all(gradient is None or torch.isfinite(gradient).all() for gradient in gradients)


def test_a_negative_tau_is_refused() -> None:
    with pytest.raises(ValueError, match="tau"):
        AsaSettings(tau=-1)


def test_the_control_refuses_settings_of_masks() -> None:
    with pytest.raises(ValueError, match="the control masks nothing, so tau, real_queries_only would mean nothing"):
        AsaSettings(control=True, tau=0.3, real_queries_only=True)
