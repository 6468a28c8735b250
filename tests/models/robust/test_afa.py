"""The properties of AFA (our reading), against closed forms, enumeration and the real loop."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.networks.encoder import Encoder
from models.robust.afa import (
    Afa,
    AfaSettings,
    advantages,
    attention_received,
    draw_masks,
    first_positions,
    log_policy,
    mask_chances,
    mend_masks,
    neglect,
    policy_loss,
    word_shares,
)
from models.robust.method import StepContext, StepResult
from tests.models.passes import make_batch, make_build_context, make_context, make_encoder

LENGTHS = (9, 6, 5)
"""Rows with two words or more each, whatever of their random tokens is special."""


def _afa(encoder: Encoder, **given: Any) -> Afa:
    return Afa(AfaSettings.model_validate(given), make_build_context(encoder))


def _context(encoder: Encoder, **changed: Any) -> StepContext:
    """Half-way through a training: past the warm-up."""
    return replace(make_context(encoder), **{"share_done": 0.5, **changed})


def _gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def _descend(encoder: Encoder, loss: Tensor) -> None:
    """One small step down, by gradient descent."""
    for parameter, gradient in zip(encoder.parameters(), _gradients(encoder, loss).values(), strict=True):
        parameter.data.sub_(1e-4 * gradient)


def _total(result: StepResult) -> Tensor:
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def _attention(seed: int = 0, *, rows: int = 1, seq: int = 4, spread: float = 1.0) -> Tensor:
    """Attention of two heads, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(rows, 2, seq, seq, generator=generator, dtype=torch.float64)).softmax(-1)


def _words(*counts: int, seq: int) -> Tensor:
    """That many words after a first token that is none."""
    places = torch.arange(seq)[None, :]
    return (places > 0) & (places <= torch.tensor(counts)[:, None])


def _chances(attention: Tensor, maskable: Tensor, **given: float) -> Tensor:
    received = attention_received(attention, first_positions(maskable))
    neglected = neglect(word_shares(received, maskable), maskable)
    return mask_chances(neglected, maskable, AfaSettings.model_validate(given))


def test_chances_are_those_of_a_loop_in_float64() -> None:
    attention, maskable = _attention(rows=3, seq=6), _words(5, 3, 2, seq=6)
    found = _chances(attention, maskable, rho=0.3, kappa=2.0, q_min=0.1, q_max=0.6)
    for row, words in enumerate((5, 3, 2)):
        received = [sum(attention[row, head, 0, j].item() for head in range(2)) / 2 for j in range(1, words + 1)]
        surprise = [-math.log(one / sum(received) + 1e-6) for one in received]
        expected = [0.0]
        for one in surprise:
            odds = 2.0 * (one - sum(surprise) / words) + math.log(0.3 / 0.7)
            expected.append(min(max(1 / (1 + math.exp(-odds)), 0.1), 0.6))
        expected += [0.0] * (5 - words)
        assert found[row].tolist() == pytest.approx(expected, rel=1e-9)


def test_heads_that_answer_at_tokens_are_read_at_all_real_queries() -> None:
    attention = _attention(rows=1, seq=4)
    real = torch.tensor([[True, True, True, False]])
    found = attention_received(attention, real)
    expected = [sum(attention[0, h, i, j].item() for h in range(2) for i in range(3)) / 6 for j in range(4)]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rho", [0.1, 0.25, 0.7])
def test_uniform_attention_masks_each_word_with_chance_rho(rho: float) -> None:
    maskable = _words(4, 2, seq=6)
    found = _chances(torch.full((2, 2, 6, 6), 1 / 6, dtype=torch.float64), maskable, rho=rho)
    torch.testing.assert_close(found[maskable], torch.full((6,), rho, dtype=torch.float64))


def test_where_nothing_is_clipped_the_mean_log_odds_are_those_of_rho() -> None:
    maskable = _words(7, 3, seq=8)
    found = _chances(_attention(rows=2, seq=8), maskable, rho=0.3, q_min=1e-6, q_max=1 - 1e-6)
    for row in range(2):
        mean = torch.logit(found[row][maskable[row]]).mean().item()
        assert mean == pytest.approx(math.log(0.3 / 0.7), rel=1e-9)


