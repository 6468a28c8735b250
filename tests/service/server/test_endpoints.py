"""The functions behind `POST /v1/ENDPOINT`, called as BentoML calls them."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from models.tasks import ENDPOINTS
from models.tasks.sentiment import SENTIMENT, SentimentItem
from service.answers.answers import Answers, PendingAnswers
from service.answers.contract import request_type
from service.answers.predictor import Predictor
from service.server.context import RequestContext, current_request
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
        return asyncio.run(method.func(None, body))

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


def test_an_answer_that_comes_too_late_is_the_problem_of_the_contract(ask: Ask, predictor: Predictor) -> None:
    response = ask(predictor, deadline=time.monotonic() - 1, inputs=["a"])
    assert (response.status_code, json.loads(response.body)["code"]) == (504, "deadline_exceeded")


def test_an_answer_that_does_not_fit_is_not_blamed_on_the_caller(
    ask: Ask, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_nonsense(*_: Any, **__: Any) -> Any:
        return SentimentItem.model_validate(5)

    monkeypatch.setattr(predictor, "submit", give_nonsense)
    with pytest.raises(RuntimeError, match="does not fit its own type"):
        ask(predictor, inputs=["a"])
