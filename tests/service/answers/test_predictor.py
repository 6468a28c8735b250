"""From items to results with one package."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.package import MANIFEST_FILE, open_package
from export.session import Arrays
from models.tasks.sentiment import SENTIMENT, SentimentItem
from models.text import Row
from service.answers.contract import request_type
from service.answers.predictor import BrokenModel, NotOffered, Predictor
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult
from service.server.context import RequestContext, current_request
from tests.service.tiny import reseal


def test_items_that_cannot_be_read_are_set_apart_with_their_place(predictor: Predictor) -> None:
    encoded_items, rejected = predictor.read([SentimentItem(text=text) for text in ("good", "", "bad", " ")], "window")
    assert [encoded_item.index for encoded_item in encoded_items] == [0, 2]
    assert [(rejection.index, rejection.reason.code) for rejection in rejected] == [
        (1, "empty_input"),
        (3, "empty_input"),
    ]


@pytest.fixture
def attentive(package: Path, tmp_path: Path) -> Iterator[Predictor]:
    """An predictor whose package gives attention and no rollout."""
    folder = Path(shutil.copytree(package, tmp_path / "attentive"))
    outputs = json.loads((folder / MANIFEST_FILE).read_bytes())["outputs"]
    reseal(folder, outputs=[output for output in outputs if output["name"] != "rollout"], probes=[])
    with Pool(1) as pool, Predictor(open_package(folder), EngineLimits(), pool) as predictor:
        yield predictor


def test_only_what_the_graph_gives_is_offered(predictor: Predictor, attentive: Predictor) -> None:
    assert predictor.explanations == ("attention", "rollout")
    predictor.check(None)
    predictor.check("rollout")
    assert attentive.explanations == ("attention",)
    with pytest.raises(NotOffered, match="gives no explanation 'rollout'; it gives: 'attention'"):
        attentive.check("rollout")


def test_an_explanation_that_is_not_offered_is_the_callers_mistake(
    package: Path, attentive: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    monkeypatch.setattr(app.REGISTRY, "using", lambda *_: nullcontext(attentive))
    current_request.set(RequestContext("id"))
    request = request_type(SENTIMENT, 1).model_validate({"inputs": ["a"], "explain": "rollout"})
    steadfast: Any = app.Steadfast
    response = asyncio.run(steadfast.apis["sentiment"].func(None, request))
    assert response.status_code == 422
    assert [fault["pointer"] for fault in json.loads(response.body)["errors"]] == ["/explain"]


@pytest.mark.parametrize("truncation", ["window", "right"])
@pytest.mark.parametrize(("words", "aside"), [(100, False), (2_100, True)])
def test_what_takes_long_to_explain_holds_up_no_other_caller(
    package: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, words: int, aside: bool, truncation: str
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    threads: list[threading.Thread] = []

    def answer(*arguments: Any) -> Sequence[Any]:
        threads.append(threading.current_thread())
        return made(*arguments)

    made = predictor.answer
    monkeypatch.setattr(predictor, "answer", answer)
    monkeypatch.setattr(app.REGISTRY, "using", lambda *_: nullcontext(predictor))
    current_request.set(RequestContext("id"))
    request = request_type(SENTIMENT, 1).model_validate(
        {"inputs": ["good " * words], "explain": "attention", "truncation": truncation}
    )
    steadfast: Any = app.Steadfast
    assert asyncio.run(steadfast.apis["sentiment"].func(None, request)).status_code == 200
    assert [thread is not threading.main_thread() for thread in threads] == [aside]


def test_the_name_is_that_of_the_manifest(predictor: Predictor) -> None:
    assert predictor.name.digest == predictor.package.manifest.digest
    assert (predictor.name.task, predictor.name.method, predictor.name.precision) == ("sentiment", "plain", "fp32")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_gives_no_answer(
    predictor: Predictor, number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded_items, _ = predictor.read([SentimentItem(text="good")], "window")
    computed: Future[EngineResult] = Future()
    computed.set_result(EngineResult([{"logits": np.array([0, number], dtype=np.float32)}], 0.0, 0.0))
    monkeypatch.setattr(predictor._engine, "submit", lambda *_, **__: computed)
    with pytest.raises(BrokenModel, match="an output is not finite"):
        predictor.compute(encoded_items, None).result()


def test_an_answer_that_comes_too_late_is_the_problem_of_the_contract(
    package: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    monkeypatch.setattr(app.REGISTRY, "using", lambda *_: nullcontext(predictor))
    current_request.set(RequestContext("id", deadline=time.monotonic() - 1))
    request = request_type(SENTIMENT, 1).model_validate({"inputs": ["a"]})
    steadfast: Any = app.Steadfast
    response = asyncio.run(steadfast.apis["sentiment"].func(None, request))
    assert (response.status_code, json.loads(response.body)["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_an_answer_that_nobody_waits_for_is_not_computed(made: Callable[[str], Path], task: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        entered.set()
        assert go_on.wait(30)
        return [{} for _ in rows]

    package = open_package(made(task) / "package")
    with (
        Pool(1) as pool,
        Engine(hold_up, EngineLimits(), pool) as other,
        Predictor(package, EngineLimits(), pool) as predictor,
    ):
        encoded_items, _ = predictor.read([package.task.item(text="Ada met Bo.")], "window")
        other.submit(encoded_items[0].encoded.rows, ("logits",))
        assert entered.wait(30)
        given_up = predictor.compute(encoded_items, "rollout")
        wanted = predictor.compute(encoded_items, "rollout")
        assert given_up.cancel()
        assert predictor._engine._backlog.rows == 1
        go_on.set()
        assert len(wanted.result(30).predictions) == 1


def test_an_explanation_that_nobody_waits_for_is_not_computed(made: Callable[[str], Path]) -> None:
    """Of answers at tokens, whose explanation is a second run."""
    with Pool(1) as pool, Predictor(open_package(made("ner") / "package"), EngineLimits(), pool) as predictor:
        encoded_items, _ = predictor.read([predictor.task.item(text="Ada met Bo.")], "window")
        asked: list[tuple[str, ...]] = []
        submit = predictor._engine.submit

        def cancel_before_the_second(
            rows: Sequence[Row], outputs: tuple[str, ...], **options: Any
        ) -> Future[EngineResult]:
            asked.append(outputs)
            future = submit(rows, outputs, **options)
            if len(asked) == 2:
                answered.cancel()
            return future

        predictor._engine.submit = cancel_before_the_second  # type: ignore[method-assign]
        answered: Future[Any] = predictor.compute(encoded_items, "rollout")
        with pytest.raises(CancelledError):
            answered.result(30)


def test_an_answer_that_does_not_fit_is_not_blamed_on_the_caller(
    package: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    def give_nonsense(*_: Any) -> Any:
        return SentimentItem.model_validate(5)

    monkeypatch.setattr(app.REGISTRY, "using", lambda *_: nullcontext(predictor))
    monkeypatch.setattr(predictor, "read", give_nonsense)
    current_request.set(RequestContext("id"))
    request = request_type(SENTIMENT, 1).model_validate({"inputs": ["a"]})
    steadfast: Any = app.Steadfast
    with pytest.raises(RuntimeError, match="does not fit its own type"):
        asyncio.run(steadfast.apis["sentiment"].func(None, request))
