"""The outermost layer of the server: what comes in is checked, and every error goes out as a problem document.

BentoML, Starlette and our own handlers each report errors in their own way; callers see one. Each request also gets its
name here, and its line in the log.
"""

import random
import re
import time
from collections.abc import Awaitable, Callable, Container, Iterable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.responses import Response

from service.problems import CONTENT_TYPE, Problem
from service.translation import translate

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES = frozenset({"/livez", "/readyz", "/healthz"})
"""Asked every few seconds by machines; logged only when they fail."""

_SANE_ID = re.compile(rb"[\x20-\x7e]{1,128}")
_JSON_TYPE = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)

log = structlog.get_logger()


@dataclass
class Exchange:
    """One request, from its first byte to the last of its answer."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    body: bytes = b""
    deadline: float | None = None
    """When the answer is of no more use, by `time.monotonic`; None where nothing waits for one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers for the log; never a text."""

    @property
    def elapsed_s(self) -> float:
        """Time since the request came in."""
        return time.perf_counter() - self.started


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


def respond(problem: Problem) -> Response:
    """The answer to the current request that reports `problem`."""
    exchange = current_exchange.get()
    exchange.facts["code"] = problem.code
    body = problem.document(exchange.request_id)
    return Response(body, problem.status, {**problem.headers, "content-type": CONTENT_TYPE})


class Border:
    """Wraps the whole application."""

    def __init__(self, app: App, *, json_paths: Container[str], max_body_bytes: int) -> None:
        """`json_paths` are those whose POST takes a JSON body; nothing else in the application reads a body."""
        self._app = app
        self._json_paths = json_paths
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(_request_id(scope["headers"]))
        current_exchange.set(exchange)
        answer = _Answer(exchange, send)
        try:
            if scope["method"] == "POST" and scope["path"] in self._json_paths:
                exchange.body = await self._read_body(scope["headers"], receive)
                receive = _replay(exchange.body, receive)
            await self._app(scope, receive, answer.send)
        except Problem as problem:
            await answer.give(problem)
        except _CallerLeft:
            answer.status = 499
        except Exception:
            # Starlette answers and raises all the same, for its server to log; ours never shows a message, only where.
            log.error("failed", request_id=exchange.request_id, exc_info=True)
            if answer.status is None:
                await answer.give(Problem("internal", "an unexpected error; the server's log has it under this id"))
        finally:
            _write_log(scope, exchange, answer)

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes:
        _check_type(headers)
        declared = _values(headers, b"content-length")
        if declared and int(declared[0]) > self._max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerLeft
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        if not size:
            raise Problem("malformed_json", "the body is empty; send a JSON object")
        return b"".join(chunks)

    def _too_large(self) -> Problem:
        return Problem(
            "payload_too_large", f"the body is larger than {self._max_body_bytes:,} bytes; send fewer inputs at once"
        )


class _CallerLeft(Exception):
    """The connection was closed before the body was complete."""


class _Answer:
    """What goes out: named with the request's id, and held back for translation where it is somebody else's error."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self.status: int | None = None
        self._exchange = exchange
        self._send = send
        self._held: Message | None = None
        self._held_body = b""

    async def send(self, message: Message) -> None:
        if self._held is not None:
            self._held_body += message.get("body", b"")
            if not message.get("more_body", False):
                await self.give(translate(self._held, self._held_body, self._exchange.body))
        elif message["type"] == "http.response.start" and _is_foreign_error(message):
            self._held = message
        else:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", self._exchange.request_id.encode())]
            await self._send(message)

    async def give(self, problem: Problem) -> None:
        self._held = None
        response = respond(problem)
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": response.body})


def _is_foreign_error(start: Message) -> bool:
    return start["status"] >= 400 and _values(start["headers"], b"content-type") != [CONTENT_TYPE.encode()]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _request_id(headers: Headers) -> str:
    """The caller's name for the request if it is one that can go into logs and headers, else a new one."""
    given = _values(headers, b"x-request-id")
    return given[0].decode() if len(given) == 1 and _SANE_ID.fullmatch(given[0]) else f"{random.getrandbits(128):032x}"


def _check_type(headers: Headers) -> None:
    types = _values(headers, b"content-type")
    # All of them, and none twice: the application looks at another one than we do when there are two.
    if len(types) != 1 or not _JSON_TYPE.fullmatch(types[0].strip()):
        raise Problem("unsupported_media_type", "send Content-Type: application/json, in UTF-8")
    if any(encoding.lower() != b"identity" for encoding in _values(headers, b"content-encoding")):
        raise Problem("unsupported_media_type", "compressed bodies are not read; send the JSON as it is")


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _write_log(scope: Scope, exchange: Exchange, answer: _Answer) -> None:
    status = answer.status or 499
    if scope["path"] in PROBES and status < 400:
        return
    log.info(
        "request",
        request_id=exchange.request_id,
        method=scope["method"],
        path=scope["path"][:200],
        status=status,
        duration_ms=round(exchange.elapsed_s * 1000, 3),
        **exchange.facts,
    )
