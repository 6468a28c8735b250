"""Correlates the attention of a model that answers with the gradients of its answers, with intervals over rows.

Kitada and Iyatomi (arXiv 2009.12064) report Pearson's correlation of attention with importance by gradients, and Jain
and Wallace before them (NAACL 2019, arXiv 1902.10186) Kendall's. Here a word's importance is the length of the gradient
at its vector: how far the answer can move if the vector moves. `agreement`, which compares training methods, takes the
gradient along the vector itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from models.measuring.agreement import BATCH_SIZE, FEWEST_TOKENS, NothingToCompare, correlate, differentiate
from models.measuring.decomposition import default_target
from models.measuring.intervals import Mean, mean_of
from models.networks.batches import batch_rows
from models.networks.encoder import Encoder
from models.networks.hooks import evaluating
from models.text import Row


@dataclass(frozen=True, kw_only=True)
class AttentionGradients:
    """Correlations of attention with gradients over a row's tokens, as means over rows.

    "Detached" takes the last layer's attention as a constant.
    """

    pearson_detached: Mean
    pearson: Mean
    kendall_detached: Mean
    """Tau b."""
    kendall: Mean
    measured: int
    """Number of rows measured."""
    skipped: int
    """Number of rows with fewer than three tokens, or with the same attention or importance at every token."""


def correlate_attention_with_gradients(model: Any, rows: Sequence[Row], pad_id: int) -> AttentionGradients:
    """Correlate where a model looks with what moves its answer, over the tokens of each row but special ones.

    The model is one that `load_served` gives; its head must be one for sequences or for multiple choice. Attention is
    the last layer's first row, as a mean over heads. Importance is the L2 norm of the gradient of the predicted label's
    logit, less the mean of the others, at each word vector. With two labels this is the gradient of the loss at the
    predicted label, up to a factor that is the same for all tokens. Of a BiLSTM's pair the first text is measured.
    Dropout is off.

    Raises:
        NothingToCompare: every row was skipped.
    """
    encoder = Encoder(model)
    found: list[tuple[float, ...]] = []
    with evaluating(encoder):
        ordered = sorted(rows, key=len)
        for first in range(0, len(ordered), BATCH_SIZE):
            found += _correlate_rows(encoder, ordered[first : first + BATCH_SIZE], pad_id)
    if not found:
        raise NothingToCompare(
            f"none of {len(rows)} rows has {FEWEST_TOKENS} tokens or more, unlike in attention and gradient; "
            "measure longer texts"
        )
    means = [mean_of(values) for values in zip(*found, strict=True)]
    return AttentionGradients(
        pearson_detached=means[0],
        pearson=means[1],
        kendall_detached=means[2],
        kendall=means[3],
        measured=len(found),
        skipped=len(rows) - len(found),
    )


def _correlate_rows(encoder: Encoder, rows: Sequence[Row], pad_id: int) -> Iterator[tuple[float, ...]]:
    """Four correlations for each row that can be measured: Pearson detached, Pearson, Kendall detached, Kendall."""
    batch = batch_rows(rows, pad_id, encoder.word_vectors.device)
    attention, detached = differentiate(encoder, batch, _answer, detached=True)
    _, whole = differentiate(encoder, batch, _answer, detached=False)
    importances = [slopes[0].norm(dim=-1) for slopes in (detached, whole)]
    attended = encoder.attended(batch).tolist()
    for number, row in enumerate(rows):
        sequences = row.encoding.sequence_ids
        counted = [place for place, text in enumerate(sequences) if text is not None and attended[number][place]]
        looked, *others = (values[number, counted].cpu().double().numpy() for values in (attention, *importances))
        correlations = correlate(looked, others)
        if correlations is not None:
            yield correlations


def _answer(logits: Float[Tensor, "rows labels"]) -> Float[Tensor, "rows 1"]:
    """The predicted label's logit less the mean of the others."""
    return (logits * default_target(logits.detach())).sum(1, keepdim=True)
