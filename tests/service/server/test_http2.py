"""HTTP/2 by prior knowledge, over real sockets: answers as over HTTP/1.1, and the same bounds."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.server.transport.http2 import MOST_STREAMS, MOST_TASKS, PREFACE
from tests.service.conftest import Server, wait_for

BODY = b'{"inputs": ["the film was good"]}'
POST = [(":method", "POST"), (":path", "/v1/sentiment"), (":scheme", "http"), (":authority", "x")]
JSON = ("content-type", "application/json")
GET = [(":method", "GET"), (":path", "/livez"), (":scheme", "http"), (":authority", "x")]
READY = [(":method", "GET"), (":path", "/readyz"), (":scheme", "http"), (":authority", "x")]


class Caller:
    """A connection whose frames a test chooses."""

    def __init__(self, connection: socket.socket, *, window: int | None = None) -> None:
        self.socket = connection
        self.h2 = H2Connection(H2Configuration(validate_outbound_headers=False))
        if window is not None:
            self.h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
            self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.is_closed = False
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def ask(self, headers: list[tuple[str, str]], body: bytes | None = None) -> int:
        """Send a request; with a body of None it has none."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=body is None)
        pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)] if body else []
        for piece in pieces:
            self.h2.send_data(stream_id, piece, end_stream=piece is pieces[-1])
        self.flush()
        return stream_id

    def read(self) -> None:
        """Wait for bytes or the end."""
        data = self.socket.recv(65_536)
        self.is_closed = not data
        self.events += self.h2.receive_data(data)
        self.flush()

    def find(self, kind: type[Event], stream_id: int | None = None) -> Event:
        """The first event of a kind, waited for."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", None) in (stream_id, None):
                    return event
            assert not self.is_closed, "closed"
            self.read()

    def answer(self, stream_id: int) -> tuple[int, bytes]:
        """The status and the body of an answer that has ended."""
        head = self.find(ResponseReceived, stream_id)
        self.find(StreamEnded, stream_id)
        assert isinstance(head, ResponseReceived)
        pieces = [one for one in self.events if isinstance(one, DataReceived) and one.stream_id == stream_id]
        return int(dict(head.headers or ())[b":status"]), b"".join(piece.data for piece in pieces)

    def until_closed(self) -> None:
        while not self.is_closed:
            self.read()


@contextmanager
def calling(server: Server, *, window: int | None = None) -> Iterator[Caller]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        yield Caller(connection, window=window)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.client.base_url, http1=False, http2=True, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def strict(start_server: Callable[..., Server], package: Path) -> Server:
    """A server with short times."""
    return start_server(package, header_timeout_s=1, keep_alive_s=1, body_timeout_s=1)


def test_an_answer_is_that_of_http_1(server: Server, client: httpx.Client) -> None:
    request = {"inputs": ["the film was good", "a bad film"], "explain": "attention"}
    one, two = server.ask(**request), client.post("/v1/sentiment", json=request)
    assert (two.http_version, two.status_code) == ("HTTP/2", 200)
    assert two.json()["results"] == one.json()["results"]
    assert two.headers["x-request-id"] == two.json()["id"]
    assert set(one.headers) - set(two.headers) == {"transfer-encoding"} & set(one.headers)


def test_many_requests_are_answered_on_one_connection_at_once(server: Server) -> None:
    with calling(server) as caller:
        streams = [caller.ask([*POST, JSON], BODY) for _ in range(MOST_STREAMS)]
        assert [caller.answer(stream)[0] for stream in streams] == [200] * MOST_STREAMS
        assert caller.answer(caller.ask([*POST, JSON], BODY))[0] == 200


def test_large_bodies_and_answers_fit_through_the_windows(client: httpx.Client) -> None:
    answer = client.post("/v1/sentiment", json={"inputs": ["good film " * 1_000] * 20, "explain": "attention"})
    assert (answer.status_code, len(answer.json()["results"])) == (200, 20)
    assert len(answer.content) > 500_000


def test_an_answer_waits_for_room_at_the_callers_end(server: Server) -> None:
    with calling(server, window=10) as caller:
        stream = caller.ask([*GET[:1], (":path", "/docs.json"), *GET[2:]])
        said = 0
        while not any(isinstance(event, StreamEnded) for event in caller.events):
            caller.read()
            now = sum(event.flow_controlled_length for event in caller.events if isinstance(event, DataReceived))
            if now > said and not any(isinstance(event, StreamEnded) for event in caller.events):
                assert now - said <= 3_000
                caller.h2.increment_flow_control_window(3_000, stream)
                caller.h2.increment_flow_control_window(3_000)
                caller.flush()
                said = now
        assert json.loads(caller.answer(stream)[1]) == server.client.get("/docs.json").json()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/sentiment", 405, "method_not_allowed"),
        ("POST", "/v1/sentiment", 415, "unsupported_media_type"),
        ("CONNECT", "/", 501, "not_implemented"),
    ],
)
def test_problems_are_those_of_http_1(server: Server, method: str, path: str, status: int, code: str) -> None:
    with calling(server) as caller:
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]
        told, body = caller.answer(caller.ask(head))
        assert (told, json.loads(body)["code"]) == (status, code)


def test_head_gets_no_body(client: httpx.Client) -> None:
    answer = client.head("/readyz")
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_refusal_of_a_large_body_comes_before_its_end(server: Server) -> None:
    with calling(server) as caller:
        stream = caller.h2.get_next_available_stream_id()
        caller.h2.send_headers(stream, [*POST, JSON, ("content-length", "3000000")])
        caller.h2.send_data(stream, b" " * 10_000)
        caller.flush()
        told, body = caller.answer(stream)
        assert (told, json.loads(body)["code"]) == (413, "payload_too_large")
        # What still comes is thrown away.
        caller.h2.send_data(stream, b" " * 10_000)
        assert caller.answer(caller.ask(GET))[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [("/v1/sentiment", 413, 20_000_000), ("/nowhere", 404, 3_000_000), ("/livez", 405, 3_000_000)],
)
def test_the_refusal_of_a_large_body_reaches_its_caller(
    client: httpx.Client, path: str, status: int, size: int
) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.post(path, content=b" " * size, headers=headers).status_code == status
    assert client.get("/livez").status_code == 200


def test_who_waits_for_a_go_ahead_gets_it(server: Server) -> None:
    with calling(server) as caller:
        stream = caller.h2.get_next_available_stream_id()
        caller.h2.send_headers(stream, [*POST, JSON, ("expect", "100-continue")])
        caller.flush()
        caller.find(InformationalResponseReceived, stream)
        caller.h2.send_data(stream, BODY, end_stream=True)
        caller.flush()
        assert caller.answer(stream)[0] == 200


def test_trailers_are_ignored(server: Server) -> None:
    with calling(server) as caller:
        stream = caller.h2.get_next_available_stream_id()
        caller.h2.send_headers(stream, [*POST, JSON])
        caller.h2.send_data(stream, BODY)
        caller.h2.send_headers(stream, [("x-request-timeout-ms", "nonsense")], end_stream=True)
        caller.flush()
        assert caller.answer(stream)[0] == 200


def test_the_preface_may_come_by_the_byte(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PREFACE[:-1]:
            connection.sendall(bytes([byte]))
        connection.sendall(PREFACE[-1:] + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        # The server's settings come first.
        assert connection.recv(9)[3] == 4


# Bounds.


def test_the_bounds_are_announced(server: Server) -> None:
    with calling(server) as caller:
        event = caller.find(RemoteSettingsChanged)
        assert isinstance(event, RemoteSettingsChanged)
        announced = {name: setting.new_value for name, setting in event.changed_settings.items()}
        assert announced[SettingCodes.MAX_CONCURRENT_STREAMS] == MOST_STREAMS
        assert announced[SettingCodes.MAX_HEADER_LIST_SIZE] == 32_768


@pytest.mark.parametrize("extra", [[("x", "x" * 40_000)], [("x", "y")] * 101], ids=["bytes", "lines"])
def test_headers_beyond_the_bounds_are_refused(server: Server, extra: list[tuple[str, str]]) -> None:
    with calling(server) as caller:
        told, body = caller.answer(caller.ask([*GET, *extra]))
        assert (told, json.loads(body)["code"]) == (431, "headers_too_large")
        assert caller.answer(caller.ask(GET))[0] == 200


def test_headers_without_an_end_close_the_connection_and_are_not_kept(server: Server) -> None:
    (worker,) = server.workers()
    before = psutil.Process(worker).memory_info().rss
    with calling(server) as caller, suppress(ConnectionError):
        caller.socket.sendall(b"\x00\x40\x00\x01\x00\x00\x00\x00\x01" + b"\x00" * 16_384)
        for _ in range(2_000):
            caller.socket.sendall(b"\x00\x40\x00\x09\x00\x00\x00\x00\x01" + b"\x00" * 16_384)
        caller.until_closed()
    assert psutil.Process(worker).memory_info().rss - before < 20_000_000


def test_requests_that_are_given_up_at_once_end_the_connection_not_the_server(server: Server) -> None:
    with calling(server) as caller:
        with suppress(ConnectionError):
            for _ in range(5 * MOST_TASKS):
                stream = caller.h2.get_next_available_stream_id()
                caller.h2.send_headers(stream, [*POST, JSON])
                caller.h2.reset_stream(stream)
            caller.flush()
        with suppress(ConnectionError):
            caller.until_closed()
    ended = [event for event in caller.events if isinstance(event, ConnectionTerminated)]
    assert [event.error_code for event in ended] in ([], [ErrorCodes.ENHANCE_YOUR_CALM])
    assert server.ask(inputs=["good"]).status_code == 200


def test_who_asks_for_echoes_and_reads_none_is_read_no_further(strict: Server) -> None:
    (worker,) = strict.workers()
    before = psutil.Process(worker).memory_info().rss
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"steadfas"
    with socket.create_connection(("127.0.0.1", strict.port), timeout=60) as connection, suppress(ConnectionError):
        connection.sendall(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        while True:
            # This blocks when the server reads no more, and ends when it closes the connection.
            connection.sendall(ping * 10_000)
    assert psutil.Process(worker).memory_info().rss - before < 20_000_000


def test_bodies_that_are_too_much_together_are_refused(server: Server) -> None:
    with calling(server) as caller:
        streams = []
        for _ in range(12):
            stream = caller.h2.get_next_available_stream_id()
            caller.h2.send_headers(stream, [*POST, JSON])
            streams.append(stream)
            left = 1_500_000
            while left:
                size = min(left, caller.h2.local_flow_control_window(stream), 16_384)
                if size:
                    caller.h2.send_data(stream, b" " * size)
                    caller.flush()
                    left -= size
                else:
                    caller.read()
        told = [caller.answer(stream) for stream in streams[-2:]]
        assert [(status, json.loads(body)["code"]) for status, body in told] == [(429, "overloaded")] * 2
        caller.h2.send_data(streams[0], BODY, end_stream=True)
        caller.flush()
        assert caller.answer(streams[0])[0] == 200


def test_silent_connections_are_closed(strict: Server) -> None:
    with calling(strict) as caller:
        caller.until_closed()
        assert isinstance(caller.find(ConnectionTerminated), ConnectionTerminated)


def test_an_idle_connection_is_closed_though_it_sends_echoes(strict: Server) -> None:
    with calling(strict) as caller:
        assert caller.answer(caller.ask(GET))[0] == 200
        caller.socket.settimeout(0.1)
        # Closing may be seen as a frame, as the end of what is read, or as a connection that takes nothing more.
        with suppress(ConnectionError):
            while not caller.is_closed and not any(isinstance(one, ConnectionTerminated) for one in caller.events):
                with suppress(TimeoutError):
                    caller.h2.ping(b"01234567")
                    caller.flush()
                    caller.read()


def test_a_body_that_does_not_come_is_a_408(strict: Server) -> None:
    with calling(strict) as caller:
        stream = caller.h2.get_next_available_stream_id()
        caller.h2.send_headers(stream, [*POST, JSON])
        caller.flush()
        told, body = caller.answer(stream)
        assert (told, json.loads(body)["code"]) == (408, "body_timeout")


def test_a_caller_who_leaves_no_room_for_its_answer_is_given_up(strict: Server) -> None:
    with calling(strict, window=0) as caller:
        stream = caller.ask(GET)
        reset = caller.find(StreamReset, stream)
        assert isinstance(reset, StreamReset)
        assert reset.error_code == ErrorCodes.CANCEL


def test_echoes_win_no_time_for_an_answer_that_finds_no_room(strict: Server) -> None:
    with calling(strict, window=0) as caller:
        caller.ask(GET)
        caller.socket.settimeout(0.1)
        # Ten times as long as the server waits.
        for _ in range(100):
            caller.h2.ping(b"01234567")
            caller.flush()
            with suppress(TimeoutError):
                while not any(isinstance(event, StreamReset) for event in caller.events):
                    caller.read()
        assert any(isinstance(event, StreamReset) for event in caller.events)


def test_a_caller_who_gives_up_a_request_is_noticed(server: Server) -> None:
    body = json.dumps({"inputs": ["the film was not boring " * 20] * 60, "explain": "occlusion"}).encode()
    with calling(server) as caller:
        stream = caller.ask([*POST, JSON, ("x-request-id", "given-up")], body)
        caller.h2.reset_stream(stream)
        caller.flush()
        wait_for(lambda: any(line.get("request_id") == "given-up" for line in server.log_lines()))
        assert caller.answer(caller.ask(GET))[0] == 200
    (line,) = [line for line in server.log_lines() if line.get("request_id") == "given-up"]
    assert line["status"] == 499


def test_what_is_under_way_is_answered_after_sigterm(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package)
    with calling(server) as caller:
        stream = caller.h2.get_next_available_stream_id()
        caller.h2.send_headers(stream, [*POST, JSON, ("expect", "100-continue")])
        caller.flush()
        caller.find(InformationalResponseReceived, stream)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: caller.answer(caller.ask(READY))[0] == 503)
        caller.h2.send_data(stream, BODY, end_stream=True)
        caller.flush()
        assert caller.answer(stream)[0] == 200
        caller.until_closed()
    assert server.process.wait(timeout=30) == 0


# Anything at all.


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255) | st.sampled_from([0, 1, 4, 5]),
    st.integers(0, 9) | st.integers(0, 2**32 - 1),
    st.binary(max_size=60)
    | st.just(b"\x83\x84\x86")
    | st.just(b"\x82\x84\x86\x41\x01x")
    | st.just(b"\x00\x00\x00\x04"),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(FRAMES | st.binary(max_size=30), max_size=12))
def test_no_frames_make_the_server_fail(server: Server, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection, suppress(ConnectionError):
        connection.sendall(PREFACE + frame(4, 0, 0, b"") + b"".join(pieces))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert server.ask(inputs=["good"]).status_code == 200


def test_nothing_here_failed_inside_the_server(server: Server) -> None:
    lines = server.log_lines()
    assert not any(line["event"] == "failed" or line["level"] == "error" for line in lines), lines[-5:]
