"""From items to answers with one package: the one path that HTTP, `predict` and `score` take.

Items are checked and read in the caller's thread, computed by the engine's threads, and made into results in the thread
that asks for the result.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from export.package import Package, Probe
from export.probes import distance, probe_rows
from export.providers import ProviderName
from models.machine import return_memory
from models.tasks.task import Item, Logits
from models.text import BadInput, ReadingLimits, Row
from service.answers.answers import Answers, PendingAnswers
from service.answers.batch import BatchPrediction, EncodedItem, ItemPrediction, ItemScores, RejectedItem, Trials
from service.answers.certificate import CertificateTooLong
from service.answers.certifying import CertifyingSettings, certify_item, find_certified, refuse_many
from service.answers.contract import ModelName, Options
from service.answers.errors import ItemsRejected, NotOffered
from service.answers.explainers import EXPLAINERS
from service.answers.explainers.runs import RunSettings, answer_items, score_items
from service.answers.explanation import ExplainOptions, ExplanationMethod, ExplanationTooLong
from service.answers.model import LoadedModel
from service.answers.rendering import ExplanationStyle
from service.engine.demand import Expectation, Load
from service.engine.futures import one_by_one, settled, then, then_wait
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.engine.submission import EngineResult
from service.settings import MAX_CERTIFY_ROWS, MAX_OCCLUSION_WORDS

LEFT_TO_ANSWER = 0.05
"""Share of the time left to a request that its certificates leave: answers go without those not there by then."""


class Predictor:
    """One package, loaded. Safe to share between threads; call `close` when done, or use it as a context manager."""

    def __init__(
        self,
        package: Package,
        limits: EngineLimits,
        pool: Pool,
        provider: ProviderName = "cpu",
        cache: Path | None = None,
        max_occlusion_words: int = MAX_OCCLUSION_WORDS,
        max_certify_rows: int = MAX_CERTIFY_ROWS,
        max_unknown_share: float = 1.0,
    ) -> None:
        """Load the graph, which the threads of `pool` will run; raises as `open_session` does.

        `cache` is a folder in which processes share the packed weights.
        """
        manifest = package.manifest
        self.package = package
        self.task = package.task
        self.name = ModelName(
            task=manifest.task,
            name=manifest.name,
            digest=manifest.digest,
            method=manifest.variant,
            precision=package.precision,
        )
        self.long_work = pool.long_work
        """The threads for what would hold up an event loop: reading long texts, and making their answers."""
        self.max_certify_rows = max_certify_rows
        """Most rows to compute for the certificate of an item."""
        self.max_unknown_share = max_unknown_share
        """From more unknown tokens on, as a share of an item's, it is rejected instead of answered."""
        self._model = LoadedModel(package, limits, pool, provider, cache, max_occlusion_words)

    @property
    def limits(self) -> ReadingLimits:
        """The limits of the texts that the model reads."""
        return self._model.reader.limits

    @property
    def max_occlusion_words(self) -> int:
        """Most words of an item that are left out in turn to explain its answer."""
        return self._model.max_occlusion_words

    @property
    def explanations(self) -> tuple[ExplanationMethod, ...]:
        """The methods by which this package explains its answers."""
        manifest = self.package.manifest
        return tuple(method for method, explainer in EXPLAINERS.items() if explainer.is_offered(manifest))

    @property
    def targets(self) -> tuple[str, ...]:
        """The answers that can be explained in place of the one given, where they are the same for every item."""
        targets = self.package.task.targets
        return targets.fixed(self.package.manifest.meaning) if targets else ()

    def choose(self, explain: ExplainOptions) -> ExplanationMethod:
        """The method asked for. Without one: the most faithful that was measured, or else decomposition if offered.

        Raises:
            NotOffered: the package cannot explain so.
        """
        offered = self.explanations
        best = (self.package.manifest.most_faithful, "decomposition", *offered)
        wanted = best if explain.method is None else (explain.method,)
        for method in wanted:
            if method in offered:
                return method
        known = ", ".join(map(repr, offered)) or "none"
        raise NotOffered(f"the model {self.name.name} gives no explanation {explain.method!r}; it gives: {known}")

    def expect(self, size: int, *, deadline: float | None = None, tenant: str = "") -> Expectation:
        """Announce items of about `size` bytes, which count as waiting until the answer is ended, here or by `submit`.

        Raises:
            Overloaded, DeadlineUnreachable: as `submit` does, as far as can be told before the items are read.
        """
        return self._model.expect(size, deadline=deadline, tenant=tenant)

    def submit(
        self,
        items: Iterable[Item | BadInput],
        options: Options,
        *,
        deadline: float | None = None,
        tenant: str = "",
        expected: Expectation | None = None,
    ) -> PendingAnswers:
        """Check and read the items and queue those that can be answered; does not wait for the answers.

        A BadInput in place of an item is rejected as it says.

        `deadline` is on the clock of `time.monotonic`. Rows that still wait at that time are not computed, and the
        answers fail with DeadlineExceeded. Each `tenant` takes turns with others. Ends `expected`, if it is given.

        Raises:
            NotOffered: the package cannot explain as `options.explain` says.
            CertificateNotOffered: what the edits of `options.certify` need is not installed.
            UnknownTarget: an answer that it names is none of those that can be explained.
            ItemsRejected: an item cannot be answered, and the options do not say `"on_error": "report"`.
            Overloaded: the queue is full, or what waits in it takes too long for the deadline.
            DeadlineUnreachable: the items alone take too long for the deadline.
            DeadlineExceeded: the deadline has passed already.
            EngineClosed: `close` was called.
        """
        style = self._style(options) if options.explain else None
        certifying = self._certifying(options, deadline, tenant)
        began = time.perf_counter()
        if certifying:
            self._model.refuse_background_overload(tenant)
        encoded_items, rejected = self._read(items, options, expected)
        tokenize_s = time.perf_counter() - began
        return PendingAnswers(
            task=self.task,
            items=encoded_items,
            rejected=rejected,
            options=options,
            style=style,
            began=began,
            tokenize_s=tokenize_s,
            future=self._certify(self._compute(encoded_items, style, deadline, tenant), encoded_items, certifying),
        )

    def answer(self, items: Iterable[Item], options: Options) -> Answers:
        """The answers to the items; raises as `submit` and `PendingAnswers.result` do."""
        return self.submit(items, options).result()

    def sample_rows(self) -> list[Row]:
        """The rows of the package's probes, one of each length, the shortest first."""
        rows = (row for probe in self.package.probes for row in probe_rows(self.task, self._model.reader, probe.item))
        by_length = {len(row): row for row in rows}
        return [by_length[length] for length in sorted(by_length)]

    def warm_up(self) -> None:
        """Compute rows of several lengths, and the shortest with every output, so that the first callers do not wait.

        The probes compute every output at all lengths. A server replays them before it has callers.
        """
        rows = list({len(row).bit_length(): row for row in self.sample_rows()}.values())
        every_output = tuple(tensor.name for tensor in self.package.manifest.outputs)
        asked = [*(([row], ("logits",)) for row in rows), *(([row], every_output) for row in rows[:1])]
        for future in [self._model.submit(wanted, outputs, admitted=True) for wanted, outputs in asked]:
            future.result()

    def release_memory(self) -> None:
        """Give the system back the memory of this process's batches so far, but for those that are being computed."""
        rows = self.sample_rows()
        if rows:
            self._model.release_memory(rows[0])
        return_memory()

    def compute(self, rows: Sequence[Row]) -> list[Logits]:
        """The logits of rows, in their order, from the graph that answers; they are taken even if the queue is full.

        Raises:
            BrokenModel: a logit is not a finite number.
        """
        computed = self._model.submit(rows, ("logits",), admitted=True).result().rows
        self._model.refuse_broken(computed)
        return [row["logits"] for row in computed]

    def time_rows(self, rows: Sequence[Row]) -> float:
        """Seconds from handing in these rows until the logits of all of them are there."""
        computed = self._model.submit(rows, ("logits",), admitted=True).result()
        return computed.queue_s + computed.infer_s

    def replay(self, probe: Probe) -> float:
        """The largest absolute difference between a probe's outputs here and in the manifest; see `distance`."""
        wanted = probe_rows(self.task, self._model.reader, probe.item)
        rows = self._model.submit(wanted, tuple(probe.outputs), admitted=True).result().rows
        return max(
            distance(name, expected, [row[name].ravel().tolist() for row in rows])
            for name, expected in probe.outputs.items()
        )

    def close(self, *, drain: bool = True) -> None:
        """Stop the engine; what is queued is answered first, or fails where `drain` is False."""
        self._model.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _style(self, options: Options) -> ExplanationStyle:
        """How the answers are explained; raises NotOffered."""
        asked = options.explain or ExplainOptions()
        method = self.choose(asked)
        return ExplanationStyle(
            method=method,
            unit=asked.unit,
            top_k=asked.top_k,
            offset_unit=options.offset_unit,
            faithfulness=self.package.manifest.faithfulness.get(method),
        )

    def _certifying(self, options: Options, deadline: float | None, tenant: str) -> CertifyingSettings | None:
        """How the answers are certified, if they are; raises CertificateNotOffered."""
        if options.certify is None:
            return None
        return CertifyingSettings(
            family=find_certified(options.certify),
            truncation=options.truncation,
            deadline=None if deadline is None else deadline - LEFT_TO_ANSWER * (deadline - time.monotonic()),
            tenant=tenant,
            max_rows=self.max_certify_rows,
        )

    def _read(
        self, items: Iterable[Item | BadInput], options: Options, expected: Expectation | None
    ) -> tuple[list[EncodedItem], list[RejectedItem]]:
        """The items that can be answered, encoded, and the reasons why the others cannot; ends `expected`.

        Raises:
            UnknownTarget, ItemsRejected: as `submit` does.
        """
        asked = options.explain.target if options.explain else None
        encoded_items: list[EncodedItem] = []
        rejected: list[RejectedItem] = []
        for index, item in enumerate(items):
            if isinstance(item, BadInput):
                rejected.append(RejectedItem(index, item))
                continue
            try:
                encoded = self._model.encode(item, options.truncation)
            except BadInput as error:
                # Without its frames, which hold the whole request and would be kept by what they hold.
                rejected.append(RejectedItem(index, error.with_traceback(None)))
                continue
            unknown_share = self._model.unknown_words.share(encoded)
            if unknown_share > self.max_unknown_share:
                rejected.append(RejectedItem(index, _not_understood(unknown_share, self.max_unknown_share)))
                continue
            target = None if asked is None else self._model.find_target(asked, encoded)
            if target is not None:
                encoded = self._model.aimed(encoded, target)
            encoded_items.append(EncodedItem(index, item, encoded, target, unknown_share))
        if expected:
            expected.end(_load(encoded_items))
        if rejected and options.on_error == "fail":
            raise ItemsRejected(rejected)
        return encoded_items, rejected

    def _compute(
        self,
        items: Sequence[EncodedItem],
        style: ExplanationStyle | None,
        deadline: float | None,
        tenant: str,
    ) -> Future[BatchPrediction]:
        """The predictions for all items, with the scores that explain them; raises as `Engine.submit` does.

        The future holds BrokenModel where an output is not finite.
        """
        model = self._model
        explainer = EXPLAINERS[style.method] if style else None
        if explainer and explainer.is_background:
            model.refuse_background_overload(tenant)
        beside = explainer.outputs(model) if explainer else ()
        settings = RunSettings(unit=style.unit if style else "word", deadline=deadline, tenant=tenant)
        rows = [row for item in items for row in item.encoded.rows]
        submitted = model.submit(rows, ("logits", *beside), deadline=deadline, tenant=tenant)
        if explainer is None:
            return then(submitted, lambda computed: _unexplained(model, items, computed, settings))

        def explain(computed: EngineResult) -> Future[BatchPrediction]:
            began = time.perf_counter()
            answered = answer_items(model, items, computed, settings)
            predictions = [one.prediction for one in answered]
            # Not `computed` itself: it would keep the arrays while further rows wait.
            queue_s, infer_s = computed.queue_s, computed.infer_s

            def add(scores: Sequence[ItemScores | ExplanationTooLong]) -> BatchPrediction:
                explained = [ItemPrediction(*pair) for pair in zip(predictions, scores, strict=True)]
                # Further runs count as computing.
                return BatchPrediction(explained, queue_s, infer_s + time.perf_counter() - began)

            return then(score_items(explainer, model, answered, settings), add)

        return then_wait(submitted, explain)

    def _certify(
        self,
        predicted: Future[BatchPrediction],
        items: Sequence[EncodedItem],
        settings: CertifyingSettings | None,
    ) -> Future[BatchPrediction]:
        """The predictions with the outcome of trying every edit of each item; as they are where none is to be tried."""
        if settings is None:
            return predicted
        refused = [refuse_many(self.task, item, settings) for item in items]

        def certify(batch: BatchPrediction) -> Future[BatchPrediction]:
            began = time.perf_counter()
            starts = (
                partial(settled, reason)
                if reason
                else partial(certify_item, self._model, item, one.prediction.answer, settings)
                for item, reason, one in zip(items, refused, batch.predictions, strict=True)
            )

            def add(trials: Sequence[Trials | CertificateTooLong]) -> BatchPrediction:
                tried = [replace(one, trials=of_one) for one, of_one in zip(batch.predictions, trials, strict=True)]
                return BatchPrediction(tried, batch.queue_s, batch.infer_s + time.perf_counter() - began)

            return then(one_by_one(starts), add)

        return then_wait(predicted, certify)


def _load(items: Sequence[EncodedItem]) -> Load:
    rows = [row for item in items for row in item.encoded.rows]
    return Load(len(rows), sum(map(len, rows)))


def _not_understood(share: float, most: float) -> BadInput:
    return BadInput(
        "unknown_words",
        "",
        f"{share:.0%} of its tokens stand for no word that the model knows, and at most {most:.0%} may here: is it "
        "text, in the model's language?",
    )


def _unexplained(
    model: LoadedModel, items: Sequence[EncodedItem], computed: EngineResult, settings: RunSettings
) -> BatchPrediction:
    predictions = [ItemPrediction(one.prediction, None) for one in answer_items(model, items, computed, settings)]
    return BatchPrediction(predictions, computed.queue_s, computed.infer_s)
