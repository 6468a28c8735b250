"""The edges of HTTP, over real sockets: offers, headers without end, silent callers, early answers, other protocols."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.server.transport.http2 import PREFACE
from tests.service.conftest import ROOT, Server, free_port, wait_for

BODY = b'{"inputs": ["the film was good"]}'
POST = b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE = POST + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAA\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
IN_A_BODY = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


class Reply(NamedTuple):
    """The first answer on a connection."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def code(self) -> str:
        """The code of the problem, which has the fields of every problem and the id that its header has."""
        assert self.headers["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert document["request_id"] == self.headers["x-request-id"] != ""
        assert document["status"] == self.status
        return str(document["code"])


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        yield connection


def read_reply(connection: socket.socket) -> Reply:
    said = b""
    while b"\r\n\r\n" not in said:
        piece = connection.recv(65_536)
        assert piece, f"closed after {said!r}"
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)])
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    return Reply(int(first.split()[1]), headers, body)


def ask(server: Server, *pieces: bytes) -> Reply:
    """Send pieces on a new connection, each when the server has read the one before, and read the answer."""
    with connected(server) as connection:
        for piece in pieces:
            connection.sendall(piece)
            wait_until_read(server, connection)
        return read_reply(connection)


def wait_until_read(server: Server, *connections: socket.socket) -> None:
    """Wait until the server has taken all that was sent on these connections from the system, or has closed them."""
    wait_for(lambda: not any(unread_bytes(server, connection) for connection in connections), every_s=0.001)


def unread_bytes(server: Server, connection: socket.socket) -> int:
    """Bytes that were sent on a connection and that the server has not read, as Linux counts them at both ends."""
    ours, unread = connection.getsockname()[1], 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        sent, received = (int(queue, 16) for queue in queues.split(":"))
        ends = int(local[-4:], 16), int(remote[-4:], 16)
        unread += {(ours, server.port): sent, (server.port, ours): received}.get(ends, 0)
    return unread


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closes the connection without another word; waits until it does."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def is_held(server: Server, connection: socket.socket) -> bool:
    """Whether the server has its end of the connection open."""
    (worker,) = server.workers()
    ours = connection.getsockname()[1]
    return any(one.raddr and one.raddr.port == ours for one in psutil.Process(worker).net_connections())


@pytest.fixture(scope="module")
def strict(start_server: Callable[..., Server], package: Path) -> Server:
    """A server with short times and few connections."""
    return start_server(package, header_timeout_s=1, keep_alive_s=1, max_connections=8)


@pytest.fixture(scope="module")
def narrow(start_server: Callable[..., Server], package: Path) -> Server:
    """A server with few connections, which closes none for its silence while a test looks."""
    return start_server(package, header_timeout_s=60, max_connections=8)


# Offers of other protocols.


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("cut", [0, 1, 20, 10_000], ids=["head", "first-byte", "middle", "one-segment"])
def test_an_offer_of_http_2_is_ignored_and_the_body_is_read(server: Server, framing: bytes, cut: int) -> None:
    head, _, body = framing.partition(b"\r\n\r\n")
    pieces = [POST + H2C + head + b"\r\n\r\n" + body[:cut], body[cut:]]
    reply = ask(server, *filter(None, pieces))
    assert (reply.status, json.loads(reply.body)["results"][0]["label"]) == (200, "positive")


def test_requests_go_on_behind_an_offer(server: Server) -> None:
    offer = POST + H2C + LENGTH
    with connected(server) as connection:
        for _ in range(3):
            connection.sendall(offer)
            assert read_reply(connection).status == 200
        connection.sendall(GET + H2C + b"\r\n")
        assert read_reply(connection).status == 200


def test_many_offers_in_one_segment_are_answered_one_by_one(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall((GET + H2C + b"\r\n") * 50)
        said = b""
        while said.count(b"HTTP/1.1 200 OK") < 50:
            said += connection.recv(65_536)
    assert len(re.findall(rb"HTTP/1\.1 ", said)) == 50


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/chat", 404, "not_found"), ("/v1/sentiment", 405, "method_not_allowed")]
)
def test_a_websocket_gets_the_problem_that_a_plain_request_gets(
    server: Server, path: str, status: int, code: str
) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIA==\r\nSec-WebSocket-Version: 13\r\n"
    reply = ask(server, b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), offer))
    assert (reply.status, reply.code) == (status, code)


