"""The Python client against real servers: answers with the types of the contract, many requests a call, and retries."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.tasks import UnknownTask
from models.tasks.task import TextItem
from service.client import Answers, AsyncClient, Client, ClientError, NoSteadfast, Refused, Unreachable
from tests.service.conftest import Server, free_port

WORDS = ("good", "bad", "great", "awful", "fine")
TEXTS = [f"the film was {WORDS[number % 5]}" for number in range(150)]


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def ask_both(url: str, inputs: Any, **options: Any) -> Answers[Any]:
    """The answers of the asynchronous client, which must be those of the other one."""

    async def ask() -> Answers[Any]:
        async with AsyncClient(url) as client:
            answers: Answers[Any] = await client.ask("sentiment", inputs, **options)
            return answers

    with Client(url) as client:
        answers: Answers[Any] = client.ask("sentiment", inputs, **options)
    other = asyncio.run(ask())
    assert (answers.results, answers.errors, answers.tokens) == (other.results, other.errors, other.tokens)
    return answers


def test_answers_are_those_of_http_with_the_types_of_the_contract(server: Server) -> None:
    answers = ask_both(
        url_of(server), ["the film was good", {"text": "awful", "id": "x"}, ("great",), TextItem(text="bad")]
    )
    plain = server.ask(inputs=["the film was good", {"text": "awful", "id": "x"}, "great", "bad"]).json()
    assert [json.loads(result.model_dump_json()) for result in answers.results] == plain["results"]
    assert answers.model.model_dump() == plain["model"]
    assert (answers.results[1].id, answers.results[1].label, answers.tokens) == (
        "x",
        "negative",
        plain["usage"]["tokens"],
    )


def test_more_inputs_than_the_server_takes_go_in_several_requests(server: Server) -> None:
    answers = ask_both(url_of(server), TEXTS, request_id="many")
    assert list(answers.request_ids) == ["many-1", "many-2", "many-3"]
    assert [result.index for result in answers.results] == list(range(150))
    alone = server.ask(inputs=TEXTS[140:]).json()["results"]
    assert [result.score for result in answers.results[140:]] == [result["score"] for result in alone]


def test_a_request_is_no_larger_than_the_server_takes(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, max_body_bytes=1_000)
    answers = ask_both(url_of(server), TEXTS)
    assert len(answers.results) == 150
    assert len(answers.request_ids) > 3


def test_options_reach_the_server(server: Server) -> None:
    answers = ask_both(url_of(server), ["good", " "], explain="attention", on_error="report", top_k=1, request_id="own")
    (result,) = answers.results
    assert (result.explanation.method, len(result.scores)) == ("attention", 1)
    assert [(error.index, error.code) for error in answers.errors] == [(1, "empty_input")]
    assert list(answers.request_ids) == ["own"]


def test_errors_of_later_requests_name_the_place_among_all_inputs(server: Server) -> None:
    answers = ask_both(url_of(server), [*TEXTS[:100], " "], on_error="report")
    assert [error.index for error in answers.errors] == [100]


def test_a_refusal_says_why_with_the_code_and_the_id(server: Server) -> None:
    with Client(url_of(server)) as client, pytest.raises(Refused, match="/inputs/0/text: ") as caught:
        client.ask("sentiment", [" "], request_id="refused")
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (422, "empty_input", "refused")


def test_a_refusal_names_the_place_among_all_inputs(server: Server) -> None:
    with pytest.raises(Refused, match=r"^/inputs/100/text: "):
        ask_both(url_of(server), [*TEXTS[:100], " "])


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://localhost", "http://", "http://[::1", "", "http://a:port"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ClientError, match="write one such as http"):
            kind(url)


@pytest.mark.parametrize("key", ["é", "two\nlines"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ClientError, match="printable ASCII") as caught:
        Client(key=key)
    assert key not in str(caught.value)


def test_a_key_is_sent(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, api_keys="right")
    with Client(url_of(server), key="right") as client:
        assert client.ask("sentiment", ["good"]).results[0].label == "positive"
    with Client(url_of(server), key="wrong") as client, pytest.raises(Refused, match="keys"):
        client.ask("sentiment", ["good"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("good", "a single input"),
        ({"text": "a"}, "a single input"),
        ([], "no inputs"),
        ([b"a"], "JSON cannot hold"),
        ([("a", "b")], "an input has 2 texts, but the endpoint reads text"),
    ],
)
def test_what_is_no_list_of_inputs_is_refused_at_once(inputs: Any, message: str) -> None:
    with Client("http://127.0.0.1:1", tries=1) as client, pytest.raises(ClientError, match=message):
        client.ask("sentiment", inputs)


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with Client("http://127.0.0.1:1", tries=1) as client, pytest.raises(UnknownTask, match="choose one of: sentiment"):
        client.ask("sentimant", ["good"])


def test_a_server_that_is_not_there_is_named() -> None:
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", tries=1) as client, pytest.raises(Unreachable, match=f":{port}.*running"):
        client.ask("sentiment", ["good"])


@contextmanager
def scripted(answers: Sequence[tuple[int, dict[str, str], bytes]]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers one after another, and then the last one; and the ids that it was sent."""
    ids: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            ids.append(self.headers.get("X-Request-ID", ""))
            status, headers, body = answers[min(len(ids), len(answers)) - 1]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", ids
        server.shutdown()


