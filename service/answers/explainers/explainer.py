"""The interface of an explainer: what it computes beside the predictions, and what after them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from export.package import Manifest
from export.session import Arrays
from models.tasks.task import AnswerPart, Logits, Prediction
from models.text import Encoded, Row, Target
from service.answers.batch import EncodedItem, ItemScores
from service.answers.explanation import ExplanationUnit
from service.answers.model import LoadedModel


@dataclass(frozen=True, kw_only=True)
class AnsweredItem:
    """An item with its prediction, and the model, which can compute more."""

    model: LoadedModel
    item: EncodedItem
    prediction: Prediction[Any]
    """With the parts that are to be explained."""
    arrays: Sequence[Arrays]
    """For each of the item's rows the logits, and the outputs that the explainer asked for."""
    unit: ExplanationUnit
    """Whether the request wants words or tokens to be scored."""

    def y(self, part: AnswerPart) -> float:
        """The sum of logits that speaks for a part; of several windows the mean, weighted by their lengths."""
        logits = {number: self.arrays[number]["logits"] for number in part.rows}
        return mean_over_windows(logits, part.target, self.item.encoded)


def mean_over_windows(logits: Mapping[int, Logits], target: Target, encoded: Encoded) -> float:
    """The sum of logits that `target` asks for, as the mean over some rows of an item, weighted by their lengths."""
    sums = [weigh(of_row, target) for of_row in logits.values()]
    return float(np.average(sums, weights=[len(encoded.rows[number]) for number in logits]))


def weigh(logits: Logits, target: Target) -> float:
    """The sum of a row's logits that `target` asks for."""
    return sum(weight * float(logits[place]) for place, weight in target.items())


@dataclass(frozen=True)
class ExplanationPlan:
    """The way from an answered item to its scores."""

    rows: Sequence[Row]
    """Further rows that must be computed; none where the run of the predictions gave all there is to know."""
    finish: Callable[[Sequence[Arrays]], ItemScores]
    """Makes the scores of each part of the answer from the arrays of these rows."""


class Explainer(Protocol):
    """One way to compute scores."""

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """Outputs of the graph that the rows of its plans need."""

    @property
    def is_background(self) -> bool:
        """Whether these rows are so many that they must wait for the ordinary rows of other requests."""

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether answers of this package can be explained so."""

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """Outputs of the graph that the run of the predictions must compute beside the logits."""

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """The plan for one item. It is made in a thread of the engine, so it should be quick.

        Raises:
            ExplanationTooLong: there is too much to explain; the message says how much would do.
        """
