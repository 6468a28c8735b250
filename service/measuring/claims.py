"""Tests the claims that answers make: which words they rest on, found by taking words out of the items.

Answers to texts with words taken out come from the graph that answers requests, through the same engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.measuring.faithfulness import Drops, average_drops, measure_drops, removals
from models.measuring.removal import RemovableWords, Word
from models.tasks.task import Claim, Item, Logits
from models.text import BadInput, Encoded, Reader
from service.answers.predictor import Predictor

Orders = Mapping[str, Sequence[Sequence[float]]]
"""By method, one or more lists of scores for the words that may be taken out; the drops of several are averaged."""


@dataclass(frozen=True)
class Subject:
    """An item, and the claims of the answer to it; no claims where it could not be read or answered nothing."""

    item: Item
    encoded: Encoded | None
    claims: Sequence[Claim]


@dataclass(frozen=True)
class RankedClaim:
    """A claim with the words that may be taken out, in orders of importance."""

    claim: Claim
    words: RemovableWords
    orders: Orders


def read_subjects(predictor: Predictor, reader: Reader, items: Sequence[Item]) -> list[Subject]:
    """Read and answer items, long texts in windows."""
    task, outputs = predictor.task, predictor.package.manifest.meaning
    encoded = [read_item(predictor, reader, item) for item in items]
    logits = _answer(predictor, [one for one in encoded if one is not None])
    subjects = []
    for item, one in zip(items, encoded, strict=True):
        claims = () if one is None else task.claims(task.decode(next(logits), one, outputs), one, outputs)
        subjects.append(Subject(item, one, claims))
    return subjects


def read_item(predictor: Predictor, reader: Reader, item: Item) -> Encoded | None:
    """Read an item, a long text in windows; None where it cannot be read."""
    try:
        encoded: Encoded = predictor.task.encode(item, reader, "window")
    except BadInput:
        return None
    return encoded


def removable(claim: Claim, words: Sequence[Word]) -> list[int]:
    """Numbers of the words that may be taken out to test a claim."""
    return [
        number
        for number, (field, word) in enumerate(words)
        if not any(field == of and word.start < kept.end and word.end > kept.start for of, kept in claim.kept)
    ]


def measure_claims(predictor: Predictor, claims: Sequence[RankedClaim], mask_id: int | None) -> list[dict[str, Drops]]:
    """The drops of each claim by method, the words being deleted, or replaced by the mask token with this id."""
    needed = [_needed(ranked.orders) for ranked in claims]
    thinned = [
        [ranked.words.without(removed, mask_id) for removed in sets]
        for ranked, sets in zip(claims, needed, strict=True)
    ]
    logits = iter(_answer(predictor, [encoded for one in thinned for encoded in one]))
    measured = []
    for ranked, sets, encodings in zip(claims, needed, thinned, strict=True):
        found = {
            removed: ranked.claim.support(next(logits), encoded)
            for removed, encoded in zip(sets, encodings, strict=True)
        }
        measured.append(
            {
                method: average_drops([measure_drops(scores, found.__getitem__) for scores in lists])
                for method, lists in ranked.orders.items()
            }
        )
    return measured


def _needed(orders: Orders) -> list[frozenset[int]]:
    """Every set of words that must be taken out, each once: methods often agree on the first words."""
    sets = {frozenset[int](): None}
    for lists in orders.values():
        for scores in lists:
            sets.update(dict.fromkeys(removed for pair in removals(scores) for removed in pair))
    return list(sets)


def _answer(predictor: Predictor, items: Sequence[Encoded]) -> Iterator[list[Logits]]:
    """The logits of each item's rows."""
    logits = iter(predictor.compute([row for item in items for row in item.rows]))
    return ([next(logits) for _ in item.rows] for item in items)
