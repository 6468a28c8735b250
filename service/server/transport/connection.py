"""One caller's connection: HTTP/1.1 as uvicorn speaks it, within limits on headers, time and number.

uvicorn keeps whatever comes until a header is whole, waits for ever for callers who send nothing, stops at the offer of
another protocol, and answers what is no HTTP in plain text. Here each of these has a bound or a problem document. What
is refused goes through the application as any request does, so that it gets an id, a line in the log and a count.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from http import HTTPMethod
from typing import Any

import httptools
from uvicorn.config import HTTP_PROTOCOLS, Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from models.errors import shorten
from service.server.problems import REFUSAL, Problem
from service.server.transport.answers import AnswerWriter
from service.server.transport.discarding import Discarding
from service.server.transport.heads import HeadMeter, check_head
from service.server.transport.http2 import PREFACE, Http2Connection, Idle
from service.server.transport.limits import ConnectionLimits, reserve_files

SPARE_CONNECTIONS = 64
"""Connections beyond the limit that are told so; any more are cut without a word."""

MOST_PIPELINED = 100
"""Most requests that a caller may send ahead of their answers."""

_REQUEST_LINE = re.compile(rb"([!-~]+) [!-~]+ HTTP/1\.[01]\r?\n")
_METHODS = frozenset(method.encode() for method in HTTPMethod)

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


def install(limits: ConnectionLimits) -> None:
    """Have every uvicorn that is started in this process from now on hold its connections by `Connection`.

    BentoML starts uvicorn itself and names no protocol, so that uvicorn looks one up under "auto".
    """
    idle: Idle = {}
    fit = reserve_files(limits.max_connections)
    HTTP_PROTOCOLS["auto"] = partial(Connection, limits=limits, fit=fit, idle=idle)  # type: ignore[assignment]


class Connection(HttpToolsProtocol):
    """A connection, from its first byte to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        fit: int,
        idle: Idle,
    ) -> None:
        """Bound a connection by `limits`; `fit` connections fit at once, and `idle` lists those without a request."""
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = limits.keep_alive_s  # type: ignore[assignment]
        self._limits = limits
        self._fit = fit
        self._idle = idle
        self._in_head = False
        self._in_body = False
        self._head = HeadMeter(limits)
        self._start: bytes | None = b""
        """Holds what came as long as it may be the beginning of HTTP/2; then None."""
        self._discarding: Discarding | None = None
        """Throws away all that comes, once nothing more is answered."""
        self._has_ended = False
        """Whether the caller sends no more."""
        self._lingers = False
        self._answering: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; where there is no room, close the connection that has been idle longest, or refuse."""
        super().connection_made(transport)
        excess = len(self.connections) - self._fit
        if excess > 0 and self._idle:
            next(iter(self._idle)).close_idle()
        elif excess > SPARE_CONNECTIONS:
            transport.abort()
            return
        elif excess > 0:
            detail = f"{self._fit:,} connections are open, as many as may be; try again later"
            self._refuse(Problem("too_many_connections", detail, headers={"Retry-After": "1"}))
            return
        self._idle[self] = None
        self._time(self._limits.header_timeout_s, self._end_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._idle.pop(self, None)
        self._untime()
        if self._discarding is not None:
            self._discarding.stop()
        self._unset_keepalive_if_required()
        self.resume_writing()
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells the request that came last, and this may be one before it.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, or throw it away where nothing more is answered."""
        self._unset_keepalive_if_required()
        if self._discarding is not None:
            self._discarding.discard(len(data))
            return
        if self._start is not None:
            self._start = data = self._start + data
            if data.startswith(PREFACE):
                self._change_to_http_2(data)
                return
            if PREFACE.startswith(data):
                return
            self._start = None
        elif not self._in_head and not self._in_body and data.startswith(PREFACE):
            detail = "HTTP/2 is spoken from the beginning of a connection, or not on it; open another one"
            self._refuse(Problem("version_not_supported", detail))
            return
        try:
            self._parse(data)
        except Problem as problem:
            self._refuse(problem)
            return
        except httptools.HttpParserError as error:
            self._refuse(_unreadable(error, data))
            return
        if self._in_body or not self._is_answered():
            self._untime()
        elif self._timer is None:
            self._time(self._limits.header_timeout_s, self._end_slow_head)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Close the connection, but answer what was refused before."""
        self._has_ended = True
        return self._discarding is not None and not self._is_answered()

    def pause_writing(self) -> None:
        """Give a caller who does not read its answer as long as one who sends nothing."""
        super().pause_writing()
        self._time_stall()

    def resume_writing(self) -> None:
        """Go on with a caller who reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Close when the request under way is answered; wait for no caller who only has to read."""
        if self._discarding is not None and self._is_answered():
            self.transport.close()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Start the next request, wait for one, or read on for a while where the answer came early."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._time_stall()
        elif self._lingers and self._is_answered():
            self._unset_keepalive_if_required()
            self._linger()
        elif self._is_answered() and self._in_head:
            self._unset_keepalive_if_required()
            self._time(self._limits.header_timeout_s, self._end_slow_head)
        elif self._is_answered():
            self._idle[self] = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for too long, whether its caller has read the last answer or not."""
        self.close_idle()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, partial(self._answer, cycle, app))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin the head of a request."""
        super().on_message_begin()
        self._idle.pop(self, None)
        self._in_head = True
        self._head.begin()

    def on_url(self, url: bytes) -> None:
        """Take the address, or a part of it."""
        self._head.count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One behind a body is counted and dropped: the request may be under way without it."""
        self._head.count(len(name) + len(value) + len(": \r\n"), lines=1)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless its head asks for what is not here."""
        self._head.let_go()
        if self.parser.get_method() == b"CONNECT":
            raise Problem("not_implemented", "this server is no proxy; ask it for its own addresses")
        if self.parser.should_upgrade():
            # The parser stops here. `_parse` goes on without the offer.
            return
        check_head(self.headers, self.parser.get_http_version())
        if len(self.pipeline) >= MOST_PIPELINED:
            raise Problem("overloaded", f"more than {MOST_PIPELINED} requests were sent ahead of their answers")
        super().on_headers_complete()
        self._in_head, self._in_body = False, True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._head.let_go()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._head.let_go()
        if self._in_body:
            self._in_body = False
            super().on_message_complete()

    # Our own.

    def close_idle(self) -> None:
        """Close a connection without a request; what its caller has not read is lost."""
        self._idle.pop(self, None)
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _change_to_http_2(self, data: bytes) -> None:
        """Hand the connection to another protocol, with what came."""
        self._untime()
        self._idle.pop(self, None)
        self.connections.discard(self)
        other = Http2Connection(self.config, self.server_state, self.app_state, limits=self._limits, idle=self._idle)
        self.transport.set_protocol(other)
        other.connection_made(self.transport)
        other.data_received(data)

    def _parse(self, data: bytes) -> None:
        """Parse `data`, and ignore offers of other protocols, as RFC 9110 (section 7.8) lets servers do."""
        self._head.begin_piece()
        size = len(data)
        while True:
            try:
                self.parser.feed_data(data)
                self._head.end_piece(size)
                return
            except httptools.HttpParserUpgrade as stop:
                data = self._head_without_offer() + data[stop.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                # As uvicorn does: more requests behind one that asks to close are ignored and do no harm.
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_offer(self) -> bytes:
        """The head that the parser stopped at, without the header `Upgrade`."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _is_answered(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    async def _answer(self, cycle: RequestResponseCycle, app: App, scope: Message, receive: Any, send: Any) -> None:
        """Answer a request, and say that the connection ends where the answer begins before the request has ended."""
        writer = AnswerWriter(self.transport)
        cycle.transport = writer  # type: ignore[assignment]

        async def receive_unless_broken() -> Any:
            message = await receive()
            if REFUSAL in scope:
                raise scope[REFUSAL]
            return message

        async def send_and_linger(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] != "HEAD":
                writer.hold_next()
            if message["type"] != "http.response.start" or not cycle.more_body:
                await send(message)
                return
            # uvicorn reads this twice: now, to write the header, and at the end, to close at once, which is too early.
            cycle.keep_alive = False
            self._lingers = True
            await send(message)
            cycle.keep_alive = True

        await app(scope, receive_unless_broken, send_and_linger)

    def _refuse(self, problem: Problem) -> None:
        """Answer no more than `problem`, after the requests that came before."""
        self._discarding = Discarding(self.transport, self.loop)
        self._untime()
        self._idle.pop(self, None)
        if self._in_body and not self._is_answered():
            under_way: Message = self.cycle.scope  # type: ignore[assignment]
            under_way[REFUSAL] = problem
            self.cycle.message_event.set()
            return
        method = self.parser.get_method().decode() if self._in_head and self.url else ""
        self.on_message_begin()
        scope: Message = self.scope  # type: ignore[assignment]
        scope.update(method=method, path="", raw_path=b"", query_string=b"")
        scope[REFUSAL] = problem
        cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        is_next, self.cycle = self._is_answered(), cycle
        if is_next:
            self._start_asgi_task(cycle, self.app)
        else:
            self.pipeline.appendleft((cycle, self.app))

    def _end_slow_head(self) -> None:
        """End the wait for a request: without a word where nothing came of it."""
        self._timer = None
        if (self._in_head or self._start) and not self.transport.is_closing():
            seconds = f"{self._limits.header_timeout_s:g}"
            self._refuse(Problem("header_timeout", f"the headers were not there within {seconds} s"))
        else:
            self.close_idle()

    def _linger(self) -> None:
        """End our side, and read what still comes, so that the caller gets the answer."""
        self._untime()
        if self._has_ended:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self._discarding is None:
            self._discarding = Discarding(self.transport, self.loop)
        self._discarding.linger(self.close_idle)
        # It is the first to go where another caller needs room.
        self._idle[self] = None

    def _time(self, seconds: float, end: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, end)

    def _untime(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_stall(self) -> None:
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.keep_alive_s, self.transport.abort)


def _unreadable(error: httptools.HttpParserError, data: bytes) -> Problem:
    """The reason why the parser stopped in `data`."""
    cause = error.__context__
    if isinstance(cause, Problem):
        return cause
    line = _REQUEST_LINE.match(data)
    if isinstance(error, httptools.HttpParserInvalidMethodError) and line and line[1] not in _METHODS:
        name = shorten(line[1].decode())
        return Problem("not_implemented", f"the method {name} is not known; send GET, HEAD or POST, in capitals")
    detail = f"this cannot be read as HTTP: {error}; send HTTP/1.1 in plain text, without TLS"
    return Problem("bad_request", detail)
