"""Defines a task: its request fields, how an item becomes rows, how logits become an answer, its labels and metric.

A task module holds no torch: the service, file scoring, the export checks and training all call the same functions.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args, get_origin

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from models.correction.reading import NO_WORDS, CorrectedWords
from models.errors import shorten
from models.tasks.goals import Goal, Move
from models.tasks.robustness import Robustness
from models.text import Encoded, Reader, Target, Truncation
from models.words import Span

Logits = npt.NDArray[np.float32]
"""The model's output for one row. Its shape is (labels,), (tokens, labels) where tokens are labelled, (1,) where the
model gives a number, and (tokens, 2) where it finds a span: how well the span begins and ends at each token."""

Head = Literal[
    "sequence-classification",
    "multi-label-classification",
    "token-classification",
    "multiple-choice",
    "question-answering",
    "masked-language-model",
]
"""The head of transformers that reads the encoder, and what its numbers mean. Labels that exclude each other and labels
that do not are two heads here, and one `AutoModelFor...` class there."""

ONE_VECTOR: tuple[Head, ...] = ("sequence-classification", "multi-label-classification")
"""Heads that give one vector of logits for all of a row."""

READ_AT_TOKENS: tuple[Head, ...] = ("token-classification", "question-answering")
"""Heads whose answers stand at tokens of their own. Explanations of such an answer are read at its token."""


class Item(BaseModel):
    """The field that every request item may carry beside its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, max_length=256, description="Echoed with the item's result.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, value: Any) -> Any:
        if isinstance(value, Mapping | Item):
            return value
        names = " and ".join(name for name, field in cls.model_fields.items() if field.is_required())
        also = "a text, or " if issubclass(cls, TextItem) else ""
        raise PydanticCustomError("item", f"must be {also}an object with {names}")

    def as_request(self) -> "Item":
        """The item as callers send it; examples of data files may be of another kind."""
        return self

    def as_values(self, texts: Mapping[str, str], move: Move) -> dict[str, Any]:
        """Changed texts of the item that callers send, as values of this item's own fields.

        `move` says where a stretch of a field stands in its changed text.
        """
        del move
        return dict(texts)


def _or_a_string(schema: dict[str, Any]) -> None:
    described = schema.copy()
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, described]


