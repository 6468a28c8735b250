"""The gateway in front of applications that misbehave in every way."""

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.server.context import current_request
from service.server.gateway import Addresses, Gateway, GatewayLimits
from service.server.in_flight import InFlight
from service.server.keys import Access, KeyRing
from service.server.logs import configure_logs, log_request, write_requests
from service.server.metrics import Metrics
from service.server.transport import codings

SECRET = "zebra"

LIMITS: dict[str, Any] = {
    "max_body_bytes": 100,
    "body_timeout_s": 20.0,
    "timeout_ms": 60_000,
    "max_timeout_ms": 600_000,
}

ADDRESSES = Addresses.of(
    [
        Route("/v1/models", lambda _: Response()),
        Route("/v1/models/{task}", lambda _: Response()),
        Route("/v1/{task}", lambda _: Response(), methods=["POST"], include_in_schema=False),
    ],
    ["/v1/task"],
)


def behind_gateway(
    application: Any, keys: Sequence[str] = (), in_flight: InFlight | None = None, is_open: bool = False, **limits: Any
) -> Gateway:
    return Gateway(
        application,
        addresses=ADDRESSES,
        endpoints={},
        limits=GatewayLimits(**{**LIMITS, **limits}),
        access=Access(KeyRing(keys), KeyRing([]), is_open),
        in_flight=in_flight or InFlight(),
        metrics=Metrics(),
    )


def ask(application: Any, method: str = "POST", path: str = "/v1/task", **request: Any) -> httpx.Response:
    # Configured here, so that the log goes where the calling test captures it.
    configure_logs()
    gateway = application if isinstance(application, Gateway) else behind_gateway(application)
    address = request.pop("address", "127.0.0.1")

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=gateway, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{address}") as client:
            return await client.request(method, path, **{"json": {}, **request})

    return asyncio.run(send())


def routed(handler: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/v1/task", handler, methods=["POST", "GET"])])


def returning(response: Response) -> Starlette:
    async def handler(_: Request) -> Response:
        return response

    return routed(handler)


async def broken(*_: Any) -> Any:
    raise RuntimeError(f"cannot read {SECRET}")


def test_addresses_that_callers_make_up_share_one_name() -> None:
    made_up = [
        name
        for number in range(50)
        for name in (f"/v1/{number}", f"/v1/models/{number}", f"/livez/{number}", "/v1/models/")
    ]
    assert {ADDRESSES.name(path) for path in made_up} == {"other", "/v1/models/{task}"}
    known = ["/livez", "/readyz", "/healthz", "/v1/models", "/v1/task"]
    assert [ADDRESSES.name(path) for path in known] == known


def test_only_addresses_that_take_json_have_their_body_read() -> None:
    assert ADDRESSES.taking_json == {"/v1/task"}


def test_a_good_answer_passes_unchanged_but_for_its_name() -> None:
    response = ask(returning(JSONResponse({"a": 1}, headers={"x-own": "kept"})))
    assert (response.status_code, response.json(), response.headers["x-own"]) == (200, {"a": 1}, "kept")
    assert "x-request-id" in response.headers


@pytest.mark.parametrize("application", [broken, routed(broken)], ids=["bare", "in Starlette"])
def test_an_exception_becomes_a_problem_without_its_message(
    application: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    response = ask(application)
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert SECRET not in response.text
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "RuntimeError" in said
    assert "broken" in said


@pytest.mark.parametrize(
    ("foreign", "status", "code"),
    [
        (JSONResponse([{"error": SECRET}], 400), 400, "bad_request"),
        (JSONResponse({"detail": SECRET}, 400), 400, "bad_request"),
        (PlainTextResponse(SECRET, 404), 404, "not_found"),
        (PlainTextResponse(SECRET, 405, {"Allow": "GET"}), 405, "method_not_allowed"),
        (PlainTextResponse(SECRET, 418), 400, "bad_request"),
        (JSONResponse({"error": SECRET}, 429, {"Retry-After": "7"}), 429, "overloaded"),
        (JSONResponse({"error": SECRET}, 500), 500, "internal"),
        (PlainTextResponse(SECRET, 502), 500, "internal"),
        (PlainTextResponse(SECRET, 503), 503, "not_ready"),
        (JSONResponse({"error": SECRET}, 504), 504, "deadline_exceeded"),
    ],
    ids=lambda value: str(value.status_code) if isinstance(value, Response) else None,
)
def test_somebody_elses_error_becomes_a_problem(foreign: Response, status: int, code: str) -> None:
    response = ask(returning(foreign))
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert SECRET not in response.text
    for kept in ("allow", "retry-after"):
        assert response.headers.get(kept) == foreign.headers.get(kept)


def test_an_http_exception_becomes_a_problem() -> None:
    async def handler(_: Request) -> Response:
        raise HTTPException(503, SECRET)

    assert ask(routed(handler)).json()["code"] == "not_ready"


def test_an_answer_in_pieces_passes_whole() -> None:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"a", b"b"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"c"})

    assert ask(application).text == "abc"