BUSY = b'{"detail": "the queue is full", "code": "overloaded"}'


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients wait, which pass at once."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    # Not in the modules themselves: other threads sleep too.
    for module, sleep in ((time, waited.append), (asyncio, wait)):
        monkeypatch.setattr(
            f"service.client.client.{module.__name__}", SimpleNamespace(**{**vars(module), "sleep": sleep})
        )
    return waited


def test_a_busy_server_is_asked_again_when_it_says_and_under_the_same_id(server: Server, waits: list[float]) -> None:
    card = server.client.get("/v1/models/sentiment").content
    good = server.client.post("/v1/sentiment", json={"inputs": ["good"]}).content
    script = [(200, {}, card), (429, {"Retry-After": "7"}, BUSY), (503, {"Retry-After": "2"}, BUSY), (200, {}, good)]
    with scripted(script) as (url, ids), Client(url) as client:
        assert client.ask("sentiment", ["good"], request_id="same").results[0].label == "positive"
    assert waits == [7.0, 2.0]
    assert ids[1:] == ["same"] * 3


def test_the_asynchronous_client_waits_as_the_other_does(server: Server, waits: list[float]) -> None:
    card = server.client.get("/v1/models/sentiment").content
    with scripted([(429, {"Retry-After": "3"}, BUSY), (200, {}, card)]) as (url, _):

        async def ask() -> str:
            async with AsyncClient(url) as client:
                return (await client.model("sentiment")).name

        assert asyncio.run(ask()) == "tiny"
    assert waits == [3.0]


def test_a_server_that_stays_busy_is_given_up_after_the_last_try(waits: list[float]) -> None:
    with (
        scripted([(429, {}, BUSY)]) as (url, ids),
        Client(url, tries=4) as client,
        pytest.raises(Refused, match="full"),
    ):
        client.model("sentiment")
    assert len(ids) == 4
    assert 0.125 <= waits[0] <= 0.25 <= waits[1] <= 0.5 <= waits[2] <= 1.0


@pytest.mark.parametrize(("status", "body"), [(200, b"{}"), (200, b"<html>"), (404, b"nothing"), (500, b"[]")])
def test_another_kind_of_server_is_told_apart(status: int, body: bytes) -> None:
    with scripted([(status, {}, body)]) as (url, ids), Client(url) as client, pytest.raises(NoSteadfast):
        client.model("sentiment")
    assert len(ids) == 1
