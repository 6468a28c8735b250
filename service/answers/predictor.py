"""From items to answers with one package: the path that HTTP, `predict` and `score` all take.

item -> EncodedItem -> ItemPrediction -> result
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

import numpy as np
from pydantic import BaseModel

from export.package import Package, Probe
from export.probes import distance, probe_rows
from export.session import Arrays, ProviderName, Session
from models.errors import UserError
from models.tasks.task import Item, Prediction
from models.text import BadInput, Encoded, ReadingLimits, Row, Truncation
from service.answers.contract import ModelName, Options, result_type
from service.answers.explanation import Explanation, ExplanationMethod, TokenScores, explain
from service.answers.offsets import convert_spans
from service.engine.futures import then, then_wait
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult


class BrokenModel(UserError):
    """The graph gave what is no number."""


class NotOffered(UserError):
    """An explanation that the package cannot give, or not of so much."""


@dataclass(frozen=True)
class EncodedItem:
    """An item as the model will read it, and its place among the inputs."""

    index: int
    item: Item
    encoded: Encoded


@dataclass(frozen=True)
class RejectedItem:
    """An item that cannot be answered, and why."""

    index: int
    reason: BadInput


@dataclass(frozen=True)
class ItemPrediction:
    """What the model says of an item."""

    prediction: Prediction[Any]
    shares: Sequence[Sequence[TokenScores]]
    """For each of the prediction's targets, where it is explained, those of the target's rows."""


@dataclass(frozen=True)
class BatchPrediction:
    """What was computed for items handed in together, in their order."""

    predictions: Sequence[ItemPrediction]
    queue_s: float
    """From handing in until the first row was taken up."""
    infer_s: float
    """From then until the last was done."""


class Predictor:
    """One package, loaded. Safe to share between threads; call `close` when done, or use it as a context."""

    def __init__(self, package: Package, limits: EngineLimits, pool: Pool, provider: ProviderName = "cpu") -> None:
        """Load the graph, to be computed by `pool`; raises ProviderMissing."""
        manifest = package.manifest
        self.package = package
        self.task = package.task
        self.name = ModelName(
            task=manifest.task,
            name=manifest.name,
            digest=manifest.digest,
            method=manifest.method.name,
            precision=package.precision,
        )
        self._reader = package.reader()
        self._session = Session(package.graph, pad_id=manifest.pad_id, provider=provider)
        self._engine = Engine(self._session.run, limits, pool)
        self._result = result_type(self.task)

    @property
    def limits(self) -> ReadingLimits:
        """How much text is read."""
        return self._reader.limits

    @property
    def explanations(self) -> tuple[ExplanationMethod, ...]:
        """The ways in which this package explains its answers."""
        outputs = {tensor.name for tensor in self.package.manifest.outputs}
        return tuple(method for method in get_args(ExplanationMethod) if method in outputs)

    def check(self, method: ExplanationMethod | None) -> None:
        """Raise NotOffered where the package cannot explain by `method`."""
        if method is not None and method not in self.explanations:
            offered = ", ".join(map(repr, self.explanations)) or "none"
            raise NotOffered(f"the model {self.name.name} gives no explanation {method!r}; it gives: {offered}")

    def read(self, items: Iterable[Item], truncation: Truncation) -> tuple[list[EncodedItem], list[RejectedItem]]:
        """Encode what can be answered, and say why the rest cannot."""
        encoded_items: list[EncodedItem] = []
        rejected: list[RejectedItem] = []
        for index, item in enumerate(items):
            try:
                encoded_items.append(EncodedItem(index, item, self.task.encode(item, self._reader, truncation)))
            except BadInput as error:
                rejected.append(RejectedItem(index, error))
        return encoded_items, rejected

    def compute(
        self, encoded_items: Sequence[EncodedItem], method: ExplanationMethod | None, *, deadline: float | None = None
    ) -> Future[BatchPrediction]:
        """Predictions for all items and what explains them; raises as `Engine.submit` does.

        The future holds BrokenModel where an output is not finite. Cancelling it takes what still waits out of the
        queue.
        """
        rows = [row for encoded_item in encoded_items for row in encoded_item.encoded.rows]
        explains_at_once = method is not None and not self._session.reads_anywhere
        outputs = ("logits", method) if method and explains_at_once else ("logits",)
        shown = method if explains_at_once else None
        first = then(
            self._engine.submit(rows, outputs, deadline=deadline),
            lambda computed: self._predict(encoded_items, computed, shown),
        )
        if method is None or explains_at_once:
            return first
        # Only the predictions tell where to read.
        return then_wait(first, lambda answered: self._explain(encoded_items, answered, method, deadline))

    def answer(
        self, encoded_items: Sequence[EncodedItem], answered: BatchPrediction, options: Options
    ) -> list[BaseModel]:
        """The result of each item."""
        return [
            self._answer(encoded_item, predicted, options)
            for encoded_item, predicted in zip(encoded_items, answered.predictions, strict=True)
        ]

    def sample_rows(self) -> list[Row]:
        """The rows of the package's probes, one of each length, the shortest first."""
        rows = (row for probe in self.package.probes for row in probe_rows(self.task, self._reader, probe.item))
        by_length = {len(row): row for row in rows}
        return [by_length[length] for length in sorted(by_length)]

    def warm_up(self) -> None:
        """Compute a row of each order of length with every output, so that first callers wait no longer than others."""
        rows = {len(row).bit_length(): row for row in self.sample_rows()}
        futures = [
            self._engine.submit([row], outputs, admitted=True)
            for row in rows.values()
            for outputs in (("logits",), *(("logits", method) for method in self.explanations))
        ]
        for future in futures:
            future.result()

    def time_rows(self, rows: Sequence[Row]) -> float:
        """Seconds from handing in until the answers to these rows would be known."""
        computed = self._engine.submit(rows, ("logits",), admitted=True).result()
        return computed.queue_s + computed.infer_s

    def replay(self, probe: Probe) -> float:
        """The outputs for a probe against those in the manifest: the largest absolute difference; see `distance`."""
        wanted = probe_rows(self.task, self._reader, probe.item)
        rows = self._engine.submit(wanted, tuple(probe.outputs), admitted=True).result().rows
        return max(
            distance(expected, [row[name].ravel().tolist() for row in rows]) for name, expected in probe.outputs.items()
        )

    def close(self, *, drain: bool = True) -> None:
        """Answer what is queued, or fail it, and stop the engine."""
        self._engine.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _predict(
        self, encoded_items: Sequence[EncodedItem], computed: EngineResult, method: ExplanationMethod | None
    ) -> BatchPrediction:
        rows = iter(computed.rows)
        predictions = []
        for encoded_item in encoded_items:
            arrays = [next(rows) for _ in encoded_item.encoded.rows]
            self._refuse_broken(arrays)
            prediction = self._decode(encoded_item, arrays)
            shares = [[arrays[row][method] for row in target.rows] for target in prediction.parts] if method else []
            predictions.append(ItemPrediction(prediction, shares))
        return BatchPrediction(predictions, computed.queue_s, computed.infer_s)

    def _explain(
        self,
        encoded_items: Sequence[EncodedItem],
        first: BatchPrediction,
        method: ExplanationMethod,
        deadline: float | None,
    ) -> Future[BatchPrediction]:
        """The predictions again, with what explains them, read where they say."""
        wanted = [
            replace(encoded_item.encoded.rows[row], read_at=target.read_at)
            for encoded_item, predicted in zip(encoded_items, first.predictions, strict=True)
            for target in predicted.prediction.parts
            for row in target.rows
        ]
        tokens = sum(map(len, wanted))
        if tokens > self.limits.max_item_tokens * len(encoded_items):
            raise NotOffered(
                f"{len(wanted):,} answers to explain would take {tokens:,} tokens; "
                "leave `explain` out, or split the text"
            )
        # Those who ask were let in already.
        second = self._engine.submit(wanted, (method,), deadline=deadline, admitted=True)
        return then(second, lambda computed: self._add_token_scores(first, computed, method))

    def _add_token_scores(
        self, first: BatchPrediction, computed: EngineResult, method: ExplanationMethod
    ) -> BatchPrediction:
        self._refuse_broken(computed.rows)
        arrays = iter(computed.rows)
        predictions = [
            ItemPrediction(
                predicted.prediction,
                [[next(arrays)[method] for _ in target.rows] for target in predicted.prediction.parts],
            )
            for predicted in first.predictions
        ]
        return BatchPrediction(predictions, first.queue_s, first.infer_s + computed.queue_s + computed.infer_s)

    def _decode(self, encoded_item: EncodedItem, arrays: Sequence[Arrays]) -> Prediction[Any]:
        logits = [row["logits"] for row in arrays]
        prediction: Prediction[Any] = self.task.decode(logits, encoded_item.encoded, self.package.manifest.meaning)
        return prediction

    def _refuse_broken(self, arrays: Sequence[Arrays]) -> None:
        if not all(np.isfinite(array).all() for row in arrays for array in row.values()):
            raise BrokenModel(f"{self.package.folder}: an output is not finite")

    def _answer(self, encoded_item: EncodedItem, predicted: ItemPrediction, options: Options) -> BaseModel:
        encoded, prediction = encoded_item.encoded, predicted.prediction
        unit = options.offset_unit
        answer = prediction.answer.moved(lambda field, spans: convert_spans(encoded.texts[field], spans, unit))
        fields = dict(answer)
        if "scores" in fields:
            fields["scores"] = fields["scores"][: options.top_k]
        explanations = []
        if options.explain:
            explanations = explain(options.explain, prediction.parts, encoded, predicted.shares, unit)
        return self._result(
            **fields,
            index=encoded_item.index,
            id=encoded_item.item.id,
            tokens=encoded.tokens,
            truncated=encoded.truncated,
            windows=encoded.windows,
            explanation=self._explanation(explanations) if options.explain else None,
        )

    def _explanation(self, explanations: list[Explanation]) -> Explanation | tuple[Explanation, ...]:
        return tuple(explanations) if self.task.explains_each else explanations[0]
