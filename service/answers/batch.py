"""The steps of items that are handed in together: first encoded or rejected, then predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.tasks.task import Item, Prediction
from models.text import BadInput, Encoded
from service.answers.explanation import TokenScores

ItemTokenScores = Sequence[Sequence[TokenScores]]
"""The token scores that explain one prediction: for each of its parts, those of each row that the part came from."""


@dataclass(frozen=True)
class EncodedItem:
    """An item as the rows that the model reads."""

    index: int
    """Position among the items handed in, counted from 0."""
    item: Item
    encoded: Encoded


@dataclass(frozen=True)
class RejectedItem:
    """An item that cannot be answered, with the reason."""

    index: int
    """Position among the items handed in, counted from 0."""
    reason: BadInput

    def __str__(self) -> str:
        return f"{self.reason.field}: {self.reason}"


@dataclass(frozen=True)
class ItemPrediction:
    """The model's answer to one item, before it is put into the words of the contract."""

    prediction: Prediction[Any]
    token_scores: ItemTokenScores
    """For each part of the prediction, the token scores of its rows; empty where no explanation is asked for."""


@dataclass(frozen=True)
class BatchPrediction:
    """The predictions of items that were handed in together, in their order."""

    predictions: Sequence[ItemPrediction]
    queue_s: float
    """Time from handing in until the first row was taken up."""
    infer_s: float
    """Time from then until the last row was done."""