@pytest.mark.parametrize("q_max", [0.9, 0.5])
def test_the_gradient_of_expected_reward_is_minus_that_of_the_mean_loss(q_max: float) -> None:
    """All 8 masks of three words, without mending, reward in place of advantage; 0.5 clips the least attended word."""
    attention, maskable = _attention(spread=2.0).requires_grad_(), _words(3, seq=4)
    rewards = torch.rand(8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    masks = [torch.tensor([[False, *mask]]) for mask in itertools.product([False, True], repeat=3)]
    chances = _chances(attention, maskable, rho=0.4, q_max=q_max)
    probabilities = [torch.where(mask, chances, 1 - chances)[0, 1:].prod() for mask in masks]
    assert sum(probabilities).item() == pytest.approx(1)  # type: ignore[union-attr]
    expected_reward = sum(chance * reward for chance, reward in zip(probabilities, rewards, strict=True))
    (expected,) = torch.autograd.grad(expected_reward, attention, retain_graph=True)
    found = torch.zeros_like(attention)
    for mask, chance, reward in zip(masks, probabilities, rewards, strict=True):
        loss = policy_loss(reward[None], log_policy(mask, chances, maskable), maskable)
        (gradient,) = torch.autograd.grad(loss, attention, retain_graph=True)
        found -= 3 * chance.detach() * gradient
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 0.01


def test_the_expected_gradient_of_a_masks_log_probability_is_0() -> None:
    attention, maskable = _attention(seed=1).requires_grad_(), _words(3, seq=4)
    chances = _chances(attention, maskable)
    found, largest = torch.zeros_like(attention), 0.0
    for mask in (torch.tensor([[False, *mask]]) for mask in itertools.product([False, True], repeat=3)):
        score = log_policy(mask, chances, maskable)
        (gradient,) = torch.autograd.grad(score.sum(), attention, retain_graph=True)
        found += score.exp().detach() * gradient
        largest = max(largest, gradient.abs().max().item())
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)
    assert largest > 0.1


@given(seed=st.integers(0, 10_000), chance=st.sampled_from([0.001, 0.3, 0.999]))
@settings(deadline=None)
def test_of_every_text_a_word_is_masked_and_a_word_is_kept_and_nothing_else_is_touched(
    seed: int, chance: float
) -> None:
    maskable = _words(5, 2, 3, 0, seq=7)
    chances = torch.full((4, 7), chance).masked_fill(~maskable, 0.0)
    torch.manual_seed(seed)
    masked = mend_masks(draw_masks(chances, maskable), chances, maskable)
    assert not (masked & ~maskable).any()
    assert masked[:3].any(1).all()
    assert (maskable & ~masked)[:3].any(1).all()


def test_mending_masks_the_likeliest_of_none_and_keeps_the_unlikeliest_of_all() -> None:
    maskable = _words(3, 3, 3, 3, seq=5)
    chances = torch.tensor([0.0, 0.3, 0.5, 0.2, 0.0]).expand(4, 5).clone()
    chances[3] = torch.tensor([0.0, 0.4, 0.4, 0.4, 0.0])
    drawn = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 0, 0]]).bool()
    found = mend_masks(nn.functional.pad(drawn, (1, 1)), chances, maskable)
    assert found[:, 1:4].int().tolist() == [[0, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]]  # of equal ones the first
    assert not found[:, [0, 4]].any()


def test_words_are_masked_as_often_as_their_chances_say() -> None:
    maskable = _words(3, seq=5).expand(20_000, 5)
    chances = torch.tensor([0.0, 0.1, 0.5, 0.9, 0.0]).expand(20_000, 5)
    torch.manual_seed(0)
    share = draw_masks(chances, maskable).float().mean(0)
    torch.testing.assert_close(share, chances[0], rtol=0, atol=0.015)  # four standard errors of 20,000 draws


