"""The head whose labels do not exclude each other: its loss and its divergences, against torch and by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.networks.alignment import disagreement
from models.networks.heads import HEAD_TRAINING, as_choices
from models.robust.attention_vat import divergence
from tests.models.passes import make_batch

HEAD = HEAD_TRAINING["multi-label-classification"]
NUMBERS = st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.booleans()), min_size=2, max_size=6)


def _by_hand(logit: float, target: float) -> float:
    return max(logit, 0.0) - logit * target + math.log1p(math.exp(-abs(logit)))


@settings(deadline=None)
@given(NUMBERS)
def test_the_loss_is_the_mean_binary_cross_entropy(drawn: list[tuple[float, float, bool]]) -> None:
    logits = torch.tensor([[one, other] for one, other, _ in drawn])
    targets = torch.tensor([[float(has), float(not has)] for *_, has in drawn])
    by_hand = [
        [_by_hand(float(logit), float(target)) for logit, target in zip(*pair, strict=True)]
        for pair in zip(logits, targets, strict=True)
    ]
    rows = torch.tensor(by_hand).mean(1)
    torch.testing.assert_close(HEAD.losses(logits, targets), rows, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(HEAD.loss(logits, targets), rows.mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(HEAD.loss(logits, targets), nn.BCEWithLogitsLoss()(logits, targets))


@settings(deadline=None)
@given(NUMBERS)
def test_a_label_as_a_choice_has_its_sigmoid(drawn: list[tuple[float, float, bool]]) -> None:
    logits = torch.tensor([[one, other] for one, other, _ in drawn], dtype=torch.float64)
    torch.testing.assert_close(as_choices(logits).softmax(-1)[..., 1], logits.sigmoid())


def test_divergences_are_those_of_bernoulli_distributions() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(5, 4, generator=generator) * 3 for _ in range(2))
    p, q = (torch.distributions.Bernoulli(logits=logits) for logits in (first, second))
    forth, back = torch.distributions.kl_divergence(p, q), torch.distributions.kl_divergence(q, p)
    nowhere = torch.zeros(5, 0, dtype=torch.long)
    apart = disagreement(first, second, "multi-label-classification", (nowhere, nowhere))
    torch.testing.assert_close(apart, (forth + back).mean() / 2, rtol=1e-4, atol=1e-6)
    found = divergence(first, second, make_batch(), "multi-label-classification")
    torch.testing.assert_close(found, forth.mean(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("moved", [0.0, 2.0])
def test_a_label_that_stays_adds_nothing_to_the_divergence(moved: float) -> None:
    logits = torch.tensor([[1.0, -2.0, 3.0]])
    other = logits + torch.tensor([[0.0, moved, 0.0]])
    nowhere = torch.zeros(1, 0, dtype=torch.long)
    apart = float(disagreement(logits, other, "multi-label-classification", (nowhere, nowhere)))
    alone = float(disagreement(logits[:, 1:2], other[:, 1:2], "multi-label-classification", (nowhere, nowhere)))
    assert apart == pytest.approx(alone / 3, abs=1e-7)
