"""HTTP/2 in plain text, for callers who know before that the server speaks it (RFC 9113, section 3.3).

The library h2 keeps the protocol's state. Here each connection has the limits that those of HTTP/1.1 have, and each
request goes through the same application.
"""

import asyncio
from collections import Counter
from typing import Any, Protocol
from urllib.parse import unquote

import structlog
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from service.server.problems import REFUSAL, Problem
from service.server.transport.discarding import DISCARD_BYTES, DISCARD_S
from service.server.transport.heads import too_large_head
from service.server.transport.http2_stream import Message, Stream
from service.server.transport.limits import ConnectionLimits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The bytes that begin a connection."""

MOST_STREAMS = 100
"""Most requests under way on a connection."""
MOST_TASKS = 2 * MOST_STREAMS
"""Most requests whose work has not ended, those included that the caller has given up: opening and giving up requests
without an end is an attack (CVE-2023-44487)."""

MOST_BODY_BYTES = 16_000_000
"""Most bytes of bodies of the requests under way on a connection, where there are several."""

log = structlog.get_logger()


class Idler(Protocol):
    """A connection that may be without a request."""

    def close_idle(self) -> None:
        """Close it."""
        ...


Idle = dict[Idler, None]
"""Connections without a request, the one that has been so for longest first."""


class Http2Connection(asyncio.Protocol):
    """A connection, from its preface to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: ConnectionLimits,
        idle: Idle,
    ) -> None:
        """Answer by the application of `config`, within `limits`; `idle` lists connections without a request."""
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._limits = limits
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
            },
        )
        # A head that is a little too large is told so; beyond this, the connection ends.
        self._h2.decoder.max_header_list_size = 2 * limits.max_header_bytes
        self._streams: dict[int, Stream] = {}
        self._discarding: dict[int, asyncio.TimerHandle] = {}
        """Streams whose answer came before their request has ended, and what gives them up. Were they given up at once,
        many clients would lose the answer."""
        self._discarded: Counter[int] = Counter()
        """Bytes that were thrown away of each of them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_write = asyncio.Event()
        """Set while the system takes what is written."""
        self._may_write.set()
        self._window_opened = asyncio.Event()
        """Set, and cleared at once, when the caller may have room for more."""
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._ends = False

    # What asyncio and uvicorn call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with a connection whose preface is about to be handed in."""
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        self._h2.initiate_connection()
        self._flush()
        self._wait(self._limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self._server_state.connections.discard(self)
        if self._stalled is not None:
            self._stalled.cancel()
        self._unwait()
        for timer in self._discarding.values():
            timer.cancel()
        self._may_write.set()
        for stream in list(self._streams.values()):
            stream.end()
        self._streams.clear()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        try:
            events = self._h2.receive_data(data)
            for event in events:
                self._take(event)
        except ProtocolError:
            # What is wrong with it stands in the frame that h2 has written.
            self._close()
            return
        self._wake()
        self._flush()

    def pause_writing(self) -> None:
        """Read nothing more from a caller who does not read: each frame may ask for an answer."""
        self._may_write.clear()
        self._transport.pause_reading()
        self._stalled = self._loop.call_later(self._limits.keep_alive_s, self._transport.abort)

    def resume_writing(self) -> None:
        """Go on with a caller who reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
        self._transport.resume_reading()
        self._may_write.set()

    def shutdown(self) -> None:
        """Close when the requests under way are answered."""
        self._ends = True
        if not self._streams:
            self._close(ErrorCodes.NO_ERROR)

    # What its streams call.

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the caller send so many bytes more."""
        if size and not self._transport.is_closing():
            self._h2.acknowledge_received_data(size, stream_id)
            self._flush()

    def send_head(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send a head."""
        if self._transport.is_closing():
            return
        is_final = not headers[0][1].startswith(b"1")
        self._h2.send_headers(stream_id, [*headers, *(self._server_state.default_headers if is_final else ())])
        if not is_final:
            # Others go out with the body.
            self._flush()

    async def send_body(self, stream_id: int, body: bytes, *, is_last: bool) -> None:
        """Send a part of a body when the caller has room for it; a caller who leaves none for long is given up."""
        stream = self._streams[stream_id]
        left = memoryview(body)
        # Only what is sent wins time: the caller's other frames would win it without end.
        given_up_at = self._loop.time() + self._limits.keep_alive_s
        while (left or is_last) and not stream.has_ended and not self._transport.is_closing():
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if left and (room <= 0 or not self._may_write.is_set()):
                await self._wait_for_room(stream_id, stream, given_up_at)
                continue
            given_up_at = self._loop.time() + self._limits.keep_alive_s
            piece, left = bytes(left[:room]), left[room:]
            ends = is_last and not left
            self._h2.send_data(stream_id, piece, end_stream=ends)
            if ends:
                if not stream.is_whole:
                    self._discarding[stream_id] = self._loop.call_later(DISCARD_S, self._reset, stream_id)
                self._end(stream_id)
            self._flush()

    # Our own.

    def close_idle(self) -> None:
        """Close a connection without a request; what its caller has not read is lost."""
        self._idle.pop(self, None)
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._close(ErrorCodes.NO_ERROR)

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream_id), headers=headers):
                self._begin(stream_id, [(bytes(name), bytes(value)) for name, value in headers or ()])
            case DataReceived(stream_id=int(stream_id), data=data, flow_controlled_length=int(size)):
                if stream_id in self._streams:
                    self._add(self._streams[stream_id], data or b"", size)
                else:
                    self._discard(stream_id, size)
            case StreamEnded(stream_id=int(stream_id)):
                if stream_id in self._streams:
                    self._streams[stream_id].complete()
                self._end_discarding(stream_id)
            case StreamReset(stream_id=int(stream_id)):
                if stream_id in self._streams:
                    self._end(stream_id)
                self._end_discarding(stream_id)
            case ConnectionTerminated():
                # h2 sends nothing more then, not even answers.
                self._transport.close()

    def _begin(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Start the application on a request."""
        if len(self._tasks) >= MOST_TASKS:
            self._close(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        self._unwait()
        expects = (b"expect", b"100-continue") in headers
        stream = self._streams[stream_id] = Stream(stream_id, self, expects_go_ahead=expects)
        scope = self._scope(headers)
        task = self._loop.create_task(self._answer(stream_id, stream, scope))
        self._server_state.total_requests += 1
        for tasks in (self._tasks, self._server_state.tasks):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _scope(self, headers: list[tuple[bytes, bytes]]) -> Message:
        asked = {name: value for name, value in headers if name.startswith(b":")}
        plain = [(name, value) for name, value in headers if not name.startswith(b":")]
        if b":authority" in asked:
            plain = [(b"host", asked[b":authority"]), *(header for header in plain if header[0] != b"host")]
        raw_path, _, query = asked.get(b":path", b"").partition(b"?")
        scope: Message = {
            "type": "http",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.3"},
            "http_version": "2",
            "server": get_local_addr(self._transport),
            "client": get_remote_addr(self._transport),
            "scheme": "http",
            "method": asked[b":method"].decode("latin-1"),
            "root_path": self._config.root_path,
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "headers": plain,
            "state": self._app_state.copy(),
        }
        size = sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
        if size > self._limits.max_header_bytes or len(plain) > self._limits.max_header_lines:
            scope[REFUSAL] = too_large_head(self._limits)
        elif scope["method"] == "CONNECT":
            scope[REFUSAL] = Problem("not_implemented", "this server is no proxy; ask it for its own addresses")
        return scope

    async def _answer(self, stream_id: int, stream: Stream, scope: Message) -> None:
        try:
            await self._config.loaded_app(scope, stream.receive, stream.send)
        except Exception:
            # The gateway answers whatever fails behind it.
            log.error("failed", exc_info=True)
        finally:
            if not stream.has_ended:
                self._end(stream_id, ErrorCodes.INTERNAL_ERROR)
                self._flush()

    async def _wait_for_room(self, stream_id: int, stream: Stream, given_up_at: float) -> None:
        self._flush()
        opened = self._may_write if not self._may_write.is_set() else self._window_opened
        try:
            async with asyncio.timeout_at(given_up_at):
                await opened.wait()
        except TimeoutError:
            if not stream.has_ended:
                self._end(stream_id, ErrorCodes.CANCEL)
                self._flush()

    def _end(self, stream_id: int, code: ErrorCodes | None = None) -> None:
        """Forget a stream, and tell the caller where `code` says why."""
        stream = self._streams.pop(stream_id)
        stream.end()
        if code is not None and not self._transport.is_closing():
            self._h2.reset_stream(stream_id, code)
        self._wake()
        if self._streams:
            return
        if self._ends:
            # Behind the last frame of the answer, which is being written.
            self._loop.call_soon(self._close, ErrorCodes.NO_ERROR)
        else:
            self._wait(self._limits.keep_alive_s)

    def _add(self, stream: Stream, data: bytes, size: int) -> None:
        """Take a part of a body; where the bodies are too much together, refuse the request whose body it is."""
        stream.add(data, size)
        if len(self._streams) > 1 and sum(one.size for one in self._streams.values()) > MOST_BODY_BYTES:
            detail = f"the requests under way on this connection have more than {MOST_BODY_BYTES:,} bytes of bodies"
            stream.refuse(Problem("overloaded", f"{detail}; send fewer at once", headers={"Retry-After": "1"}))

    def _discard(self, stream_id: int, size: int) -> None:
        """Throw away a part of a request that is answered already, or give up the request where that is too much."""
        self._h2.acknowledge_received_data(size, stream_id)
        self._discarded[stream_id] += size
        if self._discarded[stream_id] > DISCARD_BYTES:
            self._end_discarding(stream_id)
            self._h2.reset_stream(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)

    def _end_discarding(self, stream_id: int) -> None:
        self._discarded.pop(stream_id, None)
        timer = self._discarding.pop(stream_id, None)
        if timer is not None:
            timer.cancel()

    def _reset(self, stream_id: int) -> None:
        """Give up the request of a stream that is answered."""
        self._end_discarding(stream_id)
        if not self._transport.is_closing():
            self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            self._flush()

    def _wake(self) -> None:
        self._window_opened.set()
        self._window_opened.clear()

    def _close(self, code: ErrorCodes | None = None) -> None:
        """Close the connection, with a last frame of its own where `code` says why."""
        self._idle.pop(self, None)
        if code is not None:
            self._h2.close_connection(code)
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _wait(self, seconds: float) -> None:
        """Wait for a request, for so long."""
        self._idle[self] = None
        self._timer = self._loop.call_later(seconds, self.close_idle)

    def _unwait(self) -> None:
        self._idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
