"""The sentences about bodies that do not fit are ours: none speaks of Python, whatever is sent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from models.errors import MOST_MISTAKES, describe_mistake
from models.tasks import ENDPOINTS
from service.answers.contract import Reload, request_type
from service.server.context import RequestContext, current_request, read_body
from service.server.framework_errors import explain_mistakes
from service.server.problems import Problem
from tests.service.conftest import Server

REQUESTS: dict[str, type[BaseModel]] = {name: request_type(tasks[0], 64) for name, tasks in ENDPOINTS.items()} | {
    "models": Reload
}

SILENT = (
    "nullable",
    "default",
    "function-before",
    "function-wrap",
    "no-info",
    "with-info",
    "definitions",
    "model-field",
    "union",
)
"""Parts of a pydantic schema that raise nothing of their own; what our functions raise is said by them."""

RAISED: Mapping[str, set[str]] = {
    "model": {"model_type"},
    "model-fields": {"missing", "extra_forbidden"},
    "str": {"string_type", "string_unicode", "string_too_long", "string_too_short"},
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float", "greater_than_equal", "less_than_equal"},
    "list": {"list_type", "too_short", "too_long"},
    "tuple": {"tuple_type", "too_short", "too_long"},
    "literal": {"literal_error"},
    **{name: set() for name in SILENT},
}
"""The types of errors that each part of a pydantic schema raises."""

SEND = '; send {"inputs": [...]} with a text or an object for each answer'
CONTEXT = {"min_length": 1, "max_length": 64, "expected": "'a' or 'b'", "ge": 1, "le": 5, "error": "EOF"}


def kinds_in(schema: Any) -> Iterator[str]:
    """The kind of every part of a schema."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
        parts: Any = [part for name, part in schema.items() if name not in ("metadata", "default", "serialization")]
    else:
        parts = schema if isinstance(schema, list | tuple) else ()
    for part in parts:
        yield from kinds_in(part)


@pytest.mark.parametrize("kind", REQUESTS.values(), ids=REQUESTS)
def test_every_mistake_that_a_request_can_hold_has_a_sentence_of_ours(kind: type[BaseModel]) -> None:
    raised = set[str]().union(*(RAISED[part] for part in kinds_in(kind.__pydantic_core_schema__)), {"json_invalid"})
    assert raised <= set(get_args(ErrorType))
    for name in raised:
        said = describe_mistake({"type": name, "msg": "PYDANTIC", "ctx": CONTEXT})
        assert "PYDANTIC" not in said
        assert "{" not in said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ITEM_FIELDS = ("id", "text", "premise", "hypothesis", "text_a", "text_b", "context", "question", "choices")
