"""A model in a Python program: it scores lists, DataFrames and Arrow tables."""

import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar, overload

from pydantic import ValidationError

from models.errors import UserError, first_mistake
from models.files.formats import MissingLibrary
from models.tasks.task import Item
from models.text import Truncation
from service.answers.certificate import CertifiedFamily
from service.answers.certifying import find_certified
from service.answers.contract import ModelName, Options
from service.answers.explanation import ExplainOptions, ExplanationMethod
from service.answers.opening import open_predictor
from service.answers.predictor import Predictor
from service.outcomes.answering import Answered, Failure, answer_each
from service.outcomes.columns import WantedColumns
from service.python.inputs import TableT, is_table, read_inputs
from service.python.results import Results

ResultT = TypeVar("ResultT")

Explain = ExplanationMethod | Literal["best"] | Mapping[str, Any] | ExplainOptions
"""How answers are explained: the name of a method, the most faithful one, or the object that HTTP takes."""


class WrongOption(UserError):
    """An option that no request can have."""


class NotAnswered(UserError):
    """An input that cannot be answered, where all are to be."""


def open_model(task: str, *, package: str | PathLike[str] | None, threads: int | None) -> "Model[Any]":
    """Load the model for a task; see `steadfast.load`."""
    with ExitStack() as stack:
        folder = None if package is None else Path(package)
        predictor = stack.enter_context(open_predictor(task, folder, threads=threads))
        return Model(predictor, stack.pop_all())


class Model(Generic[ResultT]):
    """One model, loaded. Threads may share it. `close` gives its threads back; it is a context manager, too."""

    def __init__(self, predictor: Predictor, opened: ExitStack) -> None:
        """Answer by `predictor`, which closing `opened` closes."""
        self._predictor = predictor
        self._opened = opened

    @property
    def name(self) -> ModelName:
        """The model's task, name and digest, and how it was trained and stored."""
        return self._predictor.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model knows, as it was trained with them."""
        return self._predictor.package.manifest.labels

    @property
    def explanations(self) -> tuple[ExplanationMethod, ...]:
        """The methods by which the model explains its answers."""
        return self._predictor.explanations

    @overload
    def score(
        self,
        inputs: TableT,
        *,
        columns: Mapping[str, str] | None = None,
        explain: Explain | None = None,
        certify: CertifiedFamily | None = None,
        truncation: Truncation = "window",
        scores: bool = True,
        min_confidence: float | None = None,
    ) -> TableT: ...

    @overload
    def score(
        self,
        inputs: Iterable[str | Mapping[str, Any] | tuple[Any, ...] | Item],
        *,
        explain: Explain | None = None,
        certify: CertifiedFamily | None = None,
        truncation: Truncation = "window",
        on_error: Literal["fail"] = "fail",
    ) -> Results[ResultT]: ...

    @overload
    def score(
        self,
        inputs: Iterable[str | Mapping[str, Any] | tuple[Any, ...] | Item],
        *,
        explain: Explain | None = None,
        certify: CertifiedFamily | None = None,
        truncation: Truncation = "window",
        on_error: Literal["report"],
    ) -> Results[ResultT | None]: ...

    def score(
        self,
        inputs: Any,
        *,
        columns: Mapping[str, str] | None = None,
        explain: Explain | None = None,
        certify: CertifiedFamily | None = None,
        truncation: Truncation = "window",
        scores: bool = True,
        min_confidence: float | None = None,
        on_error: Literal["fail", "report"] = "fail",
    ) -> Any:
        """Answer all inputs, in their order, with the options of HTTP.

        A table comes back with the columns that `steadfast score` adds, in which `error` says why a record has no
        answer. A list, or anything else that can be gone through, gives results with the fields of an HTTP answer.

        Args:
            inputs: A pandas DataFrame, a pyarrow Table, or inputs one by one: texts, objects with the fields of an
                HTTP input, or tuples of the fields in their order.
            columns: The column of a table that holds each field, where it is not called as usual.
            scores: Whether a table gets columns for the scores of all labels, choices or spans.
            min_confidence: Adds the column `review` to a table: whether an answer is less probable, or missing.
            on_error: Whether an input of a list without an answer raises NotAnswered, or is None and in `failures`.

        Raises:
            UserError: what is asked for is not offered, or a column is missing; the sentence says what to do.
        """
        options = self._check(_read_options(explain, certify, truncation))
        if is_table(inputs):
            wanted = WantedColumns(options=options, scores=scores, min_confidence=min_confidence)
            if importlib.util.find_spec("pyarrow") is None:
                raise MissingLibrary(
                    "a table needs pyarrow; run pip install -e '.[files]' in a clone, or hand in a list"
                )
            from service.python.tables import score_table

            return score_table(self._predictor, inputs, columns or {}, wanted)
        return self._score_list(inputs, options, on_error)

    def close(self) -> None:
        """Give the threads back; the model answers no more."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.name
        return f"Model({name.task!r}, name={name.name!r}, digest={name.digest[:12]!r})"

    def _check(self, options: Options) -> Options:
        """The options, if the model offers what they ask for; raises NotOffered, CertificateNotOffered."""
        if options.explain:
            self._predictor.choose(options.explain)
        if options.certify:
            find_certified(options.certify)
        return options

    def _score_list(self, inputs: Iterable[Any], options: Options, on_error: str) -> Results[Any]:
        items = read_inputs(self._predictor.task, inputs)
        failures: dict[int, Failure] = {}
        values = []
        for place, answered in enumerate(answer_each(self._predictor, items, options)):
            if answered.failure is not None:
                failures[place] = answered.failure
                if on_error == "fail" and answered.result is None:
                    raise NotAnswered(f"input {place + 1}, {answered.failure.detail}")
            values.append(_at(place, answered))
        return Results(values, items, failures)


def _read_options(explain: Explain | None, certify: CertifiedFamily | None, truncation: Truncation) -> Options:
    """The options of a request; raises WrongOption."""
    try:
        return Options.model_validate({"explain": explain, "certify": certify, "truncation": truncation})
    except ValidationError as error:
        raise WrongOption(str(first_mistake(error))) from error


def _at(place: int, answered: Answered) -> Any:
    """The result with the place of its input, which was handed in alone."""
    return None if answered.result is None else answered.result.model_copy(update={"index": place})
