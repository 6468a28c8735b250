"""Measures how well attention agrees with gradients: whether the model looks at the words that its answer depends on.

Jain and Wallace (NAACL 2019, arXiv 1902.10186) and Kitada and Iyatomi (arXiv 2009.12064) measure this in models that
have a single attention with one row. For a transformer, this project takes the row that the head reads: the first row
of the last layer's attention, as a mean over heads.
"""

import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from models.data import Example
from models.errors import UserError
from models.networks.batches import batch_rows
from models.networks.encoder import Batch, Encoder
from models.networks.hooks import evaluating

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
    with evaluating(encoder):
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
    attention, slopes = differentiate(encoder, batch, _outputs, detached=detached)
    vectors = encoder.word_vectors.detach()[batch.ids]
    return attention, (vectors * slopes).sum(-1).abs().sum(0)


def differentiate(
    encoder: Encoder,
    batch: Batch,
    outputs: Callable[[Float[Tensor, "rows labels"]], Float[Tensor, "rows outputs"]],
    *,
    detached: bool,
) -> tuple[Float[Tensor, "rows seq"], Float[Tensor, "outputs rows seq embedding"]]:
    """Attention on each token, and the gradient at each word vector of each of the `outputs` made of the logits.

    The attention is the last layer's first row, as a mean over heads. With `detached`, no gradient passes through that
    layer's attention. The encoder must be in evaluation mode. No parameter's gradient is touched.
    """
    last = len(encoder.layers) - 1
    moved = encoder.word_vectors.new_zeros(*batch.ids.shape, encoder.word_vectors.shape[1], requires_grad=True)
    with torch.enable_grad():
        passed = encoder(batch, word_noise=moved, keep=[last], detached=[last] if detached else [])
        # Rows do not depend on each other, so the gradient of a column's sum is each row's own.
        slopes = [
            torch.autograd.grad(column.sum(), moved, retain_graph=True)[0]
            for column in outputs(passed.logits).unbind(-1)
        ]
    return passed.kept[last].probabilities[:, :, 0].mean(1).detach(), torch.stack(slopes)


def correlate(
    attention: npt.NDArray[np.float64], importances: Sequence[npt.NDArray[np.float64]]
) -> tuple[float, ...] | None:
    """Pearson's correlation of attention with each importance, then Kendall's tau b with each, over a row's tokens.

    None for fewer than three tokens, or where attention or an importance is the same at all of them.
    """
    # Here, not at the top: serving installs no scipy.
    from scipy.stats import kendalltau

    if len(attention) < FEWEST_TOKENS or any(np.ptp(values) == 0 for values in (attention, *importances)):
        return None
    pearson = (float(np.corrcoef(attention, one)[0, 1]) for one in importances)
    kendall = (float(kendalltau(attention, one).statistic) for one in importances)
    return (*pearson, *kendall)


def _outputs(logits: Tensor) -> Tensor:
    return logits.softmax(-1) if logits.shape[-1] > 1 else logits


def _correlate(encoder: Encoder, batch: Batch, special_ids: Collection[int]) -> Iterator[tuple[float, ...]]:
    """Four correlations for each row that can be measured: Pearson detached, Pearson, Kendall detached, Kendall."""
    attention, detached = weigh_tokens(encoder, batch, detached=True)
    _, whole = weigh_tokens(encoder, batch, detached=False)
    special = torch.isin(batch.ids, torch.tensor(sorted(special_ids), device=batch.ids.device))
    for row, counted in enumerate(encoder.attended(batch) & ~special):
        looked, *others = (one[row][counted].cpu().double().numpy() for one in (attention, detached, whole))
        found = correlate(looked, others)
        if found is not None:
            yield found


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=statistics.fmean(values), sd=statistics.stdev(values) if len(values) > 1 else 0.0)
