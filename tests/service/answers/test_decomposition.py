"""Decompositions: scores with a sign that add up, with the rest, to the logits of the label that is explained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from models.tasks.task import TextItem
from models.text import Row
from service.answers.contract import Options
from service.answers.errors import ItemsRejected
from service.answers.explainers.explainer import weigh
from service.answers.explanation import Explanation
from service.answers.predictor import Predictor
from service.engine.model_engine import Engine
from tests.service.answers.test_explanation import TEXTS
from tests.service.tiny import OPINIONS

GOOD_WINDOW = "good " * 30
"""As many words as a row holds."""

MIXED = GOOD_WINDOW * 2 + "awful " * 30 + GOOD_WINDOW * 2
"""Most of its windows are positive, the others negative."""

SIGNS = {"negative": -1, "positive": 1}


def answer(predictor: Predictor, text: str, **explain: Any) -> Any:
    options = Options.model_validate({"explain": {"method": "decomposition", **explain}})
    try:
        (result,) = predictor.answer([TextItem(text=text)], options).results
    except ItemsRejected:
        reject()
    return result


def total(explanation: Explanation) -> float:
    assert explanation.rest is not None
    return explanation.rest + sum(unit.score for unit in explanation.items)


def margin(predictor: Predictor, text: str, label: str) -> float:
    """The logit of a label less the other's, as a mean over windows that is weighted by their lengths."""
    pending = predictor.submit([TextItem(text=text)], Options())
    pending.future.cancel()
    rows = pending.items[0].encoded.rows
    margins = [(logits[1] - logits[0]) * SIGNS[label] for logits in predictor.compute(rows)]
    return float(np.average(margins, weights=[len(row) for row in rows]))


@settings(deadline=None, max_examples=150)
@given(
    text=st.one_of(TEXTS, TEXTS.map(lambda text: f"{text} good {text} awful " * 12)),
    unit=st.sampled_from(["word", "token"]),
    target=st.sampled_from([None, "negative", "positive"]),
)
def test_the_scores_and_the_rest_add_up_to_the_margin(
    predictor: Predictor, text: str, unit: str, target: str | None
) -> None:
    result = answer(predictor, text, unit=unit, target=target)
    label = target or result.label
    assert result.explanation.target == label
    assert total(result.explanation) == pytest.approx(margin(predictor, text, label), abs=1e-4)


@pytest.mark.parametrize("target", ["negative", "positive"])
def test_each_word_has_what_it_adds(predictor: Predictor, target: str) -> None:
    explanation = answer(predictor, "great, not bad, boring", target=target).explanation
    scores = {unit.text: unit.score for unit in explanation.items}
    for word, opinion in OPINIONS.items():
        assert word not in scores or scores[word] == 2 * opinion * SIGNS[target]


def test_special_tokens_stand_in_the_rest(predictor: Predictor) -> None:
    assert answer(predictor, "great film").explanation.rest == 2 * 2 / 64


def test_windows_that_predict_another_label_are_explained_for_the_answer(predictor: Predictor) -> None:
    result = answer(predictor, MIXED)
    assert (result.label, result.windows) == ("positive", 7)
    assert {(unit.text, unit.score) for unit in result.explanation.items} == {("good", 4.0), ("awful", -6.0)}
    assert total(result.explanation) == pytest.approx(margin(predictor, MIXED, "positive"), abs=1e-4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...]]]:
    """The number of rows and the outputs of everything that is handed to an engine."""
    seen: list[tuple[int, tuple[str, ...]]] = []
    submit = Engine.submit

    def watch(engine: Engine, rows: Sequence[Row], outputs: tuple[str, ...], **options: Any) -> Any:
        if rows:
            seen.append((len(rows), outputs))
        return submit(engine, rows, outputs, **options)

    monkeypatch.setattr(Engine, "submit", watch)
    return seen


@pytest.mark.parametrize("target", [None, "negative", "positive"])
def test_one_run_answers_and_explains(
    predictor: Predictor, asked: list[tuple[int, tuple[str, ...]]], target: str | None
) -> None:
    answer(predictor, "great film", target=target)
    assert asked == [(1, ("logits", "decomposition"))]


def test_only_windows_of_another_label_are_run_again(
    predictor: Predictor, asked: list[tuple[int, tuple[str, ...]]]
) -> None:
    answer(predictor, MIXED)
    assert asked == [(7, ("logits", "decomposition")), (2, ("decomposition",))]


def test_an_asked_label_is_explained_in_every_window_by_the_first_run(
    predictor: Predictor, asked: list[tuple[int, tuple[str, ...]]]
) -> None:
    answer(predictor, MIXED, target="negative")
    assert asked == [(7, ("logits", "decomposition"))]


def test_a_sum_of_logits_takes_only_those_with_a_weight() -> None:
    logits = np.array([[1, 2], [4, 8]], dtype=np.float32)
    assert weigh(logits, {(1, 1): 1.0, (0, 0): -0.5}) == 7.5
