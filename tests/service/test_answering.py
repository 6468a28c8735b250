"""From items to results with one package."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.package import MANIFEST_FILE, open_package
from models.tasks.sentiment import SENTIMENT, SentimentItem
from service.answering import Answerer, BrokenModel, NotOffered
from service.border import Exchange, current_exchange
from service.contract import request_type
from service.engine import Computed, EngineLimits
from tests.service.tiny import reseal


def test_items_that_cannot_be_read_are_set_apart_with_their_place(answerer: Answerer) -> None:
    readings, refusals = answerer.read([SentimentItem(text=text) for text in ("good", "", "bad", " ")], "window")
    assert [reading.index for reading in readings] == [0, 2]
    assert [(refusal.index, refusal.reason.code) for refusal in refusals] == [(1, "empty_input"), (3, "empty_input")]


@pytest.fixture
def attentive(package: Path, tmp_path: Path) -> Iterator[Answerer]:
    """An answerer whose package gives attention and no rollout."""
    folder = Path(shutil.copytree(package, tmp_path / "attentive"))
    outputs = json.loads((folder / MANIFEST_FILE).read_bytes())["outputs"]
    reseal(folder, outputs=[output for output in outputs if output["name"] != "rollout"], probes=[])
    with Answerer(open_package(folder), EngineLimits()) as answerer:
        yield answerer


def test_only_what_the_graph_gives_is_offered(answerer: Answerer, attentive: Answerer) -> None:
    assert answerer.explanations == ("attention", "rollout")
    answerer.check(None)
    answerer.check("rollout")
    assert attentive.explanations == ("attention",)
    with pytest.raises(NotOffered, match="gives no explanation 'rollout'; it gives: 'attention'"):
        attentive.check("rollout")


def test_an_explanation_that_is_not_offered_is_the_callers_mistake(
    package: Path, attentive: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    monkeypatch.setattr(app.LINEUP, "find", lambda _: attentive)
    current_exchange.set(Exchange("id"))
    request = request_type(SENTIMENT, 1).model_validate({"inputs": ["a"], "explain": "rollout"})
    steadfast: Any = app.Steadfast
    response = asyncio.run(steadfast.apis["sentiment"].func(None, request))
    assert response.status_code == 422
    assert [fault["pointer"] for fault in json.loads(response.body)["errors"]] == ["/explain"]


def test_the_name_is_that_of_the_manifest(answerer: Answerer) -> None:
    assert answerer.name.digest == answerer.package.manifest.digest
    assert (answerer.name.task, answerer.name.method, answerer.name.precision) == ("sentiment", "plain", "fp32")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_gives_no_answer(
    answerer: Answerer, number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, _ = answerer.read([SentimentItem(text="good")], "window")
    computed: Future[Computed] = Future()
    computed.set_result(Computed([{"logits": np.array([0, number], dtype=np.float32)}], 0.0, 0.0))
    monkeypatch.setattr(answerer._engine, "submit", lambda *_: computed)
    with pytest.raises(BrokenModel, match="an output is not finite"):
        answerer.compute(readings, None).result()


def test_an_answer_that_does_not_fit_is_not_blamed_on_the_caller(
    package: Path, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    from service import app

    def give_nonsense(*_: Any) -> Any:
        return SentimentItem.model_validate(5)

    monkeypatch.setattr(app.LINEUP, "find", lambda _: answerer)
    monkeypatch.setattr(answerer, "read", give_nonsense)
    current_exchange.set(Exchange("id"))
    request = request_type(SENTIMENT, 1).model_validate({"inputs": ["a"]})
    steadfast: Any = app.Steadfast
    with pytest.raises(RuntimeError, match="does not fit its own type"):
        asyncio.run(steadfast.apis["sentiment"].func(None, request))