# What is no HTTP, or another one.


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, 400, "bad_request"),
        (b"hello\r\n\r\n", 400, "bad_request"),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "bad_request"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "not_implemented"),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 501, "not_implemented"),
        (b"BREW /v1/sentiment HTTP/1.1\r\nHost: x\r\n\r\n", 501, "not_implemented"),
        (b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n", 501, "not_implemented"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"),
    ],
    ids=["tls", "words", "no-host", "hosts", "lengths", "old-chunks", "coding", "proxy", "verb", "small", "chunk"],
)
def test_what_is_no_request_gets_a_problem_and_the_end(server: Server, sent: bytes, status: int, code: str) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        reply = read_reply(connection)
        assert (reply.status, reply.code, reply.headers["connection"]) == (status, code, "close")
        assert is_closed(connection)


def test_http_2_is_not_begun_in_the_middle_of_a_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(GET + b"\r\n")
        assert read_reply(connection).status == 200
        connection.sendall(PREFACE)
        reply = read_reply(connection)
        assert (reply.status, reply.code) == (505, "version_not_supported")
        assert is_closed(connection)


def test_what_is_no_request_is_logged_and_counted(server: Server) -> None:
    reply = ask(server, b"hello\r\n\r\n")
    request_id = reply.headers["x-request-id"]
    wait_for(lambda: any(line.get("request_id") == request_id for line in server.log_lines()))
    (line,) = [line for line in server.log_lines() if line.get("request_id") == request_id]
    assert (line["status"], line["code"]) == (400, "bad_request")
    assert 'steadfast_rejections_total{reason="bad_request"}' in server.client.get("/metrics").text


def test_an_answer_comes_before_the_problem_of_what_was_sent_behind_its_request(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(WHOLE + b"garbage\r\n\r\n")
        said = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb"HTTP/1\.1 (\d+)", said) == [b"200", b"400"]


def test_the_end_of_a_caller_that_spoke_no_http_does_not_cost_it_the_answer(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"hello\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert read_reply(connection).code == "bad_request"
        assert is_closed(connection)


# Headers.


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"x" * 40_000 + b"\r\n\r\n",
        GET + b"X: " + b"x" * 40_000,
        GET + b"X: y\r\n" * 100 + b"\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 40_000,
        GET + b"x" * 40_000,
        IN_A_BODY + b"0\r\nX: " + b"x" * 400_000,
        IN_A_BODY + b"0\r\n" + b"X: y\r\n" * 100,
        IN_A_BODY + b"1;" + b"x" * 400_000,
    ],
    ids=["whole", "begun", "lines", "path", "path-begun", "name", "trailer", "trailers", "chunk-extension"],
)
def test_headers_beyond_the_bounds_are_refused_before_they_end(server: Server, head: bytes) -> None:
    assert ask(server, head).code == "headers_too_large"


def test_headers_within_the_bounds_are_taken(server: Server) -> None:
    assert ask(server, GET + b"X: " + b"x" * 32_000 + b"\r\n\r\n").status == 200
    assert ask(server, GET + b"X: y\r\n" * 99 + b"\r\n").status == 200
    with connected(server) as connection:
        # The bounds hold for each request, not for a connection.
        for _ in range(3):
            connection.sendall(GET + b"X: " + b"x" * 20_000 + b"\r\n\r\n")
            assert read_reply(connection).status == 200


@pytest.mark.parametrize("line", [b"X" * 60_000_000, b"A: b\r\n" * 300_000], ids=["one", "many"])
def test_headers_of_megabytes_are_refused_at_once_and_not_kept(server: Server, line: bytes) -> None:
    (worker,) = server.workers()
    process = psutil.Process(worker)
    before = process.memory_info().rss
    with connected(server) as connection:
        connection.sendall(GET + line[:2_000_000])
        assert read_reply(connection).code == "headers_too_large"
        # The rest is read and thrown away, until the server has waited for long enough.
        with suppress(ConnectionError):
            connection.sendall(line[2_000_000:])
    assert process.memory_info().rss - before < 20_000_000


def test_a_trailer_does_not_become_a_header(server: Server) -> None:
    reply = ask(server, POST + CHUNKED[: -len(b"\r\n")] + b"X-Request-Timeout-Ms: nonsense\r\n\r\n")
    assert reply.status == 200


# Time and number.


def test_silent_connections_are_closed(strict: Server) -> None:
    with connected(strict) as connection:
        assert is_closed(connection)


