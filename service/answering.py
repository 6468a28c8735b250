"""From items to answers with one package: the path that HTTP, `predict` and `score` all take.

item -> Reading -> Predicted -> result
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar, get_args

import numpy as np
from pydantic import BaseModel

from export.package import Package, Probe
from export.probes import probe_rows
from export.session import Arrays, Session
from models.tasks.task import Item, Prediction
from models.text import BadInput, Encoded, ReadingLimits, Row, Truncation
from service.contract import ModelName, Options, result_type
from service.engine import Computed, Engine, EngineLimits
from service.explanation import Explanation, Method, Shares, explain
from service.offsets import convert_spans

S = TypeVar("S")
T = TypeVar("T")


class BrokenModel(RuntimeError):
    """The graph gave what is no number."""


class NotOffered(ValueError):
    """An explanation that the package cannot give, or not of so much."""


@dataclass(frozen=True)
class Reading:
    """An item as the model will read it, and its place among the inputs."""

    index: int
    item: Item
    encoded: Encoded


@dataclass(frozen=True)
class Refusal:
    """An item that cannot be answered, and why."""

    index: int
    reason: BadInput


@dataclass(frozen=True)
class Predicted:
    """What the model says of an item."""

    prediction: Prediction[Any]
    shares: Sequence[Sequence[Shares]]
    """For each of the prediction's targets, where it is explained, those of the target's rows."""


@dataclass(frozen=True)
class Answered:
    """What was computed for readings handed in together, in their order."""

    predictions: Sequence[Predicted]
    queue_s: float
    """From handing in until the first row was taken up."""
    infer_s: float
    """From then until the last was done."""


class Answerer:
    """One package, loaded. Safe to share between threads; call `close` when done, or use it as a context."""

    def __init__(self, package: Package, limits: EngineLimits) -> None:
        """Load the graph and start the engine."""
        manifest = package.manifest
        self.package = package
        self.task = package.task
        self.name = ModelName(
            task=manifest.task,
            name=manifest.name,
            digest=manifest.digest,
            method=manifest.method.name,
            precision=manifest.precision,
        )
        self._reader = package.reader()
        self._session = Session(package.graph, pad_id=manifest.pad_id)
        self._engine = Engine(self._session.run, limits)
        self._result = result_type(self.task)

    @property
    def limits(self) -> ReadingLimits:
        """How much text is read."""
        return self._reader.limits

    @property
    def explanations(self) -> tuple[Method, ...]:
        """The ways in which this package explains its answers."""
        outputs = {tensor.name for tensor in self.package.manifest.outputs}
        return tuple(method for method in get_args(Method) if method in outputs)

    def check(self, method: Method | None) -> None:
        """Raise NotOffered where the package cannot explain by `method`."""
        if method is not None and method not in self.explanations:
            offered = ", ".join(map(repr, self.explanations)) or "none"
            raise NotOffered(f"the model {self.name.name} gives no explanation {method!r}; it gives: {offered}")

    def read(self, items: Iterable[Item], truncation: Truncation) -> tuple[list[Reading], list[Refusal]]:
        """Encode what can be answered, and say why the rest cannot."""
        readings: list[Reading] = []
        refusals: list[Refusal] = []
        for index, item in enumerate(items):
            try:
                readings.append(Reading(index, item, self.task.encode(item, self._reader, truncation)))
            except BadInput as error:
                refusals.append(Refusal(index, error))
        return readings, refusals

    def compute(self, readings: Sequence[Reading], method: Method | None) -> Future[Answered]:
        """Predictions for all readings and what explains them; raises as `Engine.submit` does.

        The future holds BrokenModel where an output is not finite.
        """
        rows = [row for reading in readings for row in reading.encoded.rows]
        if method is None or not self._session.reads_anywhere:
            outputs = ("logits",) if method is None else ("logits", method)
            return _then(self._engine.submit(rows, outputs), lambda computed: self._predict(readings, computed, method))
        return self._compute_twice(readings, rows, method)

    def answer(self, readings: Sequence[Reading], answered: Answered, options: Options) -> list[BaseModel]:
        """The result of each reading."""
        return [
            self._answer(reading, predicted, options)
            for reading, predicted in zip(readings, answered.predictions, strict=True)
        ]

    def replay(self, probe: Probe) -> float:
        """The outputs for a probe against those in the manifest: the largest absolute difference, NaN if any is."""
        wanted = probe_rows(self.task, self._reader, probe.item)
        rows = self._engine.submit(wanted, tuple(probe.outputs)).result().rows
        differences = [
            np.abs(row[name].ravel() - np.asarray(expected)).max()
            for name, given in probe.outputs.items()
            for row, expected in zip(rows, given, strict=True)
        ]
        return float(np.max(differences, initial=0.0))

    def close(self, *, drain: bool = True) -> None:
        """Answer what is queued, or fail it, and stop the engine."""
        self._engine.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _predict(self, readings: Sequence[Reading], computed: Computed, method: Method | None) -> Answered:
        rows = iter(computed.rows)
        predictions = []
        for reading in readings:
            arrays = [next(rows) for _ in reading.encoded.rows]
            self._refuse_broken(arrays)
            prediction = self._decode(reading, arrays)
            shares = [[arrays[row][method] for row in target.rows] for target in prediction.targets] if method else []
            predictions.append(Predicted(prediction, shares))
        return Answered(predictions, computed.queue_s, computed.infer_s)

    def _compute_twice(self, readings: Sequence[Reading], rows: Sequence[Row], method: Method) -> Future[Answered]:
        """First the predictions; then, since only they tell where to read, their explanations."""
        whole: Future[Answered] = _promise()

        def explain_all(first: Answered) -> None:
            wanted = [
                replace(reading.encoded.rows[row], read_at=target.read_at)
                for reading, predicted in zip(readings, first.predictions, strict=True)
                for target in predicted.prediction.targets
                for row in target.rows
            ]
            tokens = sum(map(len, wanted))
            if tokens > self.limits.max_item_tokens * len(readings):
                raise NotOffered(
                    f"{len(wanted):,} answers to explain would take {tokens:,} tokens; "
                    "leave `explain` out, or split the text"
                )
            # Those who ask were let in already.
            second = self._engine.submit(wanted, (method,), admitted=True)
            _follow(second, whole, lambda computed: whole.set_result(self._add_shares(first, computed, method)))

        first = _then(self._engine.submit(rows, ("logits",)), lambda computed: self._predict(readings, computed, None))
        _follow(first, whole, explain_all)
        return whole

    def _add_shares(self, first: Answered, computed: Computed, method: Method) -> Answered:
        self._refuse_broken(computed.rows)
        arrays = iter(computed.rows)
        predictions = [
            Predicted(
                predicted.prediction,
                [[next(arrays)[method] for _ in target.rows] for target in predicted.prediction.targets],
            )
            for predicted in first.predictions
        ]
        return Answered(predictions, first.queue_s, first.infer_s + computed.queue_s + computed.infer_s)

    def _decode(self, reading: Reading, arrays: Sequence[Arrays]) -> Prediction[Any]:
        logits = [row["logits"] for row in arrays]
        prediction: Prediction[Any] = self.task.decode(logits, reading.encoded, self.package.manifest.meaning)
        return prediction

    def _refuse_broken(self, arrays: Sequence[Arrays]) -> None:
        if not all(np.isfinite(array).all() for row in arrays for array in row.values()):
            raise BrokenModel(f"{self.package.folder}: an output is not finite")

    def _answer(self, reading: Reading, predicted: Predicted, options: Options) -> BaseModel:
        encoded, prediction = reading.encoded, predicted.prediction
        unit = options.offset_unit
        answer = prediction.answer.moved(lambda field, spans: convert_spans(encoded.texts[field], spans, unit))
        fields = dict(answer)
        if "scores" in fields:
            fields["scores"] = fields["scores"][: options.top_k]
        explanations = []
        if options.explain:
            explanations = explain(options.explain, prediction.targets, encoded, predicted.shares, unit)
        return self._result(
            **fields,
            index=reading.index,
            id=reading.item.id,
            tokens=encoded.tokens,
            truncated=encoded.truncated,
            windows=encoded.windows,
            explanation=self._explanation(explanations) if options.explain else None,
        )

    def _explanation(self, explanations: list[Explanation]) -> Explanation | tuple[Explanation, ...]:
        return tuple(explanations) if self.task.explains_each else explanations[0]


def _then(first: Future[S], make: Callable[[S], T]) -> Future[T]:
    """What `make` makes of a result, as soon as that is there and in the thread that gave it."""
    whole: Future[T] = _promise()
    _follow(first, whole, lambda result: whole.set_result(make(result)))
    return whole


def _follow(first: Future[S], whole: Future[T], go_on: Callable[[S], None]) -> None:
    """Call `go_on` with the first result; what fails on the way is the failure of the whole."""

    def call(done: Future[S]) -> None:
        try:
            go_on(done.result())
        except Exception as error:
            whole.set_exception(error)

    first.add_done_callback(call)


def _promise() -> Future[T]:
    """A future that a waiter who gives up does not cancel."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    return future
