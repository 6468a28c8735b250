"""The outermost layer around applications that misbehave in every way."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.border import Border, current_exchange
from service.logs import configure_logs

SECRET = "zebra"


def ask(application: Any, method: str = "POST", path: str = "/v1/task", **request: Any) -> httpx.Response:
    # Here, so that the logs go where the test that asks captures them.
    configure_logs()
    border = Border(application, json_paths={"/v1/task"}, max_body_bytes=100)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=border, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
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
        ask(application)
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

    asyncio.run(Border(application, json_paths=(), max_body_bytes=1)({"type": "lifespan"}, broken, broken))
    assert seen == ["lifespan"]


def test_handlers_know_the_request_by_its_name() -> None:
    async def handler(_: Request) -> Response:
        return PlainTextResponse(current_exchange.get().request_id)

    response = ask(routed(handler), headers={"X-Request-ID": "abc"})
    assert response.text == response.headers["x-request-id"] == "abc"


def test_a_line_of_log_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    ask(returning(Response()), path="/v1/task", headers={"X-Request-ID": "abc"})
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "POST", "/v1/task", 200)
    assert line["request_id"] == "abc"