@pytest.mark.parametrize("start", [GET, b"G", b"P", PREFACE[:20], b"GET /livez HTTP/1.1\r\nHo"])
def test_headers_without_an_end_are_a_408(strict: Server, start: bytes) -> None:
    with connected(strict) as connection:
        connection.sendall(start)
        assert read_reply(connection).code == "header_timeout"
        assert is_closed(connection)


def test_headers_that_come_by_the_byte_are_a_408_too(strict: Server) -> None:
    with connected(strict) as connection:
        connection.settimeout(0.1)
        for byte in GET * 100:
            try:
                connection.sendall(bytes([byte]))
                connection.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                continue
        connection.settimeout(60)
        assert read_reply(connection).code == "header_timeout"


def test_empty_lines_do_not_hold_a_connection(strict: Server) -> None:
    with connected(strict) as connection:
        connection.settimeout(0.1)
        for _ in range(600):
            try:
                connection.sendall(b"\r\n")
                assert connection.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is still open")


def test_an_idle_connection_is_closed_after_its_time(strict: Server) -> None:
    with connected(strict) as connection:
        for _ in range(2):
            connection.sendall(GET + b"\r\n")
            assert read_reply(connection).status == 200
        assert is_closed(connection)


def test_a_second_request_that_does_not_end_is_a_408(strict: Server) -> None:
    with connected(strict) as connection:
        connection.sendall(GET + b"\r\n" + GET)
        assert read_reply(connection).status == 200
        assert read_reply(connection).code == "header_timeout"


def test_a_caller_who_does_not_read_its_answers_is_cut_off(strict: Server) -> None:
    request = b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", strict.port))
        connection.sendall(request * 90)
        wait_for(lambda: not is_held(strict, connection))


def test_a_connection_beyond_the_limit_takes_the_place_of_one_that_is_idle(narrow: Server) -> None:
    with connected(narrow) as first:
        first.sendall(GET + b"\r\n")
        assert read_reply(first).status == 200
        others = [socket.create_connection(("127.0.0.1", narrow.port), timeout=20) for _ in range(20)]
        others[-1].sendall(GET + b"\r\n")
        assert read_reply(others[-1]).status == 200
        first.settimeout(20)
        assert all(map(is_closed, [first, *others[:12]]))
        assert all(is_held(narrow, other) for other in others[12:])
        for other in others:
            other.close()


def test_a_connection_beyond_the_limit_is_refused_while_all_others_are_at_work(strict: Server) -> None:
    busy = [socket.create_connection(("127.0.0.1", strict.port), timeout=60) for _ in range(8)]
    for connection in busy:
        connection.sendall(POST + b"Content-Length: 999\r\n\r\n{")
    wait_until_read(strict, *busy)
    reply = ask(strict)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "too_many_connections", "1")
    for connection in busy:
        connection.close()
    wait_for(lambda: ask(strict, GET + b"\r\n").status == 200)


