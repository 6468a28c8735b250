"""The outermost layer of the server: it checks every request, and sends every error as its dialect writes errors.

BentoML, Starlette and our own handlers each report errors in their own way; callers see one way. Each request also gets
its id here, and its line in the log.
"""

import asyncio
import random
import re
import time
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import parse_qsl

import structlog
from starlette.responses import Response
from starlette.routing import Route

from models.errors import shorten
from service.server.context import RequestContext, current_request, respond
from service.server.cross_origin import cross_origin_headers, is_preflight, preflight_headers
from service.server.dialects.dialect import NATIVE, Call, Dialect, Dialects
from service.server.endpoints import Endpoint
from service.server.framework_errors import translate
from service.server.in_flight import CallerLeft, CancelScope, InFlight, Watch
from service.server.keys import Access
from service.server.logs import log_request
from service.server.metrics import Metrics
from service.server.problems import REFUSAL, Problem
from service.server.tracing import Stage, Tracing
from service.server.transport.codings import body_coding, pack_answer, unpack

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH_PATHS = frozenset({"/livez", "/readyz", "/healthz"})
"""Addresses that machines ask every few seconds and without a key; such a request is logged only when it fails."""

ADMIN_PATHS = frozenset({"/v1/models"})
"""Addresses whose POST changes the server."""

_SANE_ID = re.compile(rb"[\x20-\x7e]{1,128}")
_MILLISECONDS = re.compile(rb"[0-9]{1,9}")
_CLOSE = {"Connection": "close"}
_NO_DIALECTS = Dialects()

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class GatewayLimits:
    """Limits on a body's size and a request's time; the settings of the same names say more."""

    max_body_bytes: int
    body_timeout_s: float
    timeout_ms: int
    max_timeout_ms: int


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of the application."""

    plain: frozenset[str]
    """Addresses without parameters."""
    families: Mapping[str, str]
    """Addresses with a parameter, such as `/v1/models/{task}`, by what stands before the parameter."""
    taking_json: frozenset[str]
    """Addresses whose POST takes a JSON body; nothing else in the application reads a body."""
    without_key: frozenset[str]
    """Addresses that hold nothing secret, and answer without a key."""

    @classmethod
    def of(cls, routes: Iterable[Route], json_paths: Iterable[str], without_key: Iterable[str] = ()) -> Self:
        """The addresses of `routes` that belong in the schema, and `json_paths`, whose POST takes a JSON body.

        Those among them that are in `without_key` answer without a key.
        """
        shown = [route for route in routes if route.include_in_schema]
        plain = {route.path for route in shown if not route.param_convertors}
        posted = {route.path for route in shown if "POST" in (route.methods or ())}
        json_paths = frozenset(json_paths)
        return cls(
            plain=HEALTH_PATHS | plain | json_paths,
            families={route.path.partition("{")[0]: route.path for route in shown if route.param_convertors},
            taking_json=json_paths | posted,
            without_key=frozenset(without_key),
        )

    def name(self, path: str) -> str:
        """The name of an address in metrics and traces: one of a few, whatever callers ask for."""
        if path in self.plain:
            return path
        return next((whole for start, whole in self.families.items() if path.startswith(start)), "other")


@dataclass(frozen=True)
class _Asked:
    """A request, as the application and the dialect know it."""

    scope: Scope
    dialect: Dialect
    call: Call | None
    """The request where it is for an address of a dialect; None for those of the application."""

    @property
    def is_probe(self) -> bool:
        """Whether a machine asks for the server's health."""
        return self.scope["path"] in HEALTH_PATHS or (self.call is not None and self.call.address.probe is not None)

    @property
    def asks_for_readiness(self) -> bool:
        return self.scope["path"] == "/readyz" or (self.call is not None and self.call.address.probe == "ready")


