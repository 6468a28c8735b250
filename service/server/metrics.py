"""The server's counters, for Prometheus.

Nothing that callers choose becomes a label, so that there are no more series after a year than after a day. Each worker
counts into its own files, in the folder that PROMETHEUS_MULTIPROC_DIR names, and the worker that is asked adds them up.
The files bear the worker's number: a worker that is started again goes on where the last one ended.
"""

import os
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from export.figures.reference import Reference
from service.answers.contract import ModelName
from service.watching.distance import measure_distance
from service.watching.watch import Watch, read_counts
from service.watching.window import Counts, Window

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64)
TOKENS = (32, 64, 128, 256, 384, 512, 1_024)
PADDING_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
PROBABILITIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SNAPSHOTS = "watched.json"
"""The file in that folder with earlier counts of answers."""
_MODEL_LABELS = ("task", "model")
_WATCHED = "steadfast_watched_total"


class Metrics:
    """The counters of one worker; an `EngineMeter` for its engines."""

    def __init__(self, worker: int | None = None) -> None:
        """Count nothing yet; `worker` is the number of this worker, where there are several of one server."""
        _share_with_other_workers(worker)
        self._registry = CollectorRegistry()
        # A metric finds the series of its labels under a lock and as texts; there are few, so they are kept.
        self._series: Callable[..., Any] = cache(lambda metric, *labels: metric.labels(*labels))
        self._requests = self._counter("requests", "Requests answered.", "route", "code")
        self._rejections = self._counter("rejections", "Requests answered by a problem.", "reason")
        self._request_s = self._histogram("request_seconds", "From a request to its answer.", SECONDS, "route")
        self._stages = {
            name: self._histogram(f"{name}_seconds", text, SECONDS, *_MODEL_LABELS)
            for name, text in (
                ("queue", "From the texts being read until the first of them was taken up."),
                ("tokenize", "Reading the texts of a request."),
                ("infer", "From the first of the texts being taken up until the last was done."),
                ("explain", "Making answers with explanations of what the model gave."),
            )
        }
        self._queue_rows = self._gauge("queue_rows", "Rows that wait.")
        self._queue_tokens = self._gauge("queue_tokens", "Tokens that wait.")
        self._batch_rows = self._histogram("batch_rows", "Rows of a batch.", ROWS)
        self._batch_tokens = self._histogram("batch_tokens", "Tokens of a batch, without padding.", TOKENS)
        self._padding = self._histogram("batch_padding_share", "Share of a batch that is padding.", PADDING_SHARES)
        self._truncated = self._counter("truncated_items", "Inputs of which the end was not read.", *_MODEL_LABELS)
        self._predictions = self._counter("predictions", "Labels given.", *_MODEL_LABELS, "label")
        self._confidence = self._histogram(
            "confidence", "Probability of what was answered.", PROBABILITIES, *_MODEL_LABELS
        )
        self._watched = self._counter(
            "watched",
            "Bins of the answers of packages that hold a reference.",
            *_MODEL_LABELS,
            "digest",
            "signal",
            "bin",
        )
        self._watch = cache(self._open_watch)
        shared = os.environ.get(_SHARED_FOLDER)
        self._window = Window(Path(shared, _SNAPSHOTS) if shared else None)
        # A worker before this one may have died with rows in its queue.
        self.queue(0, 0)

    def request(self, route: str, status: int, seconds: float, reason: str | None) -> None:
        """Count a request that was answered; `reason` is the code of the problem, if the answer was one."""
        self._series(self._requests, route, status).inc()
        self._series(self._request_s, route).observe(seconds)
        if reason is not None:
            self._rejections.labels(reason).inc()

    def stages(self, model: ModelName, **seconds: float) -> None:
        """Record how long the stages of a request took that `model` answered: queue, tokenize, infer, explain."""
        for name, value in seconds.items():
            self._series(self._stages[name], model.task, model.name).observe(value)

    def answers(self, model: ModelName, results: Sequence[Any]) -> None:
        """Count the labels, probabilities and truncated texts in these answers of `model`."""
        labels: Tally[str] = Tally()
        confidence = self._series(self._confidence, model.task, model.name)
        for result in results:
            for label, probability in result.judgements():
                confidence.observe(probability)
                if label is not None:
                    labels[label] += 1
        for label, times in labels.items():
            self._series(self._predictions, model.task, model.name, label).inc(times)
        truncated = sum(result.truncated for result in results)
        if truncated:
            self._series(self._truncated, model.task, model.name).inc(truncated)

    def watch(self, model: ModelName, results: Sequence[Any]) -> None:
        """Count how these answers of `model` are spread, to compare them with the reference of its package."""
        self._watch(model.task, model.name, model.digest).count(results)

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        """Count a batch, as `EngineMeter` says."""
        self._batch_rows.observe(rows)
        self._batch_tokens.observe(tokens)
        self._padding.observe(1 - tokens / padded)

    def queue(self, rows: int, tokens: int) -> None:
        """Set the length of the queue, as `EngineMeter` says."""
        self._queue_rows.set(rows)
        self._queue_tokens.set(tokens)

    def render(
        self,
        models: Mapping[ModelName, Mapping[str, float]],
        references: Mapping[ModelName, Reference] = MappingProxyType({}),
    ) -> bytes:
        """The counters of all workers as text, and the models that answer in this worker, with their figures.

        The answers of those with a reference are compared with it.
        """
        counted: Collector = self._registry
        if _SHARED_FOLDER in os.environ:
            counted = MultiProcessCollector(None)
        read = _Read([*counted.collect()])
        latest: Counts = {}
        if references:
            # Those of packages that were replaced too: they may come back, and have their own earlier counts then.
            latest = self._window.latest(read_counts(read.samples(_WATCHED)), time.monotonic())
        shown = (read, _Models(models), _Drifts(references, latest))
        return b"".join(map(generate_latest, shown))

    def _open_watch(self, *model: str) -> Watch:
        return Watch(lambda signal, name: self._watched.labels(*model, signal, name))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"steadfast_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"steadfast_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"steadfast_{name}", text, registry=self._registry, multiprocess_mode="livesum")


