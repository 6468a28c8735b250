"""What a task is: its request fields, how an item becomes rows, how logits become an answer, its labels and metric.

A task module holds no torch: the service, file scoring, the export checks and training all call the same functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.text import Encoded, Reader, Truncation

Logits = npt.NDArray[np.float32]
"""What the model says of one item, one line a row of its encoding: (rows, labels)."""

Head = Literal["sequence-classification"]
"""Which of transformers' heads reads the encoder; each is an `AutoModelFor...` class."""


class Item(BaseModel):
    """What every request item may carry beside its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, max_length=256, description="Echoed with the item's result.")


class LabelScore(BaseModel):
    """A label and its probability."""

    model_config = ConfigDict(frozen=True)

    label: str
    score: float = Field(ge=0, le=1)


ItemT = TypeVar("ItemT", bound=Item)
AnswerT = TypeVar("AnswerT", bound=BaseModel)


@dataclass(frozen=True)
class Prediction(Generic[AnswerT]):
    """An answer and what an explanation of it explains."""

    answer: AnswerT
    target: str


# Equal only to itself, so that types can be derived from a task and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Generic[ItemT, AnswerT]):
    """One task; the tasks there are stand in `models.tasks.TASKS`."""

    name: str
    """As in `/v1/NAME` and `steadfast score NAME`."""
    item: type[ItemT]
    answer: type[AnswerT]
    columns: Mapping[str, tuple[str, ...]]
    """Text fields in reading order, each with the column names it is known by in data files."""
    target_column: str
    """Column of the right answer in data files."""
    labels: tuple[str, ...]
    """Label names when a data set gives only numbers; the order is that of the numbers."""
    head: Head
    main_metric: str
    """The metric that chooses between epochs and that the export's quality gate watches."""
    encode: Callable[[ItemT, Reader, Truncation], Encoded]
    decode: Callable[[Logits, Encoded, Sequence[str]], Prediction[AnswerT]]
    read_target: Callable[[Any, Sequence[str]], int]
    """A data file's value for the right answer -> what the loss is computed with. Raises ValueError."""
    measure: Callable[[Sequence[int], Sequence[AnswerT], Sequence[str]], dict[str, float]]
    """Targets and answers -> metrics by name, as shares in [0, 1]."""


AnyTask = Task[Any, Any]


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def rank_labels(probabilities: npt.NDArray[np.float64], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """Labels with their probabilities, most probable first; ties keep the labels' order."""
    order = np.argsort(-probabilities, kind="stable")
    return tuple(LabelScore(label=labels[index], score=float(probabilities[index])) for index in order)