def test_special_tokens_and_padding_are_no_words_but_unknown_words_are() -> None:
    encoder = make_encoder()
    method = _afa(encoder)
    batch = make_batch((8, 8), padding=2)
    ids = torch.tensor([[2, 10, 1, 4, 3, 11, 3, 12, 0, 0], [2, 10, 3, 3, 3, 3, 3, 3, 0, 0]])  # [CLS] 2, [SEP] 3, ...
    found = method._find_words(replace(batch, ids=ids))
    assert found.int().tolist() == [[0, 1, 1, 0, 0, 1, 0, 1, 0, 0], [0] * 10]  # one word alone is left out


def test_advantages_are_rewards_above_the_base_in_standard_deviations() -> None:
    rewards, base = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    spread = math.sqrt(sum((one - 0.5) ** 2 for one in (0.2, 0.4, 0.9)) / 3)
    expected = [(one - 0.3) / (spread + 1e-6) for one in (0.2, 0.4, 0.9)]
    assert advantages(rewards, base).tolist() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(advantages(rewards + 5, base + 5), advantages(rewards, base))


@pytest.mark.parametrize("rewards", [[0.7], [0.7, 0.7, 0.7], [0.7, 0.7 + 1e-7]])
def test_rewards_that_do_not_differ_are_not_divided_by_their_spread(rewards: list[float]) -> None:
    found = advantages(torch.tensor(rewards), torch.tensor(0.5))
    torch.testing.assert_close(found, torch.full((len(rewards),), 0.2), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("advantage", "direction"), [(-1.0, 1), (1.0, -1)])
def test_a_step_raises_attention_on_a_word_that_was_missed_and_lowers_it_on_one_that_was_not(
    advantage: float, direction: int
) -> None:
    batch, maskable = make_batch((7,)), _words(5, seq=7)

    def shares(encoder: Encoder) -> Tensor:
        attention = encoder(batch, keep=[2]).kept[2].probabilities
        return word_shares(attention_received(attention, first_positions(maskable)), maskable)

    for word in range(1, 6):
        encoder = make_encoder()
        before = shares(encoder)
        chances = mask_chances(neglect(before, maskable), maskable, AfaSettings(q_min=1e-6, q_max=0.999999))
        log_chance = log_policy(torch.arange(7)[None, :] == word, chances, maskable)
        _descend(encoder, policy_loss(torch.tensor([advantage]), log_chance, maskable))
        assert torch.sign(shares(encoder) - before)[0, word].item() == direction


@pytest.mark.parametrize(("base", "direction"), [(1.0, -1), (0.0, 1)])
def test_after_a_real_step_masks_that_confused_less_than_usual_are_less_likely(base: float, direction: int) -> None:
    encoder, batch = make_encoder(), make_batch((9,))
    method, context = _afa(encoder, q_min=1e-6, q_max=0.999999), _context(encoder)
    method.base.fill_(base)  # rewards are near a half at first
    maskable = method._find_words(batch)

    def likelihood() -> Tensor:
        return log_policy(masked, method._chances(encoder(batch, keep=[2]), batch, maskable), maskable)

    chances = method._chances(encoder(batch, keep=[2]), batch, maskable)
    with context.extra_pass(0):
        masked = mend_masks(draw_masks(chances, maskable), chances, maskable)
    before = likelihood()
    _descend(encoder, method.step(batch, context).losses["policy"].value)
    assert torch.sign(likelihood() - before).item() == direction


def test_the_policy_moves_queries_and_keys_of_all_layers_and_no_values_of_the_last() -> None:
    encoder = make_encoder()
    method = _afa(encoder)
    method.step(make_batch(LENGTHS), _context(encoder))  # rewards are unequal to the first base
    policy = method.step(make_batch(LENGTHS), _context(encoder)).losses["policy"].value
    moved = {name for name, gradient in _gradients(encoder, policy).items() if gradient.abs().max() > 0}
    for layer in range(3):
        for part in ("query", "key"):
            assert f"model.bert.encoder.layer.{layer}.attention.self.{part}.weight" in moved
    assert not {name for name in moved if name.startswith("model.bert.encoder.layer.2.attention.self.value")}
    assert not {name for name in moved if name.startswith(("model.bert.encoder.layer.2.output", "model.classifier"))}