def test_an_answer_that_breaks_off_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError(SECRET)

    with pytest.raises(AssertionError):  # httpx's transport wants the answer's end
        ask(application, headers={"Accept-Encoding": "identity"})
    # What may be packed is held until it is whole, and so can still become a problem.
    assert ask(application).json()["code"] == "internal"
    assert SECRET not in capsys.readouterr().err


def test_the_application_reads_the_body_as_it_was_sent() -> None:
    async def handler(request: Request) -> Response:
        return Response(await request.body())

    assert (
        ask(routed(handler), content=b'{"a": "b"}', headers={"Content-Type": "application/json"}).text == '{"a": "b"}'
    )


def test_the_limit_is_on_what_arrives_not_on_what_is_announced() -> None:
    async def pieces() -> Any:
        for _ in range(11):
            yield b" " * 10

    response = ask(broken, content=pieces(), json=None, headers={"Content-Type": "application/json"})
    assert response.json()["code"] == "payload_too_large"


def test_only_the_paths_that_take_json_are_checked_for_it() -> None:
    async def handler(_: Request) -> Response:
        return Response()

    application = Starlette(routes=[Route("/other", handler, methods=["POST"])])
    assert ask(application, path="/other", json=None, content=b"x" * 1_000).status_code == 200


def test_what_is_not_http_passes() -> None:
    seen = []

    async def application(scope: Any, *_: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(behind_gateway(application)({"type": "lifespan"}, broken, broken))
    assert seen == ["lifespan"]


def test_handlers_know_the_request_by_its_name() -> None:
    async def handler(_: Request) -> Response:
        return PlainTextResponse(current_request.get().request_id)

    response = ask(routed(handler), headers={"X-Request-ID": "abc"})
    assert response.text == response.headers["x-request-id"] == "abc"


def test_a_line_of_log_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    capsys.readouterr()
    ask(returning(Response()), path="/v1/task", headers={"X-Request-ID": "abc"})
    write_requests()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "POST", "/v1/task", 200)
    assert line["request_id"] == "abc"


def test_lines_of_requests_are_written_together_and_before_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    async def log_three() -> list[str]:
        log_request(number=1)
        log_request(number=2)
        early = capsys.readouterr().err
        structlog.get_logger().warning("other")
        return [early, capsys.readouterr().err]

    configure_logs()
    capsys.readouterr()
    early, late = asyncio.run(log_three())
    assert early == ""
    assert [line.get("number", line["event"]) for line in map(json.loads, late.splitlines())] == [1, 2, "other"]


def test_the_line_of_a_request_is_written_though_nothing_follows(capsys: pytest.CaptureFixture[str]) -> None:
    async def log_one() -> None:
        log_request(number=1)
        while not (written := capsys.readouterr().err):
            await asyncio.sleep(0)
        assert json.loads(written)["number"] == 1

    configure_logs()
    capsys.readouterr()
    asyncio.run(log_one())


KEY = {"Authorization": "Bearer right"}


