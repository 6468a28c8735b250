"""What holds for every dialect: keys, limits, deadlines, counts and the log, and errors in its own form."""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from service.server.dialects.dialect import NATIVE, Address, Dialect, Dialects, MediaTypes
from service.server.problems import Problem
from tests.service.conftest import Server, wait_for

JSON = {"Content-Type": "application/json"}
KEY = {"Authorization": "Bearer right"}


class Speech(NamedTuple):
    """A dialect in these tests: an address that a model of sentiment answers, and its probe."""

    path: str
    name: str
    """The address in metrics."""
    ask: Callable[[str], dict[str, Any]]
    """The body that holds a text."""
    probe: str | None

    @property
    def body(self) -> dict[str, Any]:
        return self.ask("the film was good")


SPEECHES = {
    "hf": Speech("/hf/text-classification", "/hf/{task}", lambda text: {"inputs": text}, None),
    "tei": Speech("/tei/predict", "/tei/predict", lambda text: {"inputs": text}, "/tei/health"),
    "v2": Speech(
        "/v2/models/tiny/infer",
        "/v2/models/{model}/infer",
        lambda text: {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]},
        "/v2/health/ready",
    ),
}
EVERY = pytest.mark.parametrize("speech", SPEECHES.values(), ids=SPEECHES)


@pytest.fixture(scope="module")
def guarded(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package, api_keys="right", max_body_bytes=2_000)


def is_own_error(answer: httpx.Response) -> bool:
    return answer.headers["content-type"] == "application/json" and bool(answer.json()["error"])


def log_of(server: Server, request_id: str) -> dict[str, Any]:
    """The line of a request; lines are written some at once, a moment later."""

    def found() -> list[dict[str, Any]]:
        return [line for line in server.log_lines() if line.get("request_id") == request_id]

    wait_for(lambda: bool(found()))
    (line,) = found()
    return line


@EVERY
def test_a_key_is_asked_for_in_the_dialects_own_form(guarded: Server, speech: Speech) -> None:
    refused = guarded.client.post(speech.path, json=speech.body)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert is_own_error(refused)
    assert guarded.client.post(speech.path, json=speech.body, headers=KEY).status_code == 200


@EVERY
def test_an_unknown_address_is_not_told_to_those_without_a_key(guarded: Server, speech: Speech) -> None:
    path = "/" + speech.path.split("/")[1] + "/nothing/here/at/all"
    assert guarded.client.get(path).status_code == 401
    assert guarded.client.get(path, headers=KEY).status_code == 404


@EVERY
def test_a_probe_needs_no_key_and_is_not_logged(guarded: Server, speech: Speech) -> None:
    if speech.probe is None:
        pytest.skip("it has no probe")
    assert guarded.client.get(speech.probe, headers={"X-Request-ID": f"probe {speech.probe}"}).status_code == 200
    guarded.client.get("/v1/models", headers=KEY | {"X-Request-ID": f"after {speech.probe}"})
    log_of(guarded, f"after {speech.probe}")
    assert not [line for line in guarded.log_lines() if line.get("request_id") == f"probe {speech.probe}"]


@EVERY
def test_a_large_body_is_refused_in_the_dialects_own_form(guarded: Server, speech: Speech) -> None:
    answer = guarded.client.post(speech.path, json=speech.ask("a" * 3_000), headers=KEY)
    assert answer.status_code == 413
    assert is_own_error(answer)


@EVERY
@pytest.mark.parametrize("body", [b"{", b"[]", b"3", b"\xff", b""])
def test_what_is_no_request_is_refused_in_the_dialects_own_form(guarded: Server, speech: Speech, body: bytes) -> None:
    answer = guarded.client.post(speech.path, content=body, headers=KEY | JSON)
    assert answer.status_code in (400, 422)
    assert is_own_error(answer)


@EVERY
def test_another_method_is_told_with_those_that_are_taken(guarded: Server, speech: Speech) -> None:
    answer = guarded.client.put(speech.path, json=speech.body, headers=KEY)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert is_own_error(answer)


@EVERY
def test_the_deadline_of_a_request_holds(server: Server, speech: Speech) -> None:
    body = speech.ask("the film was good " * 12_000)
    answer = server.client.post(speech.path, json=body, headers={"X-Request-Timeout-Ms": "1"})
    assert answer.status_code in (422, 504)
    assert is_own_error(answer)


@EVERY
def test_a_packed_body_is_read_and_the_answers_id_is_the_callers(server: Server, speech: Speech) -> None:
    headers = JSON | {"Content-Encoding": "gzip", "X-Request-ID": f"packed {speech.path}"}
    packed = server.client.post(speech.path, content=gzip.compress(json.dumps(speech.body).encode()), headers=headers)
    assert packed.json() == server.client.post(speech.path, json=speech.body).json()
    assert packed.headers["x-request-id"] == f"packed {speech.path}"


@EVERY
def test_requests_are_counted_and_logged_as_all_others(server: Server, speech: Speech) -> None:
    name = f"counted {speech.path}"
    server.client.post(speech.path, json=speech.body, headers={"X-Request-ID": name})
    line = log_of(server, name)
    assert (line["path"], line["status"], line["items"]) == (speech.path, 200, 1)
    assert f'steadfast_requests_total{{code="200",route="{speech.name}"}}' in server.client.get("/metrics").text


@EVERY
def test_an_address_may_end_in_a_slash(server: Server, speech: Speech) -> None:
    assert server.client.post(f"{speech.path}/", json=speech.body).status_code == 200


async def answer_nothing(**_: str) -> Any:
    return None


def dialect_of(*paths: str) -> Dialect:
    return Dialect(addresses=[Address(path=path, answer=answer_nothing) for path in paths])


def test_a_dialect_has_the_paths_that_begin_as_its_addresses_do() -> None:
    first, second = dialect_of("/a/{x}", "/b"), dialect_of("/c/d")
    dialects = Dialects([first, second])
    assert [dialects.of(path) for path in ("/a", "/a/1/2", "/b", "/c/d")] == [first, first, first, second]
    assert all(dialects.of(path) is NATIVE for path in ("/", "", "/ab", "/v1/a"))


def test_the_parts_of_an_address_are_handed_over_by_name() -> None:
    found: dict[str, str] = {}

    async def answer(**parts: str) -> Any:
        found.update(parts)

    call = Dialect(addresses=[Address(path="/a/{x}/b/{y}", answer=answer)]).find("POST", "/a/1/b/2")
    assert call is not None
    asyncio.run(call.answer())  # type: ignore[arg-type]
    assert found == {"x": "1", "y": "2"}


@pytest.mark.parametrize("given", [[], [b"application/json"], [b"application/json; charset=utf8"], [b"b/c"]])
def test_media_types_are_those_that_a_dialect_names(given: list[bytes]) -> None:
    MediaTypes(frozenset({b"application/json", b"b/c"}), may_be_missing=True).check(given)


@pytest.mark.parametrize("given", [[], [b"text/plain"], [b"application/json"] * 2, [b"application/json; charset=x"]])
def test_other_media_types_are_refused(given: list[bytes]) -> None:
    with pytest.raises(Problem, match="send Content-Type: application/json, in UTF-8"):
        MediaTypes().check(given)