def test_the_losses_never_reach_the_discriminator_nor_its_loss_the_encoder() -> None:
    encoder, batch = make_encoder(dropout=0.1), make_batch(LENGTHS)
    method, context = _afa(encoder), _context(encoder)
    _total(method.step(batch, context)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in method.parameters())
    assert method.parameter_groups() == ()
    clean = encoder(batch, keep=[2])
    seen = method._compare(clean, batch, method._find_words(batch), context)
    assert not any(state.requires_grad for state in vars(seen).values())


def test_the_repeated_text_is_read_with_other_dropout_and_the_masked_text_with_the_mask_token() -> None:
    batch = make_batch(LENGTHS)
    for dropout in (0.0, 0.3):
        encoder = make_encoder(dropout=dropout)
        method = _afa(encoder)
        masked = method._find_words(batch) & (torch.arange(9) == 2)
        seen = method._compare(encoder(batch), batch, masked, _context(encoder))
        assert torch.equal(seen.repeated, seen.plain) == (dropout == 0)
        if dropout == 0:
            hidden = replace(batch, ids=torch.where(masked, 4, batch.ids))
            pooled = encoder(hidden).pooled
            assert pooled is not None
            assert torch.equal(seen.masked, pooled.detach()[masked.any(1)])


def test_each_of_the_three_readings_has_dropout_of_its_own() -> None:
    encoder = make_encoder(dropout=0.3)
    batch = make_batch((9,))
    batch.ids[0, 2] = 4  # [MASK]: masking it changes nothing
    masked = torch.arange(9)[None, :] == 2
    seen = _afa(encoder)._compare(encoder(batch), batch, masked, _context(encoder))
    for one, other in itertools.combinations((seen.plain, seen.masked, seen.repeated), 2):
        assert not torch.equal(one, other)


def test_the_policy_loss_of_a_step_is_that_of_its_parts() -> None:
    encoder, batch = make_encoder(), make_batch((*LENGTHS, 1))
    method, context = _afa(encoder), _context(encoder)
    clean = encoder(batch, keep=[2])
    maskable = method._find_words(batch)
    chances = method._chances(clean, batch, maskable)
    with context.extra_pass(0):
        masked = mend_masks(draw_masks(chances, maskable), chances, maskable)
    seen = method._compare(clean, batch, masked, context)
    result = method.step(batch, context)
    rewards = method.discriminator.confusion(seen)  # as the step read them: after its update
    advantage = advantages(rewards, torch.tensor(0.5))
    expected = 0.0
    for row in range(3):
        words = [j for j in range(9) if maskable[row, j]]
        log_chance = sum(
            math.log(chances[row, j].item() if masked[row, j] else 1 - chances[row, j].item()) for j in words
        )
        expected -= advantage[row].item() * log_chance / len(words) / 4
    assert result.losses["policy"].value.item() == pytest.approx(expected, rel=1e-4)  # float32
    assert result.losses["policy"].weight == 0.1
    assert result.scalars["reward"] == pytest.approx(rewards.mean().item())
    assert result.scalars["reward_spread"] == pytest.approx(rewards.std(correction=0).item())
    assert method.base.item() == pytest.approx(0.9 * 0.5 + 0.1 * rewards.mean().item())


def test_rows_of_fewer_than_two_words_take_part_in_the_task_loss_only() -> None:
    encoder = make_encoder()
    method = _afa(encoder)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    result = method.step(make_batch((1, 1)), _context(encoder))
    assert set(result.losses) == {"task"}
    assert not result.scalars
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_a_batch_of_one_is_pushed_by_its_reward_alone() -> None:
    encoder = make_encoder()
    result = _afa(encoder).step(make_batch((9,)), _context(encoder))
    assert result.scalars["reward_spread"] == 0
    assert abs(result.losses["policy"].value.item()) < 10


def test_while_the_discriminator_warms_up_the_policy_has_no_weight() -> None:
    encoder = make_encoder()
    method = _afa(encoder, warmup_share=0.2)
    for share_done, weight in ((0.0, 0.0), (0.19, 0.0), (0.2, 0.1)):
        policy = method.step(make_batch(LENGTHS), _context(encoder, share_done=share_done)).losses["policy"]
        assert (policy.weight, policy.value.requires_grad) == (weight, weight > 0)
    assert method.discriminator.updates.item() == 3