def test_callers_who_do_not_read_their_refusal_make_room_for_others(strict: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", strict.port), timeout=60) for _ in range(8)]
    for connection in idle:
        connection.sendall(POST.replace(b"/json", b"/pdf") + b"Content-Length: 999\r\n\r\n{")
        assert connection.recv(12) == b"HTTP/1.1 415"
    assert ask(strict, GET + b"\r\n").status == 200
    for connection in idle:
        connection.close()


@pytest.mark.parametrize(
    ("hard", "fit", "soft_then"), [(5_000, 1_024, 1_280), (600, 344, 600), (100, 1, 100)], ids=["room", "less", "none"]
)
def test_connections_fit_into_the_open_files_that_the_system_allows(hard: int, fit: int, soft_then: int) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (80, {hard}))
from service.server.transport.limits import reserve_files
print(reserve_files(1_024), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{fit} {soft_then} {hard}"
    assert ("few_open_files" in done.stdout + done.stderr) == (fit < 1_024)


def test_requests_far_ahead_of_their_answers_are_refused(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(WHOLE * 300)
        said = b"".join(iter(lambda: connection.recv(65_536), b""))
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", said)
    assert statuses == [b"200"] * (len(statuses) - 1) + [b"429"]
    assert len(statuses) > 100


# Answers that come before the request has ended.


def urllib_status(url: str, size: int) -> int:
    request = urllib.request.Request(url, b" " * size, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    return refused.value.code


def requests_status(url: str, size: int) -> int:
    return requests.post(url, b" " * size, headers={"Content-Type": "application/json"}, timeout=60).status_code


def httpx_status(url: str, size: int) -> int:
    return httpx.post(url, content=b" " * size, headers={"Content-Type": "application/json"}, timeout=60).status_code


@pytest.mark.parametrize("size", [3_000_000, 40_000_000])
@pytest.mark.parametrize("status_of", [urllib_status, requests_status, httpx_status])
@pytest.mark.parametrize(("path", "status"), [("/v1/sentiment", 413), ("/nowhere", 404), ("/livez", 405)])
def test_the_refusal_of_a_large_body_reaches_its_caller(
    server: Server, status_of: Callable[[str, int], int], size: int, path: str, status: int
) -> None:
    assert status_of(f"http://127.0.0.1:{server.port}{path}", size) == status


def test_who_waits_for_a_go_ahead_gets_the_refusal_instead(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3000000\r\n\r\n")
        reply = read_reply(connection)
        assert (reply.status, reply.code, reply.headers["connection"]) == (413, "payload_too_large", "close")
        assert is_closed(connection)


def test_a_refused_caller_who_stays_silent_is_let_go(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(POST + b"Content-Length: 3000000\r\n\r\n")
        assert read_reply(connection).status == 413
        wait_for(lambda: not is_held(server, connection))


def test_who_waits_for_a_go_ahead_gets_it(server: Server) -> None:
    head, body = WHOLE.split(b"\r\n\r\n")
    with connected(server) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_reply(connection).status == 200


def test_a_caller_who_leaves_is_noticed_behind_further_requests(server: Server) -> None:
    body = json.dumps({"inputs": ["the film was not boring " * 20] * 60, "explain": "occlusion"}).encode()
    head = POST + b"X-Request-ID: left-early\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connected(server) as connection:
        connection.sendall(head + body + GET + b"\r\n")
    wait_for(lambda: any(line.get("request_id") == "left-early" for line in server.log_lines()))
    (line,) = [line for line in server.log_lines() if line.get("request_id") == "left-early"]
    assert line["status"] == 499


def test_a_refused_request_that_is_all_there_keeps_its_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(WHOLE.replace(b"/json", b"/pdf"))
        assert read_reply(connection).status == 415
        connection.sendall(WHOLE)
        assert read_reply(connection).status == 200


# Whoever starts the server.


def test_bentoml_holds_connections_in_the_same_way(package: Path, tmp_path: Path) -> None:
    port = free_port()
    variables = {
        **os.environ,
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "STEADFAST_PACKAGES": str(package),
        "STEADFAST_MAX_HEADER_LINES": "20",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Steadfast", "--port", str(port)]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        server = Server(port, log, client, process)
        try:
            wait_for(lambda: is_ready(client))
            assert ask(server, POST + H2C + LENGTH).status == 200
            assert ask(server, GET + b"X: y\r\n" * 20 + b"\r\n").code == "headers_too_large"
            assert ask(server, b"hello\r\n\r\n").code == "bad_request"
            assert urllib_status(f"http://127.0.0.1:{port}/v1/sentiment", 3_000_000) == 413
        finally:
            process.send_signal(signal.SIGTERM)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


# Anything at all.

PIECES = st.sampled_from(
    [POST, GET, H2C, LENGTH, CHUNKED, WHOLE, BODY, IN_A_BODY, b"\r\n", b"\r\n\r\n", b"X: y\r\n", b" ", b"0\r\n\r\n",
     b"GET / HTTP/1.0\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"Content-Length: 7\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: \x00\r\n",
     b"Transfer-Encoding: chunked\r\n", b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=st.lists(st.lists(PIECES | st.binary(max_size=40), max_size=6).map(b"".join), min_size=1, max_size=4))
def test_no_segments_make_the_server_fail(server: Server, segments: list[bytes]) -> None:
    said = b""
    with connected(server) as connection:
        try:
            for segment in segments:
                connection.sendall(segment)
                wait_until_read(server, connection)
            with suppress(OSError):  # The server may have closed already; its answer can still be read.
                connection.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: connection.recv(65_536), b""))
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert not re.search(rb"HTTP/1\.[01] 5(?!01|05)\d\d", said)
    assert len(re.findall(rb"HTTP/1\.1 [45]\d\d ", said)) == said.count(b"content-type: application/problem+json")
    assert server.ask(inputs=["good"]).status_code == 200


def test_nothing_here_failed_inside_the_server(server: Server) -> None:
    assert not any(line["event"] == "failed" or line["level"] == "error" for line in server.log_lines())
