"""The types behind the contract, for any task."""

import json
from dataclasses import replace
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel, ValidationError

from models.tasks import TASKS
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import AnyTask, Item, LabelScore
from service.answers.contract import Options, answer_type, request_type, result_type
from service.answers.explanation import ExplainOptions, ExplanationMethod
from service.outcomes.columns import WantedColumns, as_columns, column_types, free_names
from service.outcomes.schema import arrow_type


class Pair(Item):
    text_a: str
    text_b: str


class Likeness(BaseModel):
    score: float
    matches: tuple[tuple[int, ...], ...]
    best: LabelScore | None


LIKENESS: AnyTask = replace(
    cast(AnyTask, SENTIMENT), name="likeness-of-two", endpoint="likeness-of-two", item=Pair, answer=Likeness
)


def test_a_new_task_has_its_types_without_a_line_here() -> None:
    request = request_type(LIKENESS, 2).model_validate_json('{"inputs": [{"text_a": "x", "text_b": "y"}]}')
    assert isinstance(request.model_dump()["inputs"][0], dict)
    assert list(result_type(LIKENESS).model_fields) == [
        "index",
        "id",
        "score",
        "matches",
        "best",
        "tokens",
        "truncated",
        "windows",
        "unknown_share",
        "corrections",
        "certificate",
        "explanation",
    ]
    assert [kind.__name__ for kind in (request_type(LIKENESS, 2), result_type(LIKENESS), answer_type(LIKENESS))] == [
        "LikenessOfTwoRequest",
        "LikenessOfTwoResult",
        "LikenessOfTwoAnswer",
    ]


def test_a_new_task_has_its_columns_without_a_line_here() -> None:
    types = column_types(LIKENESS, ("a", "b"), WantedColumns())
    assert {name: str(arrow_type(kind)) for name, kind in types.items() if name in ("score", "matches", "best")} == {
        "score": "double",
        "matches": "list<item: list<item: int64>>",
        "best": "struct<label: string, score: double>",
    }


@pytest.mark.parametrize("task", [task for task in TASKS.values() if set(task.item.model_fields) == {"id", "text"}])
def test_every_task_of_one_text_takes_bare_strings(task: AnyTask) -> None:
    assert task.item.model_validate("a fine film") == task.item(text="a fine film")
    shown = request_type(task, 2).model_json_schema()["$defs"][task.item.__name__]
    assert {"type": "string"} in shown["anyOf"]


@pytest.mark.parametrize("count", [0, 3])
def test_the_number_of_inputs_is_bounded_on_both_sides(count: int) -> None:
    with pytest.raises(ValidationError):
        request_type(SENTIMENT, 2).model_validate({"inputs": ["a"] * count})


def test_a_validation_error_does_not_quote_its_input() -> None:
    with pytest.raises(ValidationError) as caught:
        request_type(SENTIMENT, 2).model_validate_json('{"inputs": [{"text": ["zebra"]}], "explain": "zebra"}')
    assert "zebra" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, None),
        (True, ExplainOptions()),
        ({}, ExplainOptions()),
        ("rollout", ExplainOptions(method="rollout")),
        ({"method": None, "target": 2}, ExplainOptions(target=2)),
        ("best", ExplainOptions()),
        ({"method": "best", "top_k": 3}, ExplainOptions(top_k=3)),
        (
            {"method": "occlusion", "target": "good", "top_k": 1, "unit": "token"},
            ExplainOptions(method="occlusion", target="good", top_k=1, unit="token"),
        ),
    ],
)
def test_explanations_are_asked_for_in_short_and_at_length(given: Any, wanted: ExplainOptions | None) -> None:
    assert Options.model_validate({"explain": given}).explain == wanted
    assert Options.model_validate_json(json.dumps({"explain": given})).explain == wanted


@pytest.mark.parametrize(
    ("given", "place", "said"),
    [
        ("lime", ("explain",), "one of 'attention', 'rollout', 'decomposition', 'occlusion', 'best', or true,"),
        (False, ("explain",), "or true, an object, or null for none"),
        (1, ("explain",), "or true, an object, or null for none"),
        ([], ("explain",), "or true, an object, or null for none"),
        ({"method": "lime"}, ("explain", "method"), "'occlusion', 'best', or null"),
        ({"method": True}, ("explain", "method"), "'occlusion', 'best', or null"),
        ({"target": True}, ("explain", "target"), "a text or a whole number"),
        ({"target": 1.5}, ("explain", "target"), "a text or a whole number"),
        ({"target": ["a"]}, ("explain", "target"), "a text or a whole number"),
        ({"top_k": 0}, ("explain", "top_k"), "greater than or equal to 1"),
        ({"unit": "sentence"}, ("explain", "unit"), "'word' or 'token'"),
        ({"words": 3}, ("explain", "words"), "not permitted"),
    ],
)
def test_what_is_wrong_with_explain_is_said_at_its_place(given: Any, place: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Options.model_validate_json(json.dumps({"explain": given}))
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert said in error["msg"]


def test_the_schema_of_explain_has_the_short_forms() -> None:
    names, true, described = ExplainOptions.model_json_schema()["anyOf"]
    assert names["enum"] == [*get_args(ExplanationMethod), "best"]
    assert true == {"const": True}
    assert set(described["properties"]) == {"method", "target", "top_k", "unit"}
    assert described["properties"]["method"]["anyOf"] == [names, {"type": "null"}]
    assert "required" not in described


def test_scores_become_a_column_for_each_label() -> None:
    result: Any = result_type(SENTIMENT)(
        index=0,
        id=None,
        label="x",
        score=0.75,
        tokens=3,
        truncated=False,
        windows=1,
        unknown_share=0.0,
        certificate=None,
        explanation=None,
        scores=[{"label": "x", "score": 0.75}, {"label": "y", "score": 0.25}],
    )
    columns = as_columns(result)
    assert (columns["score_x"], columns["score_y"]) == (0.75, 0.25)
    assert set(columns) | {"error"} == set(column_types(SENTIMENT, ("x", "y"), WantedColumns()))


def test_taken_names_get_a_prefix_until_they_are_free() -> None:
    assert free_names(["label", "score", "prediction_score"], {"score", "other"}) == {
        "label": "label",
        "score": "prediction_score",
        "prediction_score": "prediction_prediction_score",
    }
