"""What comes of requests that are answered already, on an HTTP/2 connection of this process with a lower bound."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import StreamReset
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.server.transport import http2
from service.server.transport.http2 import Http2Connection, Idle
from service.server.transport.limits import ConnectionLimits
from tests.service.server.test_http2 import GET, POST, Caller

LIMITS = ConnectionLimits(
    max_connections=10, max_header_bytes=10_000, max_header_lines=100, header_timeout_s=60, keep_alive_s=60
)
MOST_BYTES = 100_000


async def answer_unread(scope: Any, receive: Any, send: Any) -> None:
    """Answer posts before their bodies, and other requests too."""
    del receive
    await send({"type": "http.response.start", "status": 415 if scope["method"] == "POST" else 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(act: Callable[[Caller], None]) -> None:
    """Let a caller act on a connection."""

    def call(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            act(Caller(connection))

    async def serve() -> None:
        config, state, idle = Config(answer_unread, lifespan="off"), ServerState(), Idle()
        config.load()
        server = await asyncio.get_running_loop().create_server(
            lambda: Http2Connection(config, state, {}, limits=LIMITS, idle=idle), "127.0.0.1", 0
        )
        async with server:
            await asyncio.to_thread(call, server.sockets[0].getsockname()[1])

    asyncio.run(serve())


def send_after_the_answer(caller: Caller, size: int) -> int:
    """Send a body of `size` bytes behind its answer, as far as the server takes it; returns the stream."""
    stream = caller.h2.get_next_available_stream_id()
    caller.h2.send_headers(stream, POST)
    caller.flush()
    assert caller.answer(stream)[0] == 415
    while size and not any(isinstance(event, StreamReset) for event in caller.events):
        piece = min(size, 10_000)
        if caller.h2.local_flow_control_window(stream) >= piece:
            caller.h2.send_data(stream, b" " * piece)
            caller.flush()
            size -= piece
        else:
            caller.read()
    return stream


@pytest.fixture(autouse=True)
def low_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "DISCARD_BYTES", MOST_BYTES)


def test_requests_that_are_answered_early_do_not_end_their_connection() -> None:
    def act(caller: Caller) -> None:
        for _ in range(5):
            caller.h2.end_stream(send_after_the_answer(caller, MOST_BYTES // 2))
        assert caller.answer(caller.ask(GET))[0] == 200

    ask(act)


def test_a_request_that_goes_on_too_long_after_its_answer_is_given_up_alone() -> None:
    def act(caller: Caller) -> None:
        stream = send_after_the_answer(caller, 10 * MOST_BYTES)
        reset = caller.find(StreamReset, stream)
        assert isinstance(reset, StreamReset)
        assert reset.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert caller.answer(caller.ask(GET))[0] == 200

    ask(act)