class Gateway:
    """An ASGI application that stands in front of the whole server."""

    def __init__(
        self,
        app: App,
        *,
        addresses: Addresses,
        endpoints: Mapping[str, Endpoint],
        dialects: Dialects = _NO_DIALECTS,
        limits: GatewayLimits,
        access: Access,
        in_flight: InFlight,
        metrics: Metrics,
        tracing: Tracing | None = None,
        cors_origins: Collection[str] = (),
    ) -> None:
        """Stand in front of `app`, which answers at `addresses`.

        Bodies sent to the addresses in `endpoints` are answered by these, and requests for `dialects` by their own
        addresses; pages of `cors_origins` may read all answers.
        """
        self._app = app
        self._addresses = addresses
        self._endpoints = endpoints
        self._dialects = dialects
        self._limits = limits
        self._access = access
        self._in_flight = in_flight
        self._metrics = metrics
        self._tracing = tracing
        self._cors_origins = frozenset(cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI applications do."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = self._make_out(scope)
        headers = scope["headers"]
        context = RequestContext(_request_id(headers), headers, asked.dialect.problem_form)
        current_request.set(context)
        for_pages = cross_origin_headers(self._cors_origins, headers)
        sender = _Sender(context, scope, send, for_pages, self._in_flight)
        cancel_scope = CancelScope()
        try:
            async with cancel_scope:
                await self._admit(asked, receive, sender, cancel_scope)
        except Problem as problem:
            await sender.give(problem)
        except CallerLeft:
            sender.status = 499
        except asyncio.CancelledError:
            # The server ends and waits no longer; the caller is not to blame.
            sender.status = sender.status or 503
            context.facts.setdefault("code", "draining")
            raise
        except Exception:
            # Starlette answers, and raises the error again to be logged. Our log shows where it arose, not the message.
            log.error("failed", request_id=context.request_id, exc_info=True)
            await sender.give(Problem("internal", "an unexpected error; the server's log has it under this id"))
        finally:
            self._in_flight.end(cancel_scope)
            self._record(asked, scope["method"], sender)

    def _make_out(self, scope: Scope) -> _Asked:
        usual = _usual_form(scope)
        dialect = self._dialects.of(usual["path"])
        return _Asked(usual, dialect, dialect.find(usual["method"], usual["path"]))

    def _record(self, asked: _Asked, method: str, sender: "_Sender") -> None:
        scope = asked.scope
        context, status = sender.context, sender.status or 499
        reason = "caller_left" if status == 499 else context.facts.get("code")
        address = asked.call.address.path if asked.call else self._addresses.name(scope["path"])
        self._metrics.request(address, status, context.elapsed_s, reason)
        if asked.is_probe and status < 400:
            return
        if self._tracing is not None:
            whole = Stage(f"{method} {address}", context.started, context.elapsed_s)
            about: dict[str, str | int] = {
                "http.request.method": method,
                "http.route": address,
                "http.response.status_code": status,
            }
            self._tracing.record(scope["headers"], whole, context.stages, about, failed=status >= 500)
        log_request(
            request_id=context.request_id,
            method=method,
            path=scope["path"][:200],
            status=status,
            duration_ms=round(context.elapsed_s * 1000, 3),
            **context.facts,
        )

    async def _admit(self, asked: _Asked, receive: Receive, sender: "_Sender", cancel_scope: CancelScope) -> None:
        """Check who asks, for what, and for how long; then let the application or the dialect answer."""
        scope = asked.scope
        if REFUSAL in scope:
            raise scope[REFUSAL]
        headers = scope["headers"]
        if self._cors_origins and is_preflight(scope["method"], headers):
            # Before keys are asked for: no browser sends one here.
            await sender.send_empty(preflight_headers(self._cors_origins, headers))
            return
        if not asked.is_probe:
            self._in_flight.begin(cancel_scope)
            if scope["path"] not in self._addresses.without_key:
                changes = scope["method"] == "POST" and scope["path"] in ADMIN_PATHS
                sender.context.tenant = self._access.check(headers, is_local=_is_loopback(scope), changes=changes)
        elif asked.asks_for_readiness:
            self._in_flight.refuse_if_draining()
        if scope["method"] == "POST" and (asked.call or scope["path"] in self._addresses.taking_json):
            await self._answer_body(asked, receive, sender, cancel_scope)
        elif asked.call:
            await sender.respond(await asked.call.answer())
        elif asked.dialect is not NATIVE:
            raise asked.dialect.missing(scope["path"])
        else:
            await self._app(scope, receive, sender.packing())

    async def _answer_body(self, asked: _Asked, receive: Receive, sender: "_Sender", cancel_scope: CancelScope) -> None:
        """Read the body and answer it, unless time runs out or the caller leaves."""
        scope, context, limits = asked.scope, sender.context, self._limits
        if asked.dialect is NATIVE:
            _refuse_query(scope)
        left_s = _timeout_ms(scope["headers"], limits) / 1000
        context.deadline = time.monotonic() + left_s
        too_late = Problem(
            "deadline_exceeded",
            f"no answer within {left_s:g} s; send fewer or shorter inputs at once, or allow more time",
        )
        if left_s > limits.body_timeout_s:
            cancel_scope.cancel_after(limits.body_timeout_s, _too_slow(limits))
        else:
            cancel_scope.cancel_after(left_s, Problem(too_late.code, too_late.detail, headers=_CLOSE))
        endpoint = asked.call or self._endpoints.get(scope["path"])
        context.body = await self._read_body(asked, receive, endpoint)
        cancel_scope.cancel_after(context.deadline - time.monotonic(), too_late)
        watch = Watch(receive, cancel_scope)
        try:
            if endpoint is None:
                await self._app(scope, _replay(context.body, receive), sender.packing())
            else:
                await sender.respond(await endpoint.answer())
        finally:
            watch.end()

    async def _read_body(self, asked: _Asked, receive: Receive, endpoint: Endpoint | Call | None) -> bytes:
        headers = asked.scope["headers"]
        asked.dialect.media_types.check(_values(headers, b"content-type"))
        coding = body_coding(_values(headers, b"content-encoding"))
        declared = _values(headers, b"content-length")
        if declared and int(declared[0]) > self._limits.max_body_bytes:
            raise self._too_large()
        if declared and endpoint is not None and coding is None:
            endpoint.refuse_early(int(declared[0]))
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerLeft
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limits.max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        body = b"".join(chunks)
        if coding is not None and body:
            body = await asyncio.to_thread(unpack, body, coding, self._limits.max_body_bytes)
            if len(body) > self._limits.max_body_bytes:
                raise self._too_large()
        if not body and not (asked.call and asked.call.address.may_be_empty):
            raise Problem("malformed_json", "the body is empty; send a JSON object")
        # RFC 8259, 8.1: a parser may pass over the mark, which Windows writes.
        return body.removeprefix(BOM_UTF8)

    def _too_large(self) -> Problem:
        return Problem(
            "payload_too_large",
            f"the body is larger than {self._limits.max_body_bytes:,} bytes; send fewer inputs at once",
        )


def _usual_form(scope: Scope) -> Scope:
    """The request as the application knows it: without a slash at the end of its address, and GET in place of HEAD."""
    path: str = scope["path"]
    if path.endswith("/") and path != "/":
        scope = {**scope, "path": path[:-1]}
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _refuse_query(scope: Scope) -> None:
    """Refuse options in the address, which would be passed over in silence; raises Problem."""
    if asked := parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True):
        name = shorten(asked[0][0])
        raise Problem("bad_request", f"the address has the parameter {name!r}, and none is read: put it into the body")


