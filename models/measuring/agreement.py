"""Measures how well attention agrees with gradients: whether the model looks at the words that its answer depends on.

Jain and Wallace (NAACL 2019, arXiv 1902.10186) and Kitada and Iyatomi (arXiv 2009.12064) measure this in models that
have a single attention with one row. For a transformer, this project takes the row that the head reads: the first row
of the last layer's attention, as a mean over heads.
"""

import statistics
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import kendalltau
from torch import Tensor

from models.data import Example
from models.errors import UserError
from models.networks.batches import batch_rows
from models.networks.encoder import Batch, Encoder

FEWEST_TOKENS = 3
BATCH_SIZE = 32


class NothingToCompare(UserError):
    """No example has enough tokens that differ in attention and importance."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The distribution of one value over examples."""

    mean: float
    sd: float
    """Sample standard deviation over examples; 0 for a single one."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Correlations between tokens of one example, over all examples.

    "Detached" means that the gradient takes the last layer's attention as a constant.
    """

    pearson_detached: Spread
    pearson: Spread
    kendall_detached: Spread
    """Tau b, as Jain and Wallace report it."""
    kendall: Spread
    measured: int
    """Number of examples measured."""
    skipped: int
    """Number of examples with fewer than three tokens, or with the same attention or importance at every token."""


def attention_gradient_agreement(
    encoder: Encoder, examples: Sequence[Example], pad_id: int, special_ids: Collection[int]
) -> Agreement:
    """Correlate attention with importance |sum_d e_d dy/de_d|; tokens in `special_ids` are left out.

    Here e is a token's word vector, and y is a label's probability or the score that the head gives. With several
    labels, the absolute values are added up. Dropout is off. The first window of a long text is measured. The
    encoder's head must be one for sequences.

    Raises:
        NothingToCompare: every example was skipped.
    """
    rows = sorted((example.encoded.rows[0] for example in examples), key=len)
    found: list[tuple[float, ...]] = []
    with _evaluating(encoder):
        for first in range(0, len(rows), BATCH_SIZE):
            batch = batch_rows(rows[first : first + BATCH_SIZE], pad_id, encoder.word_vectors.device)
            found += _correlate(encoder, batch, special_ids)
    if not found:
        raise NothingToCompare(
            f"none of {len(examples)} examples has {FEWEST_TOKENS} tokens or more, unlike in attention and importance"
        )
    spreads = [_spread(values) for values in zip(*found, strict=True)]
    return Agreement(
        pearson_detached=spreads[0],
        pearson=spreads[1],
        kendall_detached=spreads[2],
        kendall=spreads[3],
        measured=len(found),
        skipped=len(examples) - len(found),
    )


def weigh_tokens(
    encoder: Encoder, batch: Batch, *, detached: bool
) -> tuple[Float[Tensor, "rows seq"], Float[Tensor, "rows seq"]]:
    """Attention on each token, and the token's importance. With `detached`, no gradient passes through that attention.

    No parameter's gradient is touched.
    """
    last = len(encoder.layers) - 1
    vectors = encoder.word_vectors.detach()[batch.ids]
    moved = torch.zeros_like(vectors, requires_grad=True)
    with torch.enable_grad(), _constant_attention(encoder, detached):
        passed = encoder(batch, word_noise=moved, keep=[last])
        outputs = passed.logits.softmax(-1) if passed.logits.shape[-1] > 1 else passed.logits
        # In evaluation mode rows do not depend on each other, so the gradient of a column's sum is each row's own.
        slopes = [torch.autograd.grad(column.sum(), moved, retain_graph=True)[0] for column in outputs.unbind(-1)]
    importance = torch.stack([(vectors * slope).sum(-1).abs() for slope in slopes]).sum(0)
    return passed.kept[last].probabilities[:, :, 0].mean(1).detach(), importance


def _correlate(encoder: Encoder, batch: Batch, special_ids: Collection[int]) -> Iterator[tuple[float, ...]]:
    """Four correlations for each row that can be measured: Pearson detached, Pearson, Kendall detached, Kendall."""
    attention, detached = weigh_tokens(encoder, batch, detached=True)
    _, whole = weigh_tokens(encoder, batch, detached=False)
    special = torch.isin(batch.ids, torch.tensor(sorted(special_ids), device=batch.ids.device))
    for row, counted in enumerate(encoder.attended(batch) & ~special):
        weights = [one[row][counted].cpu().double().numpy() for one in (attention, detached, whole)]
        if counted.sum() >= FEWEST_TOKENS and all(np.ptp(one) > 0 for one in weights):
            looked, *others = weights
            pearson = (float(np.corrcoef(looked, one)[0, 1]) for one in others)
            kendall = (float(kendalltau(looked, one).statistic) for one in others)
            yield (*pearson, *kendall)


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    was_training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(was_training)


@contextmanager
def _constant_attention(encoder: Encoder, detached: bool) -> Iterator[None]:
    def detach(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        return (args[0].detach() if detached else args[0],)

    last: Any = encoder.layers[-1]
    handle = last.attention.self.dropout.register_forward_pre_hook(detach)
    try:
        yield
    finally:
        handle.remove()


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=statistics.fmean(values), sd=statistics.stdev(values) if len(values) > 1 else 0.0)
