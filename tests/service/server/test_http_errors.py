"""Bad requests over real HTTP: each is told what is wrong, and the next good one is answered on the same connection."""

import http.client
import json
import socket
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import Server

JSON = {"Content-Type": "application/json"}
PROBLEM_FIELDS = {"type", "title", "status", "detail", "code", "request_id", "errors", "error"}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A request that must fail, with the status and code that it must get."""

    name: str
    status: int
    code: str
    body: bytes = b""
    pointers: tuple[str, ...] = ()
    method: str = "POST"
    path: str = "/v1/sentiment"
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def invalid(name: str, request: Any, *pointers: str, code: str = "validation") -> Bad:
    return Bad(name=name, status=422, code=code, body=json.dumps(request).encode(), pointers=pointers)


def malformed(name: str, body: bytes) -> Bad:
    return Bad(name=name, status=400, code="malformed_json", body=body)


def mistyped(name: str, **headers: str) -> Bad:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Bad(name=name, status=415, code="unsupported_media_type", body=b'{"inputs": ["a"]}', headers=headers)


GOOD = {"inputs": ["the film was good"]}
TOO_LONG = "good " * 60

BAD_REQUESTS = [
    malformed("no JSON", b"hello"),
    malformed("no body", b""),
    malformed("cut off", b'{"inputs": ["a"'),
    malformed("more than one value", b'{"inputs": ["a"]} {}'),
    malformed("not UTF-8", b'{"inputs": ["\xff\xfe"]}'),
    malformed("UTF-16", '{"inputs": ["a"]}'.encode("utf-16")),
    malformed("half a surrogate pair", rb'{"inputs": ["\ud800"]}'),
    malformed("encoded surrogates", b'{"inputs": ["\xed\xa0\x80"]}'),
    malformed("raw control character", b'{"inputs": ["a\x00b"]}'),
    malformed("NaN", b'{"inputs": ["a"], "top_k": NaN}'),
    malformed("Infinity among inputs", b'{"inputs": [-Infinity]}'),
    malformed("trailing comma", b'{"inputs": ["a",]}'),
    malformed("nested too deep", b"[" * 100_000),
    malformed("nested too deep inside", b'{"inputs": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
    malformed("number of 10,000 digits", b'{"inputs": ["a"], "top_k": ' + b"9" * 10_000 + b"}"),
    invalid("a list", [], ""),
    invalid("null", None, ""),
    invalid("no inputs", {}, "/inputs"),
    invalid("empty inputs", {"inputs": []}, "/inputs"),
    invalid("inputs not a list", {"inputs": "a"}, "/inputs"),
    invalid("a number for an input", {"inputs": ["a", 5]}, "/inputs/1"),
    invalid("null for an input", {"inputs": [None]}, "/inputs/0"),
    invalid("a number for a text", {"inputs": [{"text": 5}]}, "/inputs/0/text"),
    invalid("no text", {"inputs": ["a", "b", "c", {"id": "x"}]}, "/inputs/3/text"),
    invalid("a number for an id", {"inputs": [{"text": "a", "id": 5}]}, "/inputs/0/id"),
    invalid("unknown field", GOOD | {"a/b~c": 1}, "/a~1b~0c"),
    invalid("unknown field of an item", {"inputs": [{"text": "a", "lang": "en"}]}, "/inputs/0/lang"),
    invalid("text for a number", GOOD | {"top_k": "1"}, "/top_k"),
    invalid("truth for a number", GOOD | {"top_k": True}, "/top_k"),
    invalid("no entries", GOOD | {"top_k": 0}, "/top_k"),
    invalid("unknown explanation", GOOD | {"explain": "lime"}, "/explain"),
    invalid("explanation by the gradient, which has a sign", GOOD | {"explain": "gradient"}, "/explain"),
    invalid("unknown method of explanation", GOOD | {"explain": {"method": "lime"}}, "/explain/method"),
    invalid("unknown option of explanations", GOOD | {"explain": {"words": 5}}, "/explain/words"),
    invalid("unknown target", GOOD | {"explain": {"method": "rollout", "target": "neutral"}}, "/explain/target"),
    invalid("a number for a label", GOOD | {"explain": {"method": "rollout", "target": 1}}, "/explain/target"),
    invalid("truth for a target", GOOD | {"explain": {"target": True}}, "/explain/target"),
    invalid("no explanation", GOOD | {"explain": False}, "/explain"),
    invalid("unknown truncation", GOOD | {"truncation": "left"}, "/truncation"),
    invalid("unknown error mode", GOOD | {"on_error": "ignore"}, "/on_error"),
    invalid("unknown offset unit", GOOD | {"offset_unit": "line"}, "/offset_unit"),
    invalid("two mistakes", {"inputs": [1], "x": 2}, "/inputs/0", "/x"),
    invalid("empty text", {"inputs": ["a", "", "b", " \n"]}, "/inputs/1/text", "/inputs/3/text", code="empty_input"),
    invalid("only invisible signs", {"inputs": ["\u200b\u00ad"]}, "/inputs/0/text", code="empty_input"),
    invalid("too long", {"inputs": [TOO_LONG], "truncation": "error"}, "/inputs/0/text", code="input_too_long"),
    invalid("far too long", {"inputs": ["x" * 250_001]}, "/inputs/0/text", code="input_too_long"),
    mistyped("form", Content_Type="application/x-www-form-urlencoded"),
    mistyped("multipart", Content_Type="multipart/form-data; boundary=x"),
    mistyped("BentoML's pickle", Content_Type="application/vnd.bentoml+pickle"),
    mistyped("JSON of another charset", Content_Type="application/json; charset=utf-16"),
    mistyped("no type"),
    mistyped("compressed in an unknown way", Content_Type="application/json", Content_Encoding="br"),
    Bad(
        name="too many items",
        status=413,
        code="too_many_items",
        body=json.dumps({"inputs": ["a"] * 65}).encode(),
        pointers=("/inputs",),
    ),
    Bad(
        name="too many bytes",
        status=413,
        code="payload_too_large",
        body=json.dumps({"inputs": ["x" * 2_000_000]}).encode(),
    ),
    Bad(name="unknown address", status=404, code="not_found", path="/v9/sentiment"),
    Bad(name="unknown task", status=404, code="model_not_found", path="/v1/topic"),
    Bad(
        name="task without a model",
        status=404,
        code="model_not_found",
        path="/v1/nli",
        body=b'{"inputs": [{"premise": "It rains.", "hypothesis": "It is wet."}]}',
    ),
    Bad(
        name="item of another task",
        status=422,
        code="validation",
        path="/v1/nli",
        body=b'{"inputs": ["good"]}',
        pointers=("/inputs/0",),
    ),
    Bad(name="unknown model", status=404, code="model_not_found", path="/v1/models/nli", method="GET"),
    Bad(name="GET of a task", status=405, code="method_not_allowed", method="GET"),
    Bad(name="DELETE of a task", status=405, code="method_not_allowed", method="DELETE"),
    Bad(name="DELETE of the models", status=405, code="method_not_allowed", path="/v1/models", method="DELETE"),
    Bad(name="POST of nothing to the models", status=400, code="malformed_json", path="/v1/models"),
    Bad(
        name="unload the models",
        status=422,
        code="validation",
        path="/v1/models",
        body=b'{"reload": false}',
        pointers=("/reload",),
    ),
    Bad(
        name="reload by a number",
        status=422,
        code="validation",
        path="/v1/models",
        body=b'{"reload": 1}',
        pointers=("/reload",),
    ),
    Bad(
        name="unknown model of a task",
        status=404,
        code="model_not_found",
        body=json.dumps(GOOD | {"model": "huge"}).encode(),
        pointers=("/model",),
    ),
    invalid("a number for a model", GOOD | {"model": 5}, "/model"),
    Bad(name="POST to a probe", status=405, code="method_not_allowed", path="/readyz"),
]


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
def test_a_bad_request_gets_a_problem_and_the_next_good_one_an_answer(server: Server, bad: Bad) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(bad.method, bad.path, bad.body, bad.headers)
        response = connection.getresponse()
        problem = json.loads(response.read())
        connection.request("POST", "/v1/sentiment", json.dumps(GOOD), JSON)
        next_status = connection.getresponse().status

    assert (response.status, problem["code"]) == (bad.status, bad.code)
    assert_problem(response, problem)
    assert tuple(error["pointer"] for error in problem["errors"]) == bad.pointers
    assert next_status == 200


def assert_problem(response: http.client.HTTPResponse, problem: dict[str, Any]) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) == PROBLEM_FIELDS
    assert problem["status"] == response.status
    assert problem["error"] == problem["detail"]
    assert problem["type"] == f"urn:steadfast:problem:{problem['code']}"
    assert problem["request_id"] == response.headers["x-request-id"]


def test_a_missing_model_is_told_which_there_are(server: Server) -> None:
    assert "sentiment" in server.client.post("/v1/topic").json()["detail"]


def test_a_wrong_method_is_told_which_is_right(server: Server) -> None:
    answer = server.client.get("/v1/sentiment")
    assert answer.headers["allow"] == "POST"
    assert answer.json()["detail"] == "this address takes POST"


@pytest.mark.parametrize("body", [{"inputs": "good"}, {"text": "good"}])
def test_inputs_that_are_no_list_are_told_what_to_send(server: Server, body: dict[str, str]) -> None:
    detail = server.client.post("/v1/sentiment", json=body).json()["detail"]
    assert 'send {"inputs": [...]} with a text or an object for each answer' in detail


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/v1/sentiment", "/metrics", "/readyz", "/hf/x", "/v2"])
@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "PROPFIND", "TRACE"])
def test_an_address_tells_the_methods_that_it_takes_instead(server: Server, method: str, path: str) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code == 405
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed <= {"GET", "HEAD", "POST"}
    for one in allowed - {"POST"}:
        assert server.client.request(one, path).status_code in (200, 503)
    assert ("GET" in allowed) == ("HEAD" in allowed)


@pytest.mark.parametrize(
    "request_",
    [
        GOOD | {"x" * 180_000: 1},
        {"inputs": [{"text": "a", "\N{SNOWMAN}" * 180_000: 1}]},
        GOOD | {"explain": {"target": "x" * 180_000}},
        GOOD | {"explain": {"target": 10**4_000}},
    ],
    ids=["field", "field of an item", "target", "number"],
)
def test_a_long_name_is_cut_where_it_is_repeated(server: Server, request_: dict[str, Any]) -> None:
    response = server.ask(**request_)
    assert response.status_code == 422
    assert len(response.content) < 2_000


def test_two_content_types_are_refused(server: Server) -> None:
    # BentoML would read the first of them.
    headers = [("Content-Type", "multipart/form-data; boundary=x"), ("Content-Type", "application/json")]
    assert server.client.post("/v1/sentiment", content=b'{"inputs": ["a"]}', headers=headers).status_code == 415


def test_a_body_without_a_length_is_cut_off_at_the_limit(server: Server) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield b" " * 100_000

    response = server.client.post("/v1/sentiment", content=endless(), headers=JSON)
    assert response.json()["code"] == "payload_too_large"


def test_a_length_that_promises_too_much_is_refused_before_the_body(server: Server) -> None:
    head = (
        b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_caller_that_leaves_in_the_middle_of_its_body_harms_nobody(server: Server) -> None:
    head = b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
    assert server.ask(**GOOD).status_code == 200


def test_no_answer_quotes_a_text(server: Server) -> None:
    for request in ({"inputs": [["zebra"]]}, {"inputs": [{"text": "zebra", "id": 1}]}, {"inputs": ["zebra"] * 65}):
        assert "zebra" not in server.ask(**request).text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("inputs", "explain", "truncation", "on_error", "top_k", "offset_unit", "text", "id")
NEAR_REQUESTS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5) | st.fixed_dictionaries(
    {"inputs": st.lists(st.text(max_size=40) | st.fixed_dictionaries({"text": st.text(max_size=40)}), max_size=5)},
    optional={"explain": st.sampled_from([None, True, "attention", {"unit": "token"}]), "top_k": VALUES},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | (VALUES | NEAR_REQUESTS).map(lambda value: json.dumps(value).encode()))
def test_whatever_is_sent_is_answered_or_refused_by_the_contract(server: Server, body: bytes) -> None:
    response = server.client.post("/v1/sentiment", content=body, headers=JSON)
    assert response.status_code in (200, 400, 413, 422)
    if response.status_code != 200:
        assert set(response.json()) == PROBLEM_FIELDS
