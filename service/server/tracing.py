"""Spans of requests for OpenTelemetry, where they are switched on; where not, nothing of it is loaded.

Spans are made when a request is over, of times that are measured anyway. They go out by OTLP over HTTP, to where the
standard variables say (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like; `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`).
"""

import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Self

from service.settings import PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Stage(NamedTuple):
    """A part of a request."""

    name: str
    began: float
    """By `time.perf_counter`."""
    seconds: float


class Tracing:
    """Sends spans; call `close` at the end, or the last of them are lost."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Spans go where `provider` sends them."""
        self._provider = provider
        self._tracer = provider.get_tracer("steadfast")

    @classmethod
    def as_environment_says(cls) -> Self:
        """With the exporter that the standard variables describe."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "steadfast"}
        provider = TracerProvider(resource=Resource.create(named))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def record(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        whole: Stage,
        stages: Sequence[Stage],
        attributes: dict[str, str | int],
        *,
        failed: bool,
    ) -> None:
        """A request that is over: a span for all of it, and one within for each stage.

        It belongs to the trace that the header `traceparent` names, or begins one.
        """
        from opentelemetry import propagate, trace

        behind_ns = time.time_ns() - time.perf_counter_ns()
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        root = self._tracer.start_span(
            whole.name,
            context=propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=_ns(whole.began) + behind_ns,
        )
        context = trace.set_span_in_context(root)
        for stage in stages:
            span = self._tracer.start_span(stage.name, context=context, start_time=_ns(stage.began) + behind_ns)
            span.end(_ns(stage.began + stage.seconds) + behind_ns)
        if failed:
            root.set_status(trace.StatusCode.ERROR)
        root.end(_ns(whole.began + whole.seconds) + behind_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def check_tracing(settings: Settings) -> None:
    """Raise SettingsError where spans are wanted and what sends them is not installed."""
    if settings.tracing and not _is_there(EXPORTER):
        raise SettingsError(f"{PREFIX}TRACING needs more packages: pip install 'steadfast[tracing]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
