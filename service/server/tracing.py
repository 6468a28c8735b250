"""Spans of requests for OpenTelemetry, if they are switched on; if not, no module of OpenTelemetry is loaded here.

Spans are made when a request is over, from times that are measured anyway. They are sent by OTLP over HTTP to the
address in the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and others; also
`OTEL_TRACES_SAMPLER` and `OTEL_SERVICE_NAME`).
"""

import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Self

from service.address import PREFIX
from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Stage(NamedTuple):
    """A part of a request."""

    name: str
    began: float
    """The time by `time.perf_counter`."""
    seconds: float


class Tracing:
    """Sends spans; call `close` at the end, or the last spans are lost."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Make spans of `provider`, which sends them."""
        self._provider = provider
        self._tracer = provider.get_tracer("steadfast")

    @classmethod
    def as_environment_says(cls) -> Self:
        """Tracing with the exporter that the standard variables describe."""
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
        """Make the spans of a request that is over: one for the whole, and within it one for each stage.

        They belong to the trace that the header `traceparent` names, or begin a new one.
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
        """Send the spans that are left, and stop."""
        self._provider.shutdown()


def check_tracing(settings: Settings) -> None:
    """Raise SettingsError if `settings` ask for spans and the packages that send them are not installed."""
    if settings.tracing and not _is_there(EXPORTER):
        raise SettingsError(f"{PREFIX}TRACING needs more packages: pip install -e '.[tracing]' in a clone")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