def test_permuted_rewards_are_the_same_in_another_order() -> None:
    encoder = make_encoder()
    rewards = torch.arange(6.0)
    control, method = _afa(encoder, permute_rewards=True), _afa(encoder)
    orders = [control._permuted(rewards, _context(encoder, step=step)) for step in range(4)]
    assert all(torch.equal(order.sort().values, rewards) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) > 1
    assert torch.equal(method._permuted(rewards, _context(encoder)), rewards)


def test_with_permuted_rewards_the_mean_push_knows_nothing_of_single_texts() -> None:
    """Over all orders of the rewards the mean gradient is that of giving every text the mean advantage."""
    attention, maskable = _attention(rows=3, seq=6).requires_grad_(), _words(5, 3, 2, seq=6)
    chances = _chances(attention, maskable)
    log_chance = log_policy(_words(2, 1, 1, seq=6), chances, maskable)
    rewards = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    base = rewards.mean()
    found = torch.zeros_like(attention)
    for order in itertools.permutations(range(3)):
        loss = policy_loss(advantages(rewards[list(order)], base), log_chance, maskable)
        found += torch.autograd.grad(loss, attention, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


def test_padding_changes_nothing() -> None:
    encoder = make_encoder()
    narrow, wide = (_afa(encoder).step(make_batch(LENGTHS, padding=padding), _context(encoder)) for padding in (0, 5))
    for name, loss in narrow.losses.items():
        torch.testing.assert_close(wide.losses[name].value, loss.value, rtol=1e-3, atol=1e-6)
    assert wide.scalars == pytest.approx(narrow.scalars, rel=1e-3)  # divided by a spread of thousandths, in float32


def test_further_passes_leave_the_random_stream_where_plain_training_would() -> None:
    encoder = make_encoder(dropout=0.3)
    method = _afa(encoder, permute_rewards=True)
    torch.manual_seed(9)
    encoder(make_batch(LENGTHS))
    after_plain = torch.rand(1)
    torch.manual_seed(9)
    method.step(make_batch(LENGTHS), _context(encoder))
    assert torch.equal(torch.rand(1), after_plain)


def test_building_draws_nothing_from_plain_trainings_stream() -> None:
    encoder = make_encoder()
    torch.manual_seed(9)
    _afa(encoder)
    after = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(1), after)


def test_switched_off_there_is_one_pass_and_nothing_learns() -> None:
    encoder = make_encoder()
    method = _afa(encoder, feedback_weight=0)
    assert set(method.step(make_batch(LENGTHS), _context(encoder)).losses) == {"task"}
    assert method.discriminator.updates.item() == 0


def test_no_tensor_of_the_batch_is_changed() -> None:
    encoder, batch, copy = make_encoder(), make_batch(LENGTHS), make_batch(LENGTHS)
    _afa(encoder).step(batch, _context(encoder))
    for name in ("ids", "type_ids", "mask", "targets", "indices"):
        assert torch.equal(getattr(batch, name), getattr(copy, name))


def test_bf16_gives_no_nan() -> None:
    encoder = make_encoder(dropout=0.1)
    method = _afa(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = [method.step(make_batch(LENGTHS), _context(encoder, step=step)) for step in range(3)]
    _total(results[-1]).backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
    assert all(torch.isfinite(parameter).all() for parameter in method.parameters())
    assert all(map(math.isfinite, results[-1].scalars.values()))


@pytest.mark.parametrize("left", [0.0, 1e-38, 1e-15])
def test_next_to_no_attention_on_words_gives_finite_gradients(left: float) -> None:
    received = torch.tensor([[1.0, left, left, 0.0]]).requires_grad_()
    maskable = _words(2, seq=4)
    chances = mask_chances(neglect(word_shares(received, maskable), maskable), maskable, AfaSettings())
    torch.testing.assert_close(chances, torch.tensor([[0.0, 0.25, 0.25, 0.0]]))
    (gradient,) = torch.autograd.grad(log_policy(_words(1, seq=4), chances, maskable).sum(), received)
    assert torch.isfinite(gradient).all()
