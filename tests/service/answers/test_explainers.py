"""The ways to compute token scores, and that a further one needs no other code."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from export.package import Manifest, open_package
from export.session import SHARES, Arrays
from models.tasks.task import Prediction, TextItem
from models.text import Row
from service.answers.batch import EncodedItem, ItemScores, RowScores
from service.answers.contract import Options
from service.answers.errors import BrokenModel, NotOffered
from service.answers.explainers import EXPLAINERS
from service.answers.explainers.explainer import AnsweredItem, ExplanationPlan
from service.answers.explanation import ExplainOptions, ExplanationMethod
from service.answers.model import LoadedModel
from service.answers.predictor import Predictor
from service.engine.futures import then
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult

ATTENTION = Options(explain=ExplainOptions(method="attention"))
TEXTS = ("the film was great", "not bad", "boring and good")


def probability(prediction: Prediction[Any], label: str) -> float:
    (found,) = (float(entry.score) for entry in prediction.answer.scores if entry.label == label)
    return found


class LeavingOut:
    """Token scores that no graph gives: how much the answer's probability changes without the token."""

    further_outputs = ("logits",)
    is_background = False

    def is_offered(self, manifest: Manifest) -> bool:
        return manifest.task == "sentiment"

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        del model
        return ()

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        model, whole, (row,) = answered.model, answered.prediction, answered.item.encoded.rows
        left_out = [
            (position, model.encode(TextItem(text=text[:start] + text[end:]), "window"))
            for text in answered.item.encoded.texts.values()
            for position, (start, end) in row.spans("text")
        ]

        def finish(arrays: Sequence[Arrays]) -> ItemScores:
            scores = np.zeros(len(row), dtype=np.float32)
            for (position, encoded), array in zip(left_out, arrays, strict=True):
                rest = model.predict([array], EncodedItem(0, answered.item.item, encoded))
                scores[position] = probability(whole, whole.answer.label) - probability(rest, whole.answer.label)
            return [RowScores([scores])]

        return ExplanationPlan([row for _, encoded in left_out for row in encoded.rows], finish)


@pytest.fixture
def leaving_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving out answers where attention is asked for, because the contract has no name for it."""
    monkeypatch.setitem(EXPLAINERS, "attention", LeavingOut())


def test_every_name_of_the_contract_has_an_explainer_in_its_order() -> None:
    assert tuple(EXPLAINERS) == get_args(ExplanationMethod)
    assert set(SHARES) <= set(EXPLAINERS)


@pytest.mark.usefixtures("leaving_out")
def test_token_scores_that_no_graph_gives_become_word_scores(predictor: Predictor) -> None:
    def answer(*texts: str, **options: Any) -> list[Any]:
        items = [TextItem(text=text) for text in texts]
        return predictor.answer(items, Options.model_validate(options)).results

    for text, result in zip(TEXTS, answer(*TEXTS, explain="attention"), strict=True):
        words = text.split()
        rests = answer(*(" ".join(words[:number] + words[number + 1 :]) for number in range(len(words))))
        chances = [next(entry.score for entry in rest.scores if entry.label == result.label) for rest in rests]
        drops = np.abs([result.score - chance for chance in chances])
        assert [word.text for word in result.explanation.items] == words
        assert [word.score for word in result.explanation.items] == pytest.approx(drops / drops.sum(), abs=1e-5)


@pytest.mark.usefixtures("leaving_out")
def test_it_is_offered_only_where_it_says_so(made: Callable[[str], Path], predictor: Predictor) -> None:
    assert "attention" in predictor.explanations
    with Pool(1) as pool, Predictor(open_package(made("nli") / "package"), EngineLimits(), pool) as other:
        assert "attention" not in other.explanations
        with pytest.raises(NotOffered, match="gives no explanation 'attention'; it gives: 'rollout'"):
            other.choose(ExplainOptions(method="attention"))


@pytest.mark.usefixtures("leaving_out")
def test_further_rows_keep_the_deadline_and_need_no_room_in_the_queue(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    submit = Engine.submit

    def watch(engine: Engine, rows: Sequence[Row], outputs: tuple[str, ...], **options: Any) -> Any:
        asked.append((len(rows), outputs, options))
        return submit(engine, rows, outputs, **options)

    monkeypatch.setattr(Engine, "submit", watch)
    deadline = time.monotonic() + 60
    predictor.submit([TextItem(text="good film")], ATTENTION, deadline=deadline).result()
    assert asked == [
        (1, ("logits",), {"deadline": deadline, "tenant": "", "admitted": False, "background": False}),
        (2, ("logits",), {"deadline": deadline, "tenant": "", "admitted": True, "background": False}),
    ]


@pytest.mark.usefixtures("leaving_out")
def test_further_rows_that_are_no_numbers_give_no_answer(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, runs = Engine.submit, itertools.count()

    def break_the_second(engine: Engine, *arguments: Any, **options: Any) -> Future[EngineResult]:
        future = submit(engine, *arguments, **options)
        return then(future, _broken) if next(runs) else future

    monkeypatch.setattr(Engine, "submit", break_the_second)
    with pytest.raises(BrokenModel, match="an output is not finite"):
        predictor.answer([TextItem(text="good film")], ATTENTION)


def _broken(computed: EngineResult) -> EngineResult:
    return replace(computed, rows=[{name: array * np.nan for name, array in row.items()} for row in computed.rows])
