"""The functions behind `POST /v1/ENDPOINT`, called as BentoML calls them."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from starlette.responses import Response

from models.tasks import ENDPOINTS
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import TextItem
from service.answers.answers import Answers, PendingAnswers
from service.answers.contract import Options, request_type
from service.answers.predictor import Predictor
from service.server import endpoints
from service.server.context import RequestContext, current_request, read_body
from service.server.endpoints import endpoint
from service.server.metrics import Metrics
from service.server.registry import ModelRegistry
from service.settings import Settings

Ask = Callable[..., Any]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """A function that has a predictor answer a request as an endpoint does."""

    def ask_predictor(predictor: Predictor, *, deadline: float | None = None, **request: Any) -> Any:
        registry = ModelRegistry(Settings())
        monkeypatch.setattr(registry, "using", lambda *_: nullcontext(predictor))
        current_request.set(RequestContext("id", deadline=deadline))
        body = request_type(SENTIMENT, 1).model_validate(request)
        method = endpoint(ENDPOINTS["sentiment"], registry, Metrics(), 1)
        return asyncio.run(method.api.func(None, body))

    return ask_predictor


def test_an_explanation_that_is_not_offered_is_the_callers_mistake(ask: Ask, attentive: Predictor) -> None:
    response = ask(attentive, inputs=["a"], explain="rollout")
    assert response.status_code == 422
    assert [fault["pointer"] for fault in json.loads(response.body)["errors"]] == ["/explain"]


@pytest.mark.parametrize("truncation", ["window", "right"])
@pytest.mark.parametrize(("words", "in_a_thread"), [(100, False), (2_100, True)])
def test_what_takes_long_to_explain_holds_up_no_other_caller(
    ask: Ask, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, words: int, in_a_thread: bool, truncation: str
) -> None:
    threads: list[threading.Thread] = []

    def record_thread(pending: PendingAnswers) -> Answers:
        threads.append(threading.current_thread())
        return result(pending)

    result = PendingAnswers.result
    monkeypatch.setattr(PendingAnswers, "result", record_thread)
    response = ask(predictor, inputs=["good " * words], explain="attention", truncation=truncation)
    assert response.status_code == 200
    assert [thread is not threading.main_thread() for thread in threads] == [in_a_thread]


@pytest.mark.parametrize(("words", "in_a_thread"), [(100, False), (2_100, True)])
def test_a_large_body_is_parsed_in_turn_with_others(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, words: int, in_a_thread: bool
) -> None:
    threads: list[str] = []

    def record_thread(kind: Any, length: int | None) -> Any:
        threads.append(threading.current_thread().name)
        return read_body(kind, length)

    registry = ModelRegistry(Settings())
    monkeypatch.setattr(endpoints, "read_body", record_thread)
    monkeypatch.setattr(registry, "using", lambda *_: nullcontext(predictor))
    monkeypatch.setattr(registry, "for_endpoint", lambda *_: [predictor])
    body = json.dumps({"inputs": ["good " * words]}).encode()
    current_request.set(RequestContext("id", body=body))

    async def answer() -> Response:
        return await endpoint(ENDPOINTS["sentiment"], registry, Metrics(), 1).answer()

    response = asyncio.run(answer())
    assert response.status_code == 200
    assert [name.startswith("long-work") for name in threads] == [in_a_thread]


def test_a_request_that_runs_out_of_time_while_its_answers_are_made_is_traced_with_its_stages(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_time(_: PendingAnswers) -> Answers:
        raise asyncio.CancelledError

    monkeypatch.setattr(PendingAnswers, "result", run_out_of_time)
    context = RequestContext("id")

    async def ask_in_vain() -> None:
        current_request.set(context)
        with pytest.raises(asyncio.CancelledError):
            await endpoints.answer_items(predictor, [TextItem(text="good")], Options(), Metrics())

    asyncio.run(ask_in_vain())
    assert [stage.name for stage in context.stages] == ["tokenize", "queue", "infer"]


def test_an_answer_that_comes_too_late_is_the_problem_of_the_contract(ask: Ask, predictor: Predictor) -> None:
    response = ask(predictor, deadline=time.monotonic() - 1, inputs=["a"])
    assert (response.status_code, json.loads(response.body)["code"]) == (504, "deadline_exceeded")


def test_an_answer_that_does_not_fit_is_not_blamed_on_the_caller(
    ask: Ask, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_nonsense(*_: Any, **__: Any) -> Any:
        return TextItem.model_validate(5)

    monkeypatch.setattr(predictor, "submit", give_nonsense)
    with pytest.raises(RuntimeError, match="does not fit its own type"):
        ask(predictor, inputs=["a"])


def test_texts_read_in_a_thread_are_not_computed_when_their_caller_leaves(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "LARGE_BODY_BYTES", 0)
    reading, go_on, submitted = threading.Event(), threading.Event(), threading.Event()
    pending: list[PendingAnswers] = []
    submit = predictor.submit

    def read_slowly(*arguments: Any, **options: Any) -> PendingAnswers:
        reading.set()
        assert go_on.wait(30)
        pending.append(replace(submit(*arguments, **options), future=Future()))
        submitted.set()
        return pending[0]

    async def leave_while_reading() -> None:
        current_request.set(RequestContext("id", body=b"large"))
        items, options = [TextItem(text="good")], Options()
        asking = asyncio.create_task(endpoints.answer_items(predictor, items, options, Metrics()))
        await asyncio.to_thread(reading.wait, 30)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        await asyncio.to_thread(submitted.wait, 30)
        while not pending[0].future.cancelled():
            await asyncio.sleep(0.01)

    monkeypatch.setattr(predictor, "submit", read_slowly)
    asyncio.run(asyncio.wait_for(leave_while_reading(), 60))