class _Read(Collector):
    """Metrics that were read from the files of the workers, which is done once."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics

    def samples(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """The labels and values of the samples of a name."""
        return ((one.labels, one.value) for metric in self._metrics for one in metric.samples if one.name == name)


class _Drifts(Collector):
    """Shows how far the latest answers of the models of one worker are from their references."""

    def __init__(self, references: Mapping[ModelName, Reference], latest: Counts) -> None:
        self._references = references
        self._latest = latest

    def collect(self) -> Iterator[GaugeMetricFamily]:
        drift = GaugeMetricFamily(
            "steadfast_drift",
            "Jensen-Shannon distance of the latest answers from the reference of their package, from 0 to 1.",
            labels=(*_MODEL_LABELS, "signal"),
        )
        usual = GaugeMetricFamily(
            "steadfast_reference_share",
            "Share of each bin in the reference of a package.",
            labels=(*_MODEL_LABELS, "signal", "bin"),
        )
        for model, reference in self._references.items():
            for signal, bins in reference.signals.items():
                total = sum(bins.values())
                for name, count in bins.items():
                    usual.add_metric((model.task, model.name, signal, name), count / total)
                latest = self._latest.get(model.digest, {}).get(signal)
                if latest is not None:
                    drift.add_metric((model.task, model.name, signal), measure_distance(latest, bins))
        yield drift
        yield usual


class _Models(Collector):
    """Shows the models of one worker. In the files of all workers, one would stay that a worker has retired since."""

    def __init__(self, models: Mapping[ModelName, Mapping[str, float]]) -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "steadfast_model_info", "1 for each model that answers.", labels=tuple(ModelName.model_fields)
        )
        figures = GaugeMetricFamily(
            "steadfast_model_figure",
            "What a package says of itself: metrics, right answers under attack, and the name gap.",
            labels=("task", "model", "digest", "figure"),
        )
        for model, its_figures in self._models.items():
            info.add_metric(tuple(model.model_dump().values()), 1)
            for figure, value in its_figures.items():
                figures.add_metric((model.task, model.name, model.digest, figure), value)
        yield info
        yield figures


@cache
def _share_with_other_workers(worker: int | None) -> None:
    """Have the library count into this worker's files; once, and before the first metric is made."""
    # Nobody asks when a counter began, and it is known only where one process counts.
    disable_created_metrics()
    if _SHARED_FOLDER in os.environ and worker is not None:
        values.ValueClass = values.MultiProcessValue(lambda: worker)
