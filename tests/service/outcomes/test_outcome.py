"""Outcomes: answers and failures as plain data."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.package import GRAPH_FILE, TOKENIZER_FILE, file_digest, open_package
from models.tasks import TASKS
from models.tasks.task import Item, TextItem
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.outcomes.answering import GROUP_RECORDS, Answered, Failure, answer_each
from service.outcomes.columns import ERROR, REVIEW, WantedColumns
from service.outcomes.outcome import Outcome
from tests.service.tiny import VOCABULARY, build_package, reseal
from tests.tiny import make_items


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_an_outcome_is_the_same_after_json(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items: list[Item | Failure] = [predictor.task.item.model_validate(item) for item in make_items(task, 4)]
    wanted = WantedColumns(options=Options(explain=ExplainOptions(method="attention")))
    items.append(Failure("validation", "no text"))
    for answered in answer_each(predictor, items, wanted.options):
        outcome = Outcome.of(answered, wanted)
        assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome
        assert outcome.is_answered == (answered.result is not None)


def test_what_failed_before_passes_through_in_its_place(predictor: Predictor) -> None:
    items: list[Item | Failure] = [TextItem(text="good"), Failure("unreadable_record", "torn"), TextItem(text=" ")]
    items.append(TextItem(text="bad"))
    first, torn, empty, last = answer_each(predictor, items, Options())
    assert (first.result.label, last.result.label) == ("positive", "negative")  # type: ignore[union-attr]
    assert torn == Answered(None, Failure("unreadable_record", "torn"))
    assert empty.failure is not None
    assert (empty.result, empty.failure.code) == (None, "empty_input")


def test_an_item_for_which_the_model_gives_no_number_fails_alone(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "broken")
    graph = onnx.load(folder / GRAPH_FILE)
    (opinions,) = (one for one in graph.graph.initializer if one.name == "opinions")
    values = np.array(numpy_helper.to_array(opinions))
    values[VOCABULARY.index("awful")] = np.inf
    opinions.CopyFrom(numpy_helper.from_array(values, "opinions"))
    onnx.save(graph, folder / GRAPH_FILE)
    reseal(folder, probes=[], files={name: file_digest(folder / name) for name in (GRAPH_FILE, TOKENIZER_FILE)})
    texts = ["good", "awful", " ", *["bad"] * GROUP_RECORDS, "awful"]
    with Pool(2) as pool, Predictor(open_package(folder), EngineLimits(), pool) as predictor:
        found = list(answer_each(predictor, [TextItem(text=text) for text in texts], Options()))
    codes = [None if one.failure is None else one.failure.code for one in found]
    assert codes == [None, "broken_model", "empty_input", *[None] * GROUP_RECORDS, "broken_model"]
    labels = [one.result.label for one in found if one.result is not None]
    assert labels == ["positive", *["negative"] * GROUP_RECORDS]


def test_an_answer_without_the_explanation_asked_for_is_an_answer(predictor: Predictor) -> None:
    options = Options(explain=ExplainOptions(method="occlusion"))
    words = predictor.max_occlusion_words + 1
    (answered,) = answer_each(predictor, [TextItem(text="good " * words)], options)
    outcome = Outcome.of(answered, WantedColumns(options=options))
    assert (outcome.code, outcome.is_answered) == ("explanation_too_long", True)
    assert outcome.columns[ERROR] == answered.failure.detail  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["good", "good bad", " "])
def test_a_person_reviews_what_is_less_sure_than_wanted_and_what_has_no_answer(predictor: Predictor, text: str) -> None:
    (answered,) = answer_each(predictor, [TextItem(text=text)], Options())
    score = 0.0 if answered.result is None else answered.result.score
    for least in (0.4, 0.6, score or 1.0):
        outcome = Outcome.of(answered, WantedColumns(min_confidence=least))
        assert outcome.columns[REVIEW] is (score < least)
    assert REVIEW not in Outcome.of(answered, WantedColumns()).columns


def test_a_text_without_entities_needs_no_review(opened: Callable[[str], Predictor]) -> None:
    predictor = opened("ner")
    results = list(answer_each(predictor, [TextItem(text="! , .")], Options()))
    assert results[0].result.entities == ()  # type: ignore[union-attr]
    assert Outcome.of(results[0], WantedColumns(min_confidence=1.0)).columns[REVIEW] is False