def _is_loopback(scope: Scope) -> bool:
    """Whether the caller came by an address that this machine alone reaches; a socket file counts as one."""
    host = (scope.get("server") or (None,))[0]
    return host is None or _is_loopback_host(host)


@cache
def _is_loopback_host(host: str) -> bool:
    # Cached without a bound: a server has few addresses.
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return True


class _Sender:
    """Sends the answer under the request's id; an error of BentoML or Starlette is held back and sent as a problem."""

    def __init__(
        self,
        context: RequestContext,
        scope: Scope,
        send: Send,
        headers: Sequence[tuple[bytes, bytes]],
        in_flight: InFlight,
    ) -> None:
        """Send by `send`, with these headers in every answer; the answer to HEAD has no body.

        While the process drains, each answer is the last on its connection.
        """
        self._in_flight = in_flight
        self.status: int | None = None
        self.context = context
        self._scope = scope
        self._send = send
        self._headers = [(b"x-request-id", context.request_id.encode()), *headers]
        self._with_body = scope["method"] != "HEAD"
        self._held: Message | None = None
        self._held_body = b""

    async def send(self, message: Message) -> None:
        if self._held is not None:
            self._held_body += message.get("body", b"")
            if not message.get("more_body", False):
                await self.give(translate(self._held, self._held_body, self.context.body))
        elif message["type"] == "http.response.start" and self._is_foreign_error(message):
            self._held = message
        else:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                closing = self._in_flight.is_draining and not _values(message["headers"], b"connection")
                ends = [(b"connection", b"close")] if closing else []
                message["headers"] = [*message["headers"], *self._headers, *ends]
            elif not self._with_body:
                message = {**message, "body": b""}
            await self._send(message)

    def packing(self) -> Send:
        """A `send` for one answer, which packs it; until it is packed none has begun, and a problem may take its place.

        It is not kept here: the two would keep each other, and all that the request held, until Python looks for
        cycles.
        """
        return pack_answer(self._scope, self.send)

    async def send_empty(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send an answer without a body."""
        await self.send({"type": "http.response.start", "status": 204, "headers": [*headers]})
        await self.send({"type": "http.response.body", "body": b""})

    async def give(self, problem: Problem) -> None:
        """Send `problem`, unless another answer has begun."""
        if self.status is not None:
            return
        self._held = None
        await self.respond(respond(problem))

    async def respond(self, response: Response) -> None:
        """Send a whole answer."""
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        send = self.packing()
        await send(start)
        await send({"type": "http.response.body", "body": response.body})

    def _is_foreign_error(self, start: Message) -> bool:
        own = self.context.problem_form.content_type.encode()
        return start["status"] >= 400 and _values(start["headers"], b"content-type") != [own]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _request_id(headers: Headers) -> str:
    """The caller's id for the request if logs and headers can hold it, else a new one."""
    given = _values(headers, b"x-request-id")
    return given[0].decode() if len(given) == 1 and _SANE_ID.fullmatch(given[0]) else f"{random.getrandbits(128):032x}"


def _timeout_ms(headers: Headers, limits: GatewayLimits) -> int:
    given = _values(headers, b"x-request-timeout-ms")
    if not given:
        return limits.timeout_ms
    if len(given) == 1 and _MILLISECONDS.fullmatch(given[0]) and 1 <= int(given[0]) <= limits.max_timeout_ms:
        return int(given[0])
    raise Problem("bad_request", f"X-Request-Timeout-Ms is a whole number from 1 to {limits.max_timeout_ms:,}, once")


def _too_slow(limits: GatewayLimits) -> Problem:
    return Problem("body_timeout", f"the body was not there within {limits.body_timeout_s:g} s", headers=_CLOSE)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive the body as one message, then whatever comes next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
