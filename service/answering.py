"""From items to answers with one package: the path that HTTP, `predict` and `score` all take.

item -> Reading -> Computed -> result
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self, get_args

import numpy as np
from pydantic import BaseModel

from export.package import Package, Probe
from export.session import Arrays, Session
from models.tasks.task import Item, Prediction
from models.text import BadInput, Encoded, ReadingLimits, Truncation
from service.contract import ModelName, Options, result_type
from service.engine import Computed, Engine, EngineLimits
from service.explanation import Method, explain


class BrokenModel(RuntimeError):
    """The graph gave what is no number."""


class NotOffered(ValueError):
    """An explanation that the package cannot give."""


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

    def compute(self, readings: Sequence[Reading], method: Method | None) -> Future[Computed]:
        """Hand the rows of all readings to the engine; raises as `Engine.submit` does."""
        outputs = ("logits",) if method is None else ("logits", method)
        return self._engine.submit([row for reading in readings for row in reading.encoded.rows], outputs)

    def answer(self, readings: Sequence[Reading], computed: Computed, options: Options) -> list[BaseModel]:
        """The result of each reading, out of what was computed for them."""
        rows = iter(computed.rows)
        return [self._answer(reading, [next(rows) for _ in reading.encoded.rows], options) for reading in readings]

    def replay(self, probe: Probe) -> float:
        """The outputs for a probe against those in the manifest: the largest absolute difference, NaN if any is."""
        item = self.task.item.model_validate(probe.item)
        encoded = self.task.encode(item, self._reader, "window")
        rows = self._engine.submit(encoded.rows, tuple(probe.outputs)).result().rows
        differences = [
            np.abs(row[name] - np.asarray(expected)).max()
            for name, wanted in probe.outputs.items()
            for row, expected in zip(rows, wanted, strict=True)
        ]
        return float(np.max(differences, initial=0.0))

    def close(self, *, drain: bool = True) -> None:
        """Answer what is queued, or fail it, and stop the engine."""
        self._engine.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _answer(self, reading: Reading, arrays: Sequence[Arrays], options: Options) -> BaseModel:
        if not all(np.isfinite(array).all() for row in arrays for array in row.values()):
            raise BrokenModel(f"{self.package.folder}: an output is not finite")
        logits = np.stack([row["logits"] for row in arrays])
        prediction: Prediction[BaseModel] = self.task.decode(logits, reading.encoded, self.package.manifest.labels)
        fields = dict(prediction.answer)
        explanation = None
        if options.explain:
            token_scores = [row[options.explain] for row in arrays]
            explanation = explain(
                options.explain, prediction.target, reading.encoded, token_scores, options.offset_unit
            )
        return self._result(
            **fields | {"scores": fields["scores"][: options.top_k]},
            index=reading.index,
            id=reading.item.id,
            tokens=reading.encoded.tokens,
            truncated=reading.encoded.truncated,
            windows=len(reading.encoded.rows),
            explanation=explanation,
        )
