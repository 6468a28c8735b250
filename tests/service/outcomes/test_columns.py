"""Results as columns of a table."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from models.tasks import TASKS
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions
from service.answers.predictor import Predictor
from service.outcomes.columns import (
    ERROR,
    EXPLANATION,
    REVIEW,
    NoConfidence,
    WantedColumns,
    as_columns,
    column_types,
)
from service.outcomes.schema import arrow_type
from tests.tiny import make_items


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_every_answer_has_a_column_for_each_of_its_fields(task: str) -> None:
    columns = column_types(TASKS[task], ("a", "b"), WantedColumns())
    assert {"tokens", "truncated", "windows", ERROR} < set(columns)
    assert not any(name.startswith((EXPLANATION, "certificate")) for name in columns)
    assert "certificate" in column_types(TASKS[task], ("a", "b"), WantedColumns(options=Options(certify="typos")))
    for name in TASKS[task].answer.model_fields:
        assert name in columns or {"score_a", "score_b"} < set(columns)


@pytest.mark.parametrize("method", ["attention", "decomposition"])
@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_the_columns_of_an_explanation_hold_all_that_differs_between_answers(
    task: str, method: str, opened: Callable[[str], Predictor]
) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 4)]
    options = Options(explain=ExplainOptions.model_validate({"method": method}))
    types = column_types(predictor.task, predictor.package.manifest.labels, WantedColumns(options=options))
    for result in predictor.answer(items, options).results:
        columns = as_columns(result)
        assert columns.keys() <= types.keys()
        assert pa.array([columns[EXPLANATION]], type=arrow_type(types[EXPLANATION])).to_pylist() == [
            columns[EXPLANATION]
        ]
        given = result.model_dump(mode="json")["explanation"]
        whole = given if isinstance(given, list) else [given]
        names = {EXPLANATION: "items", "explanation_target": "target", "explanation_rest": "rest"}
        for column, name in names.items():
            expected = [one[name] for one in whole]
            assert columns[column] == (expected if isinstance(given, list) else expected[0])
        assert columns.get("explanation_method") == (method if whole else None)


@pytest.mark.parametrize("annotation", [dict[str, int], int | str, bytes])
def test_a_field_that_no_column_can_hold_is_named(annotation: Any) -> None:
    with pytest.raises(TypeError, match="no column type for"):
        arrow_type(annotation)


def test_an_optional_field_has_the_type_of_its_value() -> None:
    assert arrow_type(float | None) == pa.float64()
    assert arrow_type(tuple[str, ...] | None) == pa.list_(pa.string())


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_scores_have_no_column_where_they_are_not_wanted(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 2)]
    with_scores, without = (
        column_types(predictor.task, predictor.package.manifest.labels, WantedColumns(scores=scores))
        for scores in (True, False)
    )
    assert without.keys() < with_scores.keys() or task in ("sts", "ner")
    assert not any(name.startswith("score_") or name == "scores" for name in without)
    for result in predictor.answer(items, Options()).results:
        assert as_columns(result, scores=False).keys() <= without.keys()


def test_a_review_by_confidence_needs_answers_that_have_one() -> None:
    assert REVIEW in column_types(TASKS["sentiment"], ("a", "b"), WantedColumns(min_confidence=0.5))
    with pytest.raises(NoConfidence, match="sts gives a number, which has no confidence"):
        column_types(TASKS["sts"], ("similarity",), WantedColumns(min_confidence=0.5))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(share: float) -> None:
    with pytest.raises(NoConfidence, match=r"more than 0 and at most 1, such as 0\.8"):
        WantedColumns(min_confidence=share)