class TextItem(Item):
    """One text; a bare string is short for `{"text": ...}`."""

    model_config = ConfigDict(json_schema_extra=_or_a_string)

    text: str

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_string(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Judgement(NamedTuple):
    """One decision of an answer, as the server's metrics count it."""

    label: str | None
    """None where the answer is not one of the model's labels, because each text would make a series of its own."""
    probability: float


class TaskAnswer(BaseModel):
    """The answer to one item; each task has its own fields."""

    model_config = ConfigDict(frozen=True)

    def moved(self, move: Callable[[str, Sequence[Span]], Sequence[Span]]) -> Self:
        """The same answer with its offsets, if it has any, in another unit.

        `move` takes the name of a field and spans of its text, and returns the spans in the other unit.
        """
        del move
        return self

    @abstractmethod
    def judgements(self) -> tuple[Judgement, ...]:
        """The decisions that the answer makes; none where it decides nothing, as a similarity does."""

    def is_sure(self, least: float) -> bool:
        """Whether the probability of every decision is at least this; so it is where nothing is decided."""
        return all(one.probability >= least for one in self.judgements())

    def headlines(self) -> tuple[str, ...]:
        """The answer in short for people to read, with one line for each of its parts."""
        return (headline(self),)

    def part_names(self) -> tuple[str, ...]:
        """The name of each part, as explanations of the answer given call it; none where the answer is a number."""
        return tuple(value for name, value in self if name != "id" and isinstance(value, str))[:1]

    def places(self) -> tuple[tuple[str, Span], ...]:
        """The fields and spans in which the model found its answer, in the order of the parts; mostly there are none.

        The spans count what the answer's own offsets count.
        """
        return ()


_BESIDE_ANSWER = ("id", "unknown_share")
"""Texts and numbers that a result has beside the fields of its answer."""


def headline(answer: BaseModel) -> str:
    """The texts of an answer, and its numbers with three decimals; JSON where it has neither, so that it shows at all.

    The item's id and what is said of its tokens are no part of the answer.
    """
    values = [value for name, value in answer if name not in _BESIDE_ANSWER and isinstance(value, str | float)]
    shown = [value if isinstance(value, str) else f"{value:.3f}" for value in values]
    return "  ".join(shown) if shown else answer.model_dump_json()


class LabelScore(BaseModel):
    """A label and its probability."""

    model_config = ConfigDict(frozen=True)

    label: str
    score: float = Field(ge=0, le=1)


@dataclass(frozen=True)
class Outputs:
    """The meaning of the numbers that a head gives."""

    labels: tuple[str, ...]
    """A label for each number; a single label where the head gives one number."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest score, for a head that gives a score; else None."""
    no_answer_threshold: float = 0.5
    """From this probability of "no answer" on, no answer is given; for tasks in which an answer may be missing."""
    label_threshold: float = 0.5
    """From this probability on, a text has a label; for tasks whose labels do not exclude each other."""
    outside_threshold: float = 0.0
    """Below this probability of lying outside, a word belongs to an entity; for tasks that find entities."""

    @classmethod
    def stated_by(cls, record: Any) -> Self:
        """The outputs that a record or a manifest states, in fields of these names."""
        return cls(**{one.name: getattr(record, one.name) for one in fields(cls)})


NO_OUTPUTS = Outputs(())
"""The outputs of a task that has no labels of its own."""


@dataclass(frozen=True)
class AnswerPart:
    """A part of an answer that can be explained, and where the model gave it."""

    name: str
    rows: tuple[int, ...]
    """Numbers of the item's rows that the part came from."""
    target: Target
    """The sum of a row's logits that speaks for the part, in each of these rows."""
    read_at: int = 0
    """Position of the token that it was read at in these rows."""


ItemT = TypeVar("ItemT", bound=Item)
AnswerT = TypeVar("AnswerT", bound=TaskAnswer)


@dataclass(frozen=True)
class Prediction(Generic[AnswerT]):
    """An answer, the outcome that the metric compares, and the parts that explanations explain."""

    answer: AnswerT
    outcome: Any
    """The task's `measure` compares it with what `read_target` gives."""
    parts: tuple[AnswerPart, ...]


@dataclass(frozen=True)
class Claim:
    """A part of an answer as a claim, to test which words it rests on by taking words out of the item."""

    support: Callable[[Sequence[Logits], Encoded], float]
    """Logits for the item with words taken out, and its rows -> how far they support the claim, from 0 to 1."""
    kept: tuple[tuple[str, Span], ...] = ()
    """Fields and spans of their texts that are never taken out, because without them nothing would be asked."""
    is_negative: bool = False
    """Whether the claim says that what the head gives is low, so that words which raise it speak against the claim."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The answers that a caller may have explained in place of the one that was given."""

    names: Callable[[Encoded, Outputs], Sequence[str]]
    """Their names, for one item."""
    aim: Callable[[int, Sequence[AnswerPart], Sequence[Logits], Encoded, Outputs], Sequence[AnswerPart]]
    """The place of a name, and the parts of the answer -> the parts that explain the named answer instead."""
    are_texts: bool = False
    """Whether the names are the caller's own texts. Then their places, from 0, may be asked for as well."""

    def fixed(self, outputs: Outputs) -> tuple[str, ...]:
        """The names that are the same for every item; none where they are the caller's own texts."""
        nothing = Encoded(texts={}, rows=(), truncated=False, windows=0)
        return () if self.are_texts else tuple(self.names(nothing, outputs))

    def find(self, asked: str | int, encoded: Encoded, outputs: Outputs) -> int:
        """The place of what a caller asks for; of equal names the first.

        Raises:
            ValueError: there is no such name; the message lists what is accepted, without texts of the caller's.
        """
        names = self.names(encoded, outputs)
        if isinstance(asked, str):
            if asked in names:
                return list(names).index(asked)
        elif self.are_texts and 0 <= asked < len(names):
            return asked
        if self.are_texts:
            wrong = (
                "no choice is called so" if isinstance(asked, str) else f"no choice has the place {shorten(str(asked))}"
            )
            raise ValueError(f"{wrong}; give a choice's text, or its place: {_places(len(names))}")
        called = repr(shorten(asked)) if isinstance(asked, str) else shorten(str(asked))
        known = ", ".join(map(repr, names))
        raise ValueError(f"no answer {called} can be explained; name one, case counts: {known}")


def aim_each(
    aim: Callable[[int, AnswerPart, Sequence[Logits], Encoded, Outputs], AnswerPart],
) -> Callable[[int, Sequence[AnswerPart], Sequence[Logits], Encoded, Outputs], Sequence[AnswerPart]]:
    """Make the `aim` of targets that every part of an answer can have, each in its own place."""

    def aim_parts(
        place: int, parts: Sequence[AnswerPart], logits: Sequence[Logits], encoded: Encoded, outputs: Outputs
    ) -> tuple[AnswerPart, ...]:
        return tuple(aim(place, part, logits, encoded, outputs) for part in parts)

    return aim_parts


def _places(count: int) -> str:
    return " or ".join(map(str, range(count))) if count <= 2 else f"0 to {count - 1}"


@dataclass(frozen=True, kw_only=True)
class ContrastLabels:
    """The labels of pairs that were made from one text: of two that say the same, and of two that do not."""

    same: str
    different: tuple[str, ...]
    """By which names models call it; the first that a model has counts."""

    def find(self, labels: Sequence[str]) -> tuple[str, str] | None:
        """The two labels among a model's own, the same first; None where it lacks one."""
        other = next((label for label in self.different if label in labels), None)
        return (self.same, other) if other is not None and self.same in labels else None


# Equal only to itself, so that types can be derived from a task and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Generic[ItemT, AnswerT]):
    """One task, with all that generic code must know of it; `models.tasks.TASKS` lists the tasks."""

    name: str
    """The name that checkpoints and manifests give."""
    endpoint: str
    """The name in `/v1/ENDPOINT` and `steadfast score ENDPOINT`; packages of several tasks may answer at one endpoint.
    Empty for a task that is not served."""
    item: type[ItemT]
    answer: type[AnswerT]
    columns: Mapping[str, tuple[str, ...]]
    """Fields of an item in reading order, each with the names that data files give its column, most usual first."""
    target_column: str | None
    """Column of the right answer in data files; None where the texts themselves hold it."""
    outputs: Outputs
    """Label names when a data set gives only numbers, in the order of the numbers. `NO_OUTPUTS` where the labels are
    those of the training data, or of a model that is imported."""
    head: Head
    main_metric: str
    """The metric by which epochs are compared and which the export's quality gate watches; higher is better."""
    encode: Callable[[ItemT, Reader, Truncation], Encoded]
    decode: Callable[[Sequence[Logits], Encoded, Outputs], Prediction[AnswerT]]
    claims: Callable[[Prediction[AnswerT], Encoded, Outputs], Sequence[Claim]]
    """The claim of each part of a prediction, in their order."""
    read_target: Callable[[Any, Encoded, Outputs], Any]
    """A data file's value for the right answer to an item -> the target of the loss. Raises ValueError.

    The head fixes the target's type: a label's number or a score for sequence-classification, 1 or 0 for each label for
    multi-label-classification, the number of a choice
    for multiple-choice, a label's number for each word for token-classification, and for question-answering an object
    whose `span` is a Span of the context or None."""
    goal: Callable[[Any, Encoded, Outputs], Goal | None]
    """The right answer to an item, as an attack tests it; None where there is nothing that it could make wrong."""
    measure: Callable[[Sequence[Any], Sequence[Any], Outputs], dict[str, float]]
    """Targets and outcomes, in one order -> metrics by name."""
    check_outputs: Callable[[Outputs], None]
    """Refuses outputs that no model of the task can have; else a model may have them instead of the task's own. Raises
    ValueError."""
    changed: Callable[[AnswerT, AnswerT], bool]
    """The answers to an item before and after words of it were edited -> whether the second says something else."""
    probe_items: tuple[dict[str, Any], ...]
    """8 to 12 items that every package is tried with; its manifest records the outputs. The last one is longer than one
    window of 512 tokens. Empty for a task that is not exported."""
    robustness: Robustness
    sample_items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Items that show people what the task is, and by which they try a model, under a few words that say what
    each shows. They fill every field that a model of the task reads. Empty for a task that is not served."""
    corrected: CorrectedWords = NO_WORDS
    """The words that may be read as others. Contexts of questions have none."""
    example: type[Item] | None = None
    """The item that data files hold, where it is not the one of requests: a text already split into words, for example.
    `encode` takes both."""
    example_columns: Mapping[str, tuple[str, ...]] | None = None
    """The columns of `example`, as `columns` names those of `item`."""
    known_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels that models of the task may have, in their order, each with other names by which models and data
    files call it; case, and signs between words, do not matter. Empty where any label will do, and where there is none
    to choose."""
    name_labels: Callable[[Any], Sequence[str]] = lambda _: ()
    """A data file's value for the right answer -> the names of the labels in it, for a task without labels of its own;
    none for what names none."""
    contrast_labels: ContrastLabels | None = None
    """The labels of pairs made from one text, for a task that compares two texts; else None."""
    explains_each: bool = False
    """Whether an answer has several parts, each explained on its own and read at a token of its own."""
    targets: Targets | None = None
    """The answers that can be explained in place of the one that was given; None where there are none."""

    @property
    def has_own_labels(self) -> bool:
        """Whether the task names labels that hold where nobody gives others."""
        return bool(self.outputs.labels)

    @property
    def edited_fields(self) -> tuple[str, ...]:
        """Fields of a request in which attacks and certificates edit words, in reading order."""
        return self.robustness.edited_fields or self.robustness.noisy_fields


AnyTask = Task[Any, Any]


def read_item(kind: type[ItemT], values: Mapping[str, Any]) -> ItemT:
    """Make an item from a file's values by field. A list may be written as JSON, because csv holds nothing but text.

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
    """Make a check for a task whose outputs always mean the same: it refuses all labels but the task's own."""

    def check(outputs: Outputs) -> None:
        if outputs.labels != own:
            raise ValueError("this task has no labels to choose; leave them out")

    return check


def parse_list(value: Any) -> Any:
    """Read a text that is JSON; anything else is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def read_place(value: Any, count: int) -> int | None:
    """Read a number from 0 to `count` - 1, which csv writes as text; None for anything else."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    is_place = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < count
    return int(number) if is_place else None


def contrast(label: int, count: int, *token: int) -> dict[tuple[int, ...], float]:
    """The sum of logits that speaks for one of `count` labels: its own logit less the mean of the others'.

    A single logit stands for itself. `token` is the position where tokens have labels of their own.
    """
    return {(*token, place): 1.0 if place == label else -1 / (count - 1) for place in range(count)}


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def sigmoid(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The probability of each logit on its own, in float64; it overflows nowhere."""
    # e^-log(1 + e^-x), so that no power of a large number is taken.
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))


def rank_labels(probabilities: npt.NDArray[np.float64], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """Labels with their probabilities, most probable first; ties keep the labels' order."""
    order = np.argsort(-probabilities, kind="stable")
    return tuple(LabelScore(label=labels[index], score=float(probabilities[index])) for index in order)