@pytest.mark.parametrize("path", ["/v1/task", "/v1/models", "/nowhere"])
def test_without_a_key_nobody_gets_past_the_door(path: str) -> None:
    guarded = behind_gateway(returning(Response()), keys=["right"])
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = ask(guarded, path=path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


def test_a_key_opens_the_door() -> None:
    assert ask(behind_gateway(returning(Response()), keys=["wrong", "right"]), headers=KEY).status_code == 200


def test_probes_need_no_key() -> None:
    application = Starlette(routes=[Route("/readyz", lambda _: Response())])
    assert ask(behind_gateway(application, keys=["right"]), method="GET", path="/readyz").status_code == 200


def test_a_key_is_never_logged(capsys: pytest.CaptureFixture[str]) -> None:
    ask(behind_gateway(broken, keys=["right"]), headers=KEY)
    ask(behind_gateway(broken, keys=["right"]), headers={"Authorization": "Bearer wrong"})
    write_requests()
    said = capsys.readouterr().err
    assert '"status": 401' in said
    assert "right" not in said
    assert "wrong" not in said


def test_a_request_says_when_its_answer_is_of_no_more_use() -> None:
    async def handler(_: Request) -> Response:
        deadline = current_request.get().deadline
        assert deadline is not None
        return JSONResponse(deadline - time.monotonic())

    assert 3.0 < ask(routed(handler), headers={"X-Request-Timeout-Ms": "5000"}).json() <= 5.0
    assert 7.0 < ask(behind_gateway(routed(handler), timeout_ms=9_000)).json() <= 9.0


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1e3", "soon", "1001", "9" * 30])
def test_a_time_that_makes_no_sense_is_refused(value: str) -> None:
    response = ask(behind_gateway(broken, max_timeout_ms=1_000), headers={"X-Request-Timeout-Ms": value})
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert "from 1 to 1,000" in response.json()["detail"]


def test_an_answer_that_comes_too_late_is_not_waited_for() -> None:
    cancelled = []

    async def handler(_: Request) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return Response()

    response = ask(routed(handler), headers={"X-Request-Timeout-Ms": "20"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert "0.02 s" in response.json()["detail"]
    assert cancelled


def test_an_answer_that_is_packed_too_slowly_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def pack_slowly(body: bytes) -> bytes:
        time.sleep(0.3)
        return gzip.compress(body)

    monkeypatch.setitem(codings.CODINGS, "gzip", replace(codings.CODINGS["gzip"], pack=pack_slowly))

    async def handler(_: Request) -> Response:
        return JSONResponse("x" * codings.LARGE_BYTES)

    packed = {"Accept-Encoding": "gzip"}
    response = ask(routed(handler), headers={"X-Request-Timeout-Ms": "100", **packed})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert ask(routed(handler), headers=packed).headers["content-encoding"] == "gzip"


async def _slowly() -> Any:
    yield b"{"
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [({}, 408, "body_timeout"), ({"X-Request-Timeout-Ms": "20"}, 504, "deadline_exceeded")],
    ids=["server's limit", "caller's limit"],
)
def test_a_body_that_never_ends_is_not_waited_for(headers: dict[str, str], status: int, code: str) -> None:
    gateway = behind_gateway(broken, body_timeout_s=0.04)
    response = ask(gateway, json=None, content=_slowly(), headers={"Content-Type": "application/json", **headers})
    assert (response.status_code, response.json()["code"]) == (status, code)
    # The server does not wait for the rest of the body either.
    assert response.headers["connection"] == "close"


def test_nobody_computes_for_a_caller_who_left(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    capsys.readouterr()
    cancelled = []

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    messages = [{"type": "http.request", "body": b"{}"}, {"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/v1/task", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(behind_gateway(application)(scope, receive, broken))
    assert cancelled
    write_requests()
    assert json.loads(capsys.readouterr().err)["status"] == 499


@pytest.mark.parametrize(("path", "status"), [("/v1/task", 503), ("/readyz", 503), ("/livez", 200)])
def test_a_server_that_drains_is_alive_and_takes_nothing_more(path: str, status: int) -> None:
    in_flight = InFlight()
    in_flight.is_draining = True
    application = Starlette(routes=[Route(known, lambda _: Response()) for known in ("/livez", "/readyz")])
    response = ask(behind_gateway(application, in_flight=in_flight), method="GET", path=path)
    assert response.status_code == status
    if status == 503:
        assert response.json()["code"] == "draining"
        assert response.headers["connection"] == "close"


def test_a_full_disk_for_the_log_breaks_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = []
    # Closing the file tries to write once more, and fails.
    with suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        statuses = [ask(application).status_code for application in (returning(Response()), broken)]
        write_requests()
    assert statuses == [200, 500]


@pytest.mark.parametrize(
    ("address", "is_open", "status"),
    [("127.0.0.1", False, 200), ("[::1]", False, 200), ("192.0.2.7", False, 401), ("192.0.2.7", True, 200)],
)
def test_without_keys_only_this_machine_is_answered_however_the_server_was_started(
    address: str, is_open: bool, status: int
) -> None:
    application = behind_gateway(returning(Response("fine")), is_open=is_open)
    assert ask(application, address=address).status_code == status