ITEMS = VALUES | st.dictionaries(st.sampled_from(ITEM_FIELDS), VALUES, max_size=5)
BODIES = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(ITEMS, max_size=3) | st.just([""] * 65) | VALUES,
        "explain": VALUES | st.dictionaries(st.sampled_from(["method", "target", "top_k", "unit"]), VALUES),
        "on_error": st.just("report") | VALUES,
        **dict.fromkeys(["certify", "truncation", "top_k", "offset_unit", "model", "reload", "other"], VALUES),
    },
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(endpoint=st.sampled_from(list(REQUESTS)), value=BODIES)
def test_no_body_is_answered_in_the_words_of_pydantic(endpoint: str, value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        REQUESTS[endpoint].model_validate_json(body)
    except ValidationError as error:
        for mistake in error.errors():
            known = mistake["type"] in get_args(ErrorType)
            assert describe_mistake(mistake) != mistake["msg"] if known else mistake["msg"].startswith("must be ")
        problem = explain_mistakes([{**mistake, "loc": list(mistake["loc"])} for mistake in error.errors()], body)
        assert "Input should" not in problem.document("1").decode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "the body: must be an object; GET /docs.json lists its fields"),
        (b"{}", f"/inputs: is missing{SEND}"),
        (b'{"inputs": "a"}', f"/inputs: must be a list{SEND}"),
        (b'{"inputs": []}', "/inputs: must hold at least 1 entry"),
        (b'{"inputs": [' + b'"a",' * 64 + b'"a"]}', "/inputs must hold at most 64 entries; send several requests"),
        (b'{"inputs": [5]}', "/inputs/0: must be a text, or an object with text"),
        (b'{"inputs": [{"text": 5}]}', "/inputs/0/text: must be a text"),
        (b'{"inputs": [{"text": "a", "id": "%s"}]}' % (b"x" * 257), "/inputs/0/id: must have at most 256 characters"),
        (b'{"inputs": ["a"], "top_k": 0}', "/top_k: must be at least 1"),
        (b'{"inputs": ["a"], "top_k": 1.5}', "/top_k: must be a whole number"),
        (b'{"inputs": ["a"], "top_k": 1e400}', "/top_k: must be a whole number"),
        (b'{"inputs": ["a"], "truncation": "left"}', "/truncation: must be 'error', 'right' or 'window'"),
        (b'{"texts": ["a"]}', f"/inputs: is missing{SEND}; /texts: is not known here; GET /docs.json lists the fields"),
        (
            b'{"inputs": [5, {}], "x": 1, "y": 2}',
            "/inputs/0: must be a text, or an object with text; "
            "/x: is not known here; GET /docs.json lists the fields, and 2 more",
        ),
        (
            rb'{"inputs": ["\ud83d"]}',
            "the body holds half of a character, as where a text was cut inside an emoji; send whole characters",
        ),
        (
            b'{"inputs": ["a"], "explain": true, "target": "positive"}',
            '/target: is not known here; send it inside explain, as in {"explain": {"target": ...}}',
        ),
        (
            b'{"inputs": ["a"], "method": "rollout"}',
            '/method: is not known here; send it inside explain, as in {"explain": {"method": ...}}',
        ),
        (
            b'{"inputs": [{"text": "a", "target": "positive"}]}',
            "/inputs/0/target: is not known here; GET /docs.json lists the fields",
        ),
        (b'{"inputs": ["a"], "x": 1, "y": 2}', "/x: is not known here; GET /docs.json lists the fields, and 1 more"),
        (b'{', "the body is no JSON: EOF while parsing an object at line 1 column 1; send one object in UTF-8"),
        (b'{"inputs": ["a"], "top_k": NaN}', "NaN and Infinity are no JSON; send numbers or null"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_and_what_is_accepted_is_said_in_one_sentence(server: Server, body: bytes, said: str) -> None:
    answer = server.client.post("/v1/sentiment", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["detail"] == said


def test_a_reported_input_gets_the_same_sentences(server: Server) -> None:
    answer = server.ask(inputs=["good", 5, {"text": "a", "x": 1}], on_error="report").json()
    assert [error["detail"] for error in answer["errors"]] == [
        "must be a text, or an object with text",
        "x: is not known here",
    ]


@pytest.mark.parametrize(
    ("endpoint", "given", "place", "said"),
    [
        (
            "nli",
            {"premise": "a", "x": 1},
            "hypothesis",
            "hypothesis: is missing; x: is not known here",
        ),
        (
            "nli",
            {"premise": "a", "hypothesis": 2, "x": 1, "y": 2, "z": 3},
            "hypothesis",
            "hypothesis: must be a text; x: is not known here; y: is not known here, and 1 more",
        ),
        (
            "reading-comprehension",
            {"context": "a", "question": "b", "choices": ["x", 2]},
            "choices/1",
            "choices.1: must be a text",
        ),
    ],
    ids=["two", "four", "echo"],
)
def test_a_reported_input_is_told_its_mistakes_together(endpoint: str, given: Any, place: str, said: str) -> None:
    request: Any = REQUESTS[endpoint].model_validate({"inputs": [given], "on_error": "report"})
    (read,) = request.inputs
    assert (read.field, str(read)) == (place, said)


def test_a_pair_that_is_none_is_told_its_fields() -> None:
    with pytest.raises(ValidationError) as refused:
        REQUESTS["nli"].model_validate_json(b'{"inputs": ["It rains."]}')
    assert describe_mistake(refused.value.errors()[0]) == "must be an object with premise and hypothesis"


def test_a_list_with_a_wrong_entry_is_not_called_too_short_as_well() -> None:
    body = b'{"inputs": [{"context": "a", "question": "b", "choices": ["x", 2]}]}'
    with pytest.raises(ValidationError) as refused:
        REQUESTS["reading-comprehension"].model_validate_json(body)
    problem = explain_mistakes([{**one, "loc": list(one["loc"])} for one in refused.value.errors()], body)
    assert [(fault.pointer, fault.detail) for fault in problem.faults] == [("/inputs/0/choices/1", "must be a text")]


MANY = b",".join(b'"%x": 0' % number for number in range(150_000))


@pytest.mark.parametrize(
    ("endpoint", "body", "said"),
    [
        ("sentiment", b'{"inputs": ["a"], %s}' % MANY, "150,000 mistakes"),
        ("sentiment", b'{"inputs": [{"text": "a", %s}]}' % MANY, "150,000 mistakes"),
        ("sentiment", b'{"inputs": [%s]}' % b",".join([b"{}"] * 600_000), "at most 64 entries"),
        ("sentiment", b'{"inputs": ["a"], "explain": {%s}}' % MANY, "150,000 mistakes"),
        (
            "reading-comprehension",
            b'{"inputs": [{"context": "a", "question": "b", "choices": [%s]}]}' % b",".join([b"1"] * 900_000),
            "must be a text",
        ),
    ],
    ids=["fields", "fields-of-an-input", "inputs", "fields-of-explain", "choices"],
)
@pytest.mark.parametrize("on_error", ["fail", "report"])
def test_mistakes_without_number_are_not_listed(
    endpoint: str, body: bytes, said: str, on_error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these held up the event loop for seconds."""
    listed: list[int] = []

    def explain(found: Sequence[Mapping[str, Any]], body: bytes, inside: Mapping[str, str]) -> Problem:
        listed.append(len(found))
        return explain_mistakes(found, body, inside)

    monkeypatch.setattr("service.server.context.explain_mistakes", explain)
    whole = body[:-1] + b', "on_error": "%s"}' % on_error.encode()
    current_request.set(RequestContext("1", body=whole))
    try:
        request: Any = read_body(REQUESTS[endpoint])
        told = str(request.inputs[0])
    except Problem as problem:
        told = problem.detail
    assert said in told
    assert sum(listed) <= MOST_MISTAKES
