"""What a task is: its request fields, how an item becomes rows, how logits become an answer, its labels and metric.

A task module holds no torch: the service, file scoring, the export checks and training all call the same functions.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args, get_origin

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.text import Encoded, Reader, Truncation
from models.words import Span

Logits = npt.NDArray[np.float32]
"""What the model says of one row: (labels,), (tokens, labels) where it labels tokens, (1,) where it gives a number;
of a span, (tokens, 2): how well it begins and ends at each token."""

Head = Literal[
    "sequence-classification", "token-classification", "multiple-choice", "question-answering", "masked-language-model"
]
"""Which of transformers' heads reads the encoder; each is an `AutoModelFor...` class."""


class Item(BaseModel):
    """What every request item may carry beside its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, max_length=256, description="Echoed with the item's result.")


class Judgement(NamedTuple):
    """One decision of an answer, as the server's metrics count it."""

    label: str | None
    """None where the decision is no choice among a model's labels: texts would make a series each."""
    probability: float


class TaskAnswer(BaseModel):
    """What every task's answer is."""

    model_config = ConfigDict(frozen=True)

    def moved(self, move: Callable[[str, Sequence[Span]], Sequence[Span]]) -> Self:
        """The answer with its offsets, if it has any, in another unit: `move` takes a field and spans of it."""
        del move
        return self

    @abstractmethod
    def judgements(self) -> tuple[Judgement, ...]:
        """The decisions that the answer makes; none where it decides nothing, as a similarity does."""


class LabelScore(BaseModel):
    """A label and its probability."""

    model_config = ConfigDict(frozen=True)

    label: str
    score: float = Field(ge=0, le=1)


@dataclass(frozen=True)
class Outputs:
    """What the numbers that a head gives stand for."""

    labels: tuple[str, ...]
    """One for each; a single one where the head gives one number."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest score, where the number is one."""
    no_answer_threshold: float = 0.5
    """Probability of there being no answer from which on none is given, where that can be."""


@dataclass(frozen=True)
class AnswerPart:
    """An answer that can be explained, and where the model gave it."""

    name: str
    rows: tuple[int, ...]
    """Those of the item's rows that the answer came from."""
    read_at: int = 0
    """The token of these rows that it was read at."""


ItemT = TypeVar("ItemT", bound=Item)
AnswerT = TypeVar("AnswerT", bound=TaskAnswer)


@dataclass(frozen=True)
class Prediction(Generic[AnswerT]):
    """An answer, what the metric compares, and what explanations explain."""

    answer: AnswerT
    outcome: Any
    """Of the type that `Task.read_target` gives."""
    parts: tuple[AnswerPart, ...]


# Equal only to itself, so that types can be derived from a task and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Generic[ItemT, AnswerT]):
    """One task; the tasks there are stand in `models.tasks.TASKS`."""

    name: str
    """As in manifests."""
    endpoint: str
    """As in `/v1/ENDPOINT` and `steadfast score ENDPOINT`; packages of several tasks may answer at one. Empty where
    nothing answers."""
    item: type[ItemT]
    answer: type[AnswerT]
    columns: Mapping[str, tuple[str, ...]]
    """Fields of an item in reading order, each with the column names it is known by in data files."""
    target_column: str | None
    """Column of the right answer in data files; None where texts hold it themselves."""
    outputs: Outputs
    """Label names when a data set gives only numbers, in the order of the numbers."""
    head: Head
    main_metric: str
    """The metric that chooses between epochs and that the export's quality gate watches."""
    encode: Callable[[ItemT, Reader, Truncation], Encoded]
    decode: Callable[[Sequence[Logits], Encoded, Outputs], Prediction[AnswerT]]
    read_target: Callable[[Any, Encoded, Outputs], Any]
    """A data file's value for the right answer to an item -> what the loss is computed with. Raises ValueError."""
    measure: Callable[[Sequence[Any], Sequence[Any], Outputs], dict[str, float]]
    """Targets and outcomes -> metrics by name; of the main one, higher is better."""
    check_outputs: Callable[[Outputs], None]
    """Whether a model can have these outputs instead of the task's own. Raises ValueError."""
    example: type[Item] | None = None
    """What data files hold to learn from, where that is not an item as it is asked for; `encode` takes it too."""
    example_columns: Mapping[str, tuple[str, ...]] | None = None
    explains_each: bool = False
    """Whether an answer has several parts, each explained on its own and read at a token of its own."""


AnyTask = Task[Any, Any]


def read_item(kind: type[ItemT], values: Mapping[str, Any]) -> ItemT:
    """An item out of a file's values by field; a list may be written as JSON, which is all that csv can hold.

    Raises:
        ValidationError: a value is missing or not of its type.
    """
    read = {field: parse_list(value) if takes_list(kind, field) else value for field, value in values.items()}
    return kind.model_validate(read)


def takes_list(kind: type[Item], field: str) -> bool:
    """Whether a field holds several texts."""
    annotation = kind.model_fields[field].annotation
    return any(get_origin(one) is tuple for one in (annotation, *get_args(annotation)))


def refuse_other_labels(own: tuple[str, ...]) -> Callable[[Outputs], None]:
    """A check for tasks whose outputs mean always the same."""

    def check(outputs: Outputs) -> None:
        if outputs.labels != own:
            raise ValueError("this task has no labels to choose; leave them out")

    return check


def parse_list(value: Any) -> Any:
    """A list out of the JSON that a text is; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def read_place(value: Any, count: int) -> int | None:
    """A number from 0 to `count` - 1, which csv writes as text; None for anything else."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    is_place = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < count
    return int(number) if is_place else None


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def rank_labels(probabilities: npt.NDArray[np.float64], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """Labels with their probabilities, most probable first; ties keep the labels' order."""
    order = np.argsort(-probabilities, kind="stable")
    return tuple(LabelScore(label=labels[index], score=float(probabilities[index])) for index in order)
