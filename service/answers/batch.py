"""The steps of items that are handed in together: encoded or rejected, then predicted, explained and certified."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.tasks.task import Item, Prediction, TaskAnswer
from models.text import BadInput, Encoded
from models.words import Span
from service.answers.certificate import CertificateTooLong
from service.answers.explanation import ExplanationTooLong
from service.answers.units import TokenScores


@dataclass(frozen=True)
class RowScores:
    """The scores of one part of an answer, as the token scores of each row that the part came from."""

    of_rows: Sequence[TokenScores]
    y: float | None = None
    """The sum of logits that the scores take apart; None for scores that are shares of 1."""


@dataclass(frozen=True)
class UnitScores:
    """The scores of one part of an answer, one for each word or token that its explanation lists."""

    values: npt.NDArray[np.float64]
    y: float
    """The sum of logits that the scores take apart."""


ItemScores = Sequence[RowScores | UnitScores]
"""The scores that explain one prediction, one for each of its parts."""


@dataclass(frozen=True)
class EncodedItem:
    """An item as the rows that the model reads."""

    index: int
    """Position among the items handed in, counted from 0."""
    item: Item
    encoded: Encoded
    target: int | None = None
    """The place, in the task's `Targets`, of the answer to explain; None for the one that the model gives."""
    unknown_share: float = 0.0
    """The share of its tokens that stand for no known word; not counted for an item whose words were changed."""


@dataclass(frozen=True)
class RejectedItem:
    """An item that cannot be answered, with the reason."""

    index: int
    """Position among the items handed in, counted from 0."""
    reason: BadInput

    def __str__(self) -> str:
        return f"{self.reason.field}: {self.reason}" if self.reason.field else str(self.reason)


@dataclass(frozen=True)
class UnexplainedItem:
    """An item whose answer has too much to explain."""

    index: int
    """Position among the items handed in, counted from 0."""
    reason: ExplanationTooLong


@dataclass(frozen=True)
class UncertifiedItem:
    """An item with more edits than may be tried."""

    index: int
    """Position among the items handed in, counted from 0."""
    reason: CertificateTooLong


@dataclass(frozen=True)
class Edit:
    """One word of an item, and what takes its place."""

    field: str
    span: Span
    replacement: str


@dataclass(frozen=True)
class Trials:
    """The outcome of trying edits of an item, one at a time."""

    edits: int
    tried: int
    """Edits that could be read."""
    changing: tuple[Edit, TaskAnswer] | None
    """The first edit that changes the answer, and the answer that it gets."""


@dataclass(frozen=True)
class ItemPrediction:
    """The model's answer to one item, before it is put into the words of the contract."""

    prediction: Prediction[Any]
    """With the parts that are to be explained."""
    scores: ItemScores | ExplanationTooLong | None
    """None where no explanation is asked for."""
    trials: Trials | CertificateTooLong | None = None
    """None where no certificate is asked for."""


@dataclass(frozen=True)
class BatchPrediction:
    """The predictions of items that were handed in together, in their order."""

    predictions: Sequence[ItemPrediction]
    queue_s: float
    """Time from handing in until the first row was taken up."""
    infer_s: float
    """Time from then until the last row was done."""
