"""The same answer in two versions of a text: where it stands in each, and how far two models' answers differ.

A text has one answer, or one at each of its *places*: at the first token of each word where words are labelled, and at
each token of the context where spans are found. Noise moves a place, or pushes it out of a row that is cut off.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from models.networks.encoder import NO_CHOICE
from models.networks.heads import IGNORED, as_choices
from models.tasks.task import Head

ABSENT = -1
"""Position of a place that is in no row, or that its text does not have."""

Places = Int[Tensor, "batch places"]
"""Position of each place in the row of its example; `ABSENT` where there is none."""


def pad_places(places: Sequence[Sequence[int]], count: int, device: torch.device) -> Places:
    """The places of several examples as one tensor with `count` of them for each."""
    padded = torch.full((len(places), count), ABSENT)
    for number, found in enumerate(places):
        padded[number, : len(found)] = torch.tensor(found, dtype=torch.long)
    return padded.to(device)


def move_targets(
    targets: Shaped[Tensor, "batch ..."], head: Head, places: Places, moved: Places, width: int
) -> Shaped[Tensor, "batch ..."]:
    """The targets of examples whose places have moved, in rows of `width` tokens.

    A word that either row lacks is unlabelled. A span with an end that the new row lacks is no answer there.
    """
    both = (places != ABSENT) & (moved != ABSENT)
    if head == "token-classification":
        labels = targets.new_full((len(targets), width), IGNORED)
        rows, numbers = both.nonzero(as_tuple=True)
        labels[rows, moved[rows, numbers]] = targets[rows, places[rows, numbers]]
        return labels
    if head == "question-answering":
        is_end = (places[:, :, None] == targets[:, None, :]) & both[:, :, None]  # (B, places, ends)
        ends = (is_end * moved[:, :, None]).sum(1)
        return ends * is_end.any(1).all(1, keepdim=True)
    return targets


def disagreement(
    first: Float[Tensor, "batch ..."],
    second: Float[Tensor, "batch ..."],
    head: Head,
    places: tuple[Places, Places],
) -> Float[Tensor, ""]:
    """How far two answers differ, a mean over the examples, or over the places that both rows have.

    It is half of the sum of both Kullback-Leibler divergences between probabilities, or the squared difference of
    numbers. Of labels that do not exclude each other, each has a divergence of its own, and their mean counts. Both
    sides pass gradients.
    """
    first, second = first.float(), second.float()
    both = (places[0] != ABSENT) & (places[1] != ABSENT)
    if head == "token-classification":
        rows, numbers = both.nonzero(as_tuple=True)
        pair = (logits[rows, found[rows, numbers]] for logits, found in zip((first, second), places, strict=True))
        return _divergence(*pair)
    if head == "question-answering":
        pair = (_at_places(logits, found, both) for logits, found in zip((first, second), places, strict=True))
        return _divergence(*pair)
    if head == "multi-label-classification":
        # As many choices as there are labels, and the mean over all of them, as the task's loss is.
        return _divergence(*(as_choices(logits).flatten(0, 1) for logits in (first, second)))
    if first.shape[-1] == 1:
        return (first - second).square().mean()
    return _divergence(first, second)


def _at_places(
    logits: Float[Tensor, "batch seq 2"], places: Places, both: Shaped[Tensor, "batch places"]
) -> Float[Tensor, "spans candidates"]:
    """For each end of each example's span, the logits of "no answer" and of the places that both rows have."""
    index = places.clamp(min=0)[:, :, None].expand(-1, -1, 2)
    chosen = logits.gather(1, index).masked_fill(~both[:, :, None], NO_CHOICE)
    return torch.cat([logits[:, :1], chosen], dim=1).transpose(1, 2).flatten(0, 1)


def _divergence(first: Float[Tensor, "rows classes"], second: Float[Tensor, "rows classes"]) -> Float[Tensor, ""]:
    log_p, log_q = (nn.functional.log_softmax(logits, dim=-1) for logits in (first, second))
    # KL(q|p) + KL(p|q) = sum (q - p)(log q - log p)
    return 0.5 * ((log_q.exp() - log_p.exp()) * (log_q - log_p)).sum() / max(len(first), 1)
