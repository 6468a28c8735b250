"""Bytes of all kinds against the socket: the server never fails and never dies."""

import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

from tests.service.conftest import Server

CASES = 300
BODY = b'{"inputs": ["the film was good"]}'
HEADERS = (
    b"Content-Type: application/json",
    b"Content-Type: application/json; charset=utf-8",
    b"Content-Type: text/plain",
    b"Content-Length: 33",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 1_0",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Authorization: Bearer \xff\xfe",
    b"X-Request-ID: \x01\x02",
    b"X-Request-Timeout-Ms: 1e9",
    b"X-Request-Timeout-Ms: \xd9\xa3",
    b"traceparent: 00-0-0-00",
    b"Host: x\r\nHost: y",
    b" folded: line",
    b"no colon",
    b": no name",
    b"Long: " + b"x" * 70_000,
)
TARGETS = (
    b"/v1/sentiment", b"/v1/nli", b"/v1/models", b"/v1/models/%00", b"/v1/models/..%2f..%2fetc", b"/metrics", b"/livez",
    b"/readyz", b"/docs.json", b"/schema.json", b"/", b"*", b"//", b"/v1/sentiment?x=%ff", b"http://x/v1/sentiment",
    b"/" + b"a" * 20_000, b"/\xff\xfe", b"", b"/v1/sentiment#x",
)  # fmt: skip
METHODS = (b"POST", b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT", b"BREW", b"post", b"")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"", b"TLS")
BODIES = (
    BODY, b"", b"{", b"5\r\nhello\r\n0\r\n\r\n", b"21\r\n" + BODY + b"\r\n0\r\n\r\n", b"zz\r\n",
    b"ffffffffffffffff\r\nx", b"-1\r\n\r\n", b"\x00" * 100,
)  # fmt: skip


def requests(chance: random.Random) -> Iterator[bytes]:
    """Broken requests: pieces put together at random, then bytes changed, lost and repeated."""
    while True:
        head = b" ".join((chance.choice(METHODS), chance.choice(TARGETS), chance.choice(VERSIONS)))
        lines = [head, *chance.sample(HEADERS, chance.randrange(5))]
        request = b"\r\n".join(lines) + b"\r\n\r\n" + chance.choice(BODIES)
        match chance.randrange(6):
            case 0:
                request = chance.randbytes(chance.randrange(1, 300))
            case 1:
                spoiled = bytearray(request)
                for _ in range(chance.randrange(1, 6)):
                    spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
                request = bytes(spoiled)
            case 2:
                request = request[: chance.randrange(1, len(request) + 1)]
            case 3:
                request = request * chance.randrange(2, 5)
        yield request


def exchange(port: int, request: bytes, *, hang_up: bool) -> bytes:
    """Send bytes and return the answer: its first part, or with `hang_up` everything until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as connection:
        said = b""
        try:
            connection.sendall(request)
            if hang_up:
                # If the server has closed already, there is nothing to shut, but its answer can still be read.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                connection.settimeout(10)
            while piece := connection.recv(65_536):
                said += piece
        except (TimeoutError, ConnectionError):
            # A server may wait for more bytes, or close where these are no request; it may not fail.
            pass
        return said


def test_no_bytes_make_the_server_fail(server: Server) -> None:
    workers = server.workers()
    chance = random.Random(20_261_121)
    generated = requests(chance)
    for number in range(CASES):
        request = next(generated)
        said = exchange(server.port, request, hang_up=chance.random() < 0.5)
        # 501 and 505 say that a method, a coding or a version is not known here.
        assert not re.search(rb"HTTP/1\.[01] 5(?!01|05)\d\d", said), request[:500]
        if number % 25 == 0:
            assert server.ask(inputs=["good"]).status_code == 200, request[:500]
    assert server.ask(inputs=["good"]).status_code == 200
    assert server.workers() == workers
    assert not any(line["event"] == "failed" for line in server.log_lines())
