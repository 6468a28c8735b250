"""The server keeps the promises of its OpenAPI document: good and bad requests are made from it."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models.tasks import ENDPOINTS, TASKS
from service.answers.contract import request_type
from service.server.dialects import DIALECTS, DOCUMENTS
from service.server.dialects.answering import Answering
from service.server.metrics import Metrics
from service.server.openapi import describe_api
from service.server.registry import ModelRegistry
from service.settings import Settings
from tests.service.conftest import Server

CASES = int(os.environ.get("STEADFAST_CONTRACT_CASES", "300"))
"""Requests in all; many more find more, and take longer."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = describe_api(64)
OPERATIONS: list[Any] = [
    result.ok()  # type: ignore[union-attr]
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
]
ASKED = [(operation, GenerationMode.POSITIVE) for operation in OPERATIONS] + [
    # The other operations take nothing that could be given wrongly.
    (operation, GenerationMode.NEGATIVE)
    for operation in OPERATIONS
    if operation.body
]


SECOND_NAMES = {
    "/hf/{task}/{model}",
    "/rerank",
    *(f"/v2/models/{{model}}/versions/{{version}}{end}" for end in ("", "/infer", "/ready", "/config")),
}
"""Addresses that the document shows under a shorter name, as the words of their protocol say."""


@pytest.fixture(scope="module")
def zoo(start_server: Callable[..., Server]) -> Server:
    """A server of all packages that come along."""
    return start_server()


def test_the_server_shows_this_document(server: Server) -> None:
    assert server.client.get("/openapi.json").json() == DOCUMENT
    assert server.client.get("/docs.json").json() == DOCUMENT


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_task_has_examples_of_requests_that_it_takes(endpoint: str) -> None:
    media = DOCUMENT["paths"][f"/v1/{endpoint}"]["post"]["requestBody"]["content"]["application/json"]
    assert {example["x-task"] for example in media["examples"].values()} == {one.name for one in ENDPOINTS[endpoint]}
    for example in media["examples"].values():
        request_type(TASKS[example["x-task"]], 64).model_validate(example["value"])


def test_every_address_of_other_protocols_is_shown_once_with_an_example_that_is_answered(zoo: Server) -> None:
    shown = {(one.method, one.path) for document in DOCUMENTS for one in document.operations}
    for document in DOCUMENTS:
        for one in document.operations:
            described = DOCUMENT["paths"][one.path][one.method.lower()]
            assert described["tags"] == [document.tag]
            path = one.path.replace("{model}", "sentiment")
            answer = zoo.client.request(one.method, path, json=one.example)
            # No package of the zoo finds answers in texts.
            assert answer.status_code == (404 if path == "/hf/question-answering" else 200), (path, answer.text)
    assert len(shown) == sum(len(document.operations) for document in DOCUMENTS)


def test_no_address_of_other_protocols_is_left_out_but_second_names() -> None:
    answering = Answering(ModelRegistry(Settings()), Metrics(), Settings())
    shown = {(one.method, one.path) for document in DOCUMENTS for one in document.operations}
    for build in DIALECTS:
        for address in build(answering).addresses:
            found = [path for method, path in shown if method == address.method and address.pattern.match(path)]
            assert found or address.path in SECOND_NAMES, address.path


@pytest.mark.parametrize(("operation", "mode"), ASKED, ids=lambda value: getattr(value, "label", value))
def test_what_is_answered_fits_the_document(server: Server, operation: Any, mode: GenerationMode) -> None:
    @settings(
        max_examples=-(-CASES // len(ASKED)), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(base_url=f"http://127.0.0.1:{server.port}")
        case.validate_response(response, checks=CHECKS)
        # A timeout that is too short is part of the contract.
        assert response.status_code < 500 or response.status_code == 504, (response.text, case)

    ask()
