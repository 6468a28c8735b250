"""From items to answers with one package: the one path that HTTP, `predict` and `score` take.

Items are checked and read in the caller's thread, computed by the engine's threads, and made into results in the thread
that asks for the result.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Self, get_args

import numpy as np

from export.package import Package, Probe
from export.probes import distance, probe_rows
from export.session import Arrays, ProviderName, Session
from models.tasks.task import Item, Prediction
from models.text import BadInput, ReadingLimits, Row, Truncation
from service.answers.answers import Answers, PendingAnswers
from service.answers.batch import BatchPrediction, EncodedItem, ItemPrediction, RejectedItem
from service.answers.contract import ModelName, Options
from service.answers.errors import BrokenModel, ItemsRejected, NotOffered
from service.answers.explanation import ExplanationMethod
from service.engine.futures import then, then_wait
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult


class Predictor:
    """One package, loaded. Safe to share between threads; call `close` when done, or use it as a context manager."""

    def __init__(self, package: Package, limits: EngineLimits, pool: Pool, provider: ProviderName = "cpu") -> None:
        """Load the graph, which the threads of `pool` will run; raises ProviderMissing."""
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

    @property
    def limits(self) -> ReadingLimits:
        """The limits of the texts that the model reads."""
        return self._reader.limits

    @property
    def explanations(self) -> tuple[ExplanationMethod, ...]:
        """The methods by which this package explains its answers."""
        outputs = {tensor.name for tensor in self.package.manifest.outputs}
        return tuple(method for method in get_args(ExplanationMethod) if method in outputs)

    def check(self, method: ExplanationMethod | None) -> None:
        """Raise NotOffered where the package cannot explain by `method`."""
        if method is not None and method not in self.explanations:
            offered = ", ".join(map(repr, self.explanations)) or "none"
            raise NotOffered(f"the model {self.name.name} gives no explanation {method!r}; it gives: {offered}")

    def submit(self, items: Iterable[Item], options: Options, *, deadline: float | None = None) -> PendingAnswers:
        """Check and read the items and queue those that can be answered; does not wait for the answers.

        `deadline` is on the clock of `time.monotonic`. Rows that still wait at that time are not computed, and the
        answers fail with DeadlineExceeded.

        Raises:
            NotOffered: the package cannot explain by `options.explain`.
            ItemsRejected: an item cannot be answered, and the options do not say `"on_error": "report"`.
            Overloaded: the queue is full.
            DeadlineExceeded: the deadline has passed already.
            EngineClosed: `close` was called.
        """
        self.check(options.explain)
        began = time.perf_counter()
        encoded_items, rejected = self._read(items, options.truncation)
        tokenize_s = time.perf_counter() - began
        if rejected and options.on_error == "fail":
            raise ItemsRejected(rejected)
        return PendingAnswers(
            task=self.task,
            items=encoded_items,
            rejected=rejected,
            options=options,
            began=began,
            tokenize_s=tokenize_s,
            future=self._compute(encoded_items, options.explain, deadline),
        )

    def answer(self, items: Iterable[Item], options: Options) -> Answers:
        """The answers to the items; raises as `submit` and `PendingAnswers.result` do."""
        return self.submit(items, options).result()

    def sample_rows(self) -> list[Row]:
        """The rows of the package's probes, one of each length, the shortest first."""
        rows = (row for probe in self.package.probes for row in probe_rows(self.task, self._reader, probe.item))
        by_length = {len(row): row for row in rows}
        return [by_length[length] for length in sorted(by_length)]

    def warm_up(self) -> None:
        """Compute rows of several lengths with every output, so that the first callers wait no longer than others."""
        rows = {len(row).bit_length(): row for row in self.sample_rows()}
        futures = [
            self._engine.submit([row], outputs, admitted=True)
            for row in rows.values()
            for outputs in (("logits",), *(("logits", method) for method in self.explanations))
        ]
        for future in futures:
            future.result()

    def time_rows(self, rows: Sequence[Row]) -> float:
        """Seconds from handing in these rows until the logits of all of them are there."""
        computed = self._engine.submit(rows, ("logits",), admitted=True).result()
        return computed.queue_s + computed.infer_s

    def replay(self, probe: Probe) -> float:
        """The largest absolute difference between a probe's outputs here and in the manifest; see `distance`."""
        wanted = probe_rows(self.task, self._reader, probe.item)
        rows = self._engine.submit(wanted, tuple(probe.outputs), admitted=True).result().rows
        return max(
            distance(expected, [row[name].ravel().tolist() for row in rows]) for name, expected in probe.outputs.items()
        )

    def close(self, *, drain: bool = True) -> None:
        """Stop the engine; what is queued is answered first, or fails where `drain` is False."""
        self._engine.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _read(self, items: Iterable[Item], truncation: Truncation) -> tuple[list[EncodedItem], list[RejectedItem]]:
        """Encode the items that can be answered, and collect the reasons why the others cannot."""
        encoded_items: list[EncodedItem] = []
        rejected: list[RejectedItem] = []
        for index, item in enumerate(items):
            try:
                encoded_items.append(EncodedItem(index, item, self.task.encode(item, self._reader, truncation)))
            except BadInput as error:
                rejected.append(RejectedItem(index, error))
        return encoded_items, rejected

    def _compute(
        self, items: Sequence[EncodedItem], method: ExplanationMethod | None, deadline: float | None
    ) -> Future[BatchPrediction]:
        """The predictions for all items, with the token scores that explain them; raises as `Engine.submit` does.

        The future holds BrokenModel where an output is not finite.
        """
        rows = [row for item in items for row in item.encoded.rows]
        explains_at_once = method is not None and not self._session.reads_anywhere
        outputs = ("logits", method) if method and explains_at_once else ("logits",)
        shown = method if explains_at_once else None
        first = then(
            self._engine.submit(rows, outputs, deadline=deadline),
            lambda computed: self._predict(items, computed, shown),
        )
        if method is None or explains_at_once:
            return first
        # The token at which each part of the answer was read is known only from the predictions.
        return then_wait(first, lambda batch: self._explain(items, batch, method, deadline))

    def _predict(
        self, items: Sequence[EncodedItem], computed: EngineResult, method: ExplanationMethod | None
    ) -> BatchPrediction:
        rows = iter(computed.rows)
        predictions = []
        for item in items:
            arrays = [next(rows) for _ in item.encoded.rows]
            self._refuse_broken(arrays)
            prediction = self._decode(item, arrays)
            scores = [[arrays[row][method] for row in part.rows] for part in prediction.parts] if method else []
            predictions.append(ItemPrediction(prediction, scores))
        return BatchPrediction(predictions, computed.queue_s, computed.infer_s)

    def _explain(
        self, items: Sequence[EncodedItem], first: BatchPrediction, method: ExplanationMethod, deadline: float | None
    ) -> Future[BatchPrediction]:
        """The same predictions with token scores, which a second run computes for the token of each part."""
        wanted = [
            replace(item.encoded.rows[row], read_at=part.read_at)
            for item, predicted in zip(items, first.predictions, strict=True)
            for part in predicted.prediction.parts
            for row in part.rows
        ]
        tokens = sum(map(len, wanted))
        if tokens > self.limits.max_item_tokens * len(items):
            raise NotOffered(
                f"{len(wanted):,} answers to explain would take {tokens:,} tokens; "
                "leave `explain` out, or split the text"
            )
        # The request was let into the queue before, with its first rows.
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
                [[next(arrays)[method] for _ in part.rows] for part in predicted.prediction.parts],
            )
            for predicted in first.predictions
        ]
        return BatchPrediction(predictions, first.queue_s, first.infer_s + computed.queue_s + computed.infer_s)

    def _decode(self, item: EncodedItem, arrays: Sequence[Arrays]) -> Prediction[Any]:
        logits = [row["logits"] for row in arrays]
        prediction: Prediction[Any] = self.task.decode(logits, item.encoded, self.package.manifest.meaning)
        return prediction

    def _refuse_broken(self, arrays: Sequence[Arrays]) -> None:
        if not all(np.isfinite(array).all() for row in arrays for array in row.values()):
            raise BrokenModel(f"{self.package.folder}: an output is not finite")
