"""From items to results with one package."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.package import open_package
from export.session import Arrays
from models.tasks.sentiment import SentimentItem
from models.text import Row
from service.answers.predictor import BrokenModel, NotOffered, Predictor
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult
from tests.service.engine.fakes import RecordingMeter


def test_items_that_cannot_be_read_are_set_apart_with_their_place(predictor: Predictor) -> None:
    encoded_items, rejected = predictor.read([SentimentItem(text=text) for text in ("good", "", "bad", " ")], "window")
    assert [encoded_item.index for encoded_item in encoded_items] == [0, 2]
    assert [(rejection.index, rejection.reason.code) for rejection in rejected] == [
        (1, "empty_input"),
        (3, "empty_input"),
    ]


def test_only_what_the_graph_gives_is_offered(predictor: Predictor, attentive: Predictor) -> None:
    assert predictor.explanations == ("attention", "rollout")
    predictor.check(None)
    predictor.check("rollout")
    assert attentive.explanations == ("attention",)
    with pytest.raises(NotOffered, match="gives no explanation 'rollout'; it gives: 'attention'"):
        attentive.check("rollout")


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


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_an_answer_that_nobody_waits_for_is_not_computed(made: Callable[[str], Path], task: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        entered.set()
        assert go_on.wait(30)
        return [{} for _ in rows]

    package = open_package(made(task) / "package")
    meter = RecordingMeter()
    with (
        Pool(1, meter) as pool,
        Engine(hold_up, EngineLimits(), pool) as other,
        Predictor(package, EngineLimits(), pool) as predictor,
    ):
        encoded_items, _ = predictor.read([package.task.item(text="Ada met Bo.")], "window")
        other.submit(encoded_items[0].encoded.rows, ("logits",))
        assert entered.wait(30)
        given_up = predictor.compute(encoded_items, "rollout")
        wanted = predictor.compute(encoded_items, "rollout")
        assert given_up.cancel()
        assert [rows for rows, _ in meter.queues][-1] == 1
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
