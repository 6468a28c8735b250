"""The figures of an attack: the accuracy that is left under it, and what that took."""

import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from models.attack.outcomes import Outcome


class AttackFigures(BaseModel):
    """One attack on one model, over the records of a part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    """The family of its edits; `any` stands for several attacks, of which a record must withstand each."""
    words: str
    """Most words that it may change: a number, or a share."""
    rows: int
    """Records that the model could read."""
    skipped: int
    """Those that it got wrong before any attack."""
    accuracy: float
    under_attack: float
    """The share of the records that are right before and after the attack."""
    standard_error: float
    """The standard error of `under_attack`."""
    success_rate: float | None
    """The share that was fooled of the records that were right at first; None where there are none."""
    words_changed: float | None
    """Mean share of the words that the edits changed, where they fooled the model; None where they never did."""
    queries: float | None
    """Mean number of texts asked about for a record that was right at first."""
    exhausted: int
    """Records for which edits were left untried because the queries were used up."""
    similarity: float | None = None
    """Mean similarity of the texts that fooled the model and the texts as they were, where it was measured."""
    transfer: float | None = None
    """The share of the texts that fooled the model which fool its twin, too, where one was asked."""


def sum_up(attack: str, words: str, outcomes: Sequence[Outcome], transfer: float | None = None) -> AttackFigures:
    """The figures of one attack."""
    read = [one for one in outcomes if one.status != "unread"]
    right = [one for one in read if one.status != "wrong"]
    fooled = [one for one in right if one.status == "fooled"]
    rows = len(read)
    under_attack = (len(right) - len(fooled)) / rows if rows else 0.0
    return AttackFigures(
        attack=attack,
        words=words,
        rows=rows,
        skipped=rows - len(right),
        accuracy=len(right) / rows if rows else 0.0,
        under_attack=under_attack,
        standard_error=math.sqrt(under_attack * (1 - under_attack) / max(rows, 1)),
        success_rate=len(fooled) / len(right) if right else None,
        words_changed=_mean(len(one.edits) / max(one.words, 1) for one in fooled),
        queries=_mean(one.queries for one in right),
        exhausted=sum(one.exhausted for one in right),
        similarity=_mean(one.similarity for one in fooled if one.similarity is not None),
        transfer=transfer,
    )


def any_of(attacks: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """For each record the outcome of several attacks together: the first that fooled the model, with all queries."""
    together = []
    for outcomes in zip(*attacks, strict=True):
        shown = next((one for one in outcomes if one.status == "fooled"), outcomes[-1])
        together.append(
            shown.model_copy(
                update={
                    "queries": sum(one.queries for one in outcomes),
                    "exhausted": shown.status == "held" and any(one.exhausted for one in outcomes),
                }
            )
        )
    return together


def _mean(values: Iterable[float]) -> float | None:
    every = list(values)
    return sum(every) / len(every) if every else None
