"""Spans join the caller's trace and go where the standard variables say; without tracing nothing is loaded."""

import gzip
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.server.tracing import Stage, Tracing
from tests.service.conftest import ROOT, Server, wait_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]


def record(headers: list[tuple[bytes, bytes]], *stages: Stage, failed: bool = False) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    whole = Stage("POST /v1/task", time.perf_counter() - 1.0, 1.0)
    Tracing(provider).record(headers, whole, stages, {"http.response.status_code": 200}, failed=failed)
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_goes_on_with_the_trace_of_its_caller() -> None:
    span = record(HEADERS)["POST /v1/task"]
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize("headers", [[], [(b"traceparent", b"\xff nonsense")]])
def test_a_request_without_one_begins_a_trace(headers: list[tuple[bytes, bytes]]) -> None:
    assert record(headers)["POST /v1/task"].parent is None


def test_stages_are_spans_within_with_their_own_times() -> None:
    spans = record([], Stage("infer", time.perf_counter() - 0.75, 0.5))
    whole, infer = spans["POST /v1/task"], spans["infer"]
    assert infer.parent is not None
    assert infer.parent.span_id == whole.context.span_id
    times = [whole.start_time, infer.start_time, infer.end_time, whole.end_time]
    began, infer_began, infer_ended, ended = (time_ns or 0 for time_ns in times)
    assert infer_ended - infer_began == pytest.approx(0.5e9, rel=1e-6)
    assert began < infer_began < infer_ended < ended
    assert abs(ended - time.time_ns()) < 60e9


def test_a_failure_is_marked() -> None:
    assert not record([], failed=True)["POST /v1/task"].status.is_ok
    assert record([])["POST /v1/task"].status.is_unset


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """The address of a collector, and the requests it received."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_spans_reach_the_collector_that_the_environment_names(
    start_server: Callable[..., Server], package: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    endpoint, received = collector
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    server = start_server(package, tracing=True, environment=environment)
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    assert server.client.post("/v1/sentiment", json={"inputs": ["good"]}, headers=headers).status_code == 200

    def sent() -> set[str]:
        scopes = [scope for request in received for each in request.resource_spans for scope in each.scope_spans]
        return {span.name for scope in scopes for span in scope.spans if span.trace_id.hex() == TRACE}

    wait_for(lambda: sent() == {"POST /v1/sentiment", "tokenize", "queue", "infer"})
    resource = received[0].resource_spans[0].resource
    assert ("service.name", "steadfast") in {(each.key, each.value.string_value) for each in resource.attributes}


def test_nothing_of_it_is_loaded_where_it_is_off(package: Path) -> None:
    script = "import sys; from service.app import Steadfast; print([name for name in sys.modules if 'otlp' in name])"
    environment = os.environ | {"STEADFAST_PACKAGES": str(package)}
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"
