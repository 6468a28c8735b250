"""References as they are measured, and as they are read from summaries."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.figures.reference import LEAST_ANSWERS, Reference, TooFewAnswers
from export.package import open_package
from models.tasks import TASKS
from models.tasks.task import Item
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.measuring.reference import WrongSummary, as_reference, measure_reference, read_reference
from service.outcomes.answering import answer_each
from service.outcomes.columns import WantedColumns
from service.outcomes.outcome import Outcome
from service.outcomes.summary import Summary, SummaryFold
from tests.tiny import make_items, write_sentiment


def _summary(predictor: Predictor, items: list[Item]) -> Summary:
    fold, wanted = SummaryFold(), WantedColumns()
    for number, answered in enumerate(answer_each(predictor, items, wanted.options), start=1):
        fold.add(number, Outcome.of(answered, wanted))
    return fold.summary(predictor.name)


@pytest.mark.parametrize("task", TASKS)
def test_a_summary_of_any_task_makes_the_same_reference_as_its_answers(
    opened: Callable[[str], Predictor], task: str
) -> None:
    predictor = opened(task)
    items = [TASKS[task].item.model_validate(item) for item in make_items(task, LEAST_ANSWERS)]
    results = [answered.result for answered in answer_each(predictor, items, Options())]
    found = Reference.of_results("texts", results)
    assert as_reference(_summary(predictor, items), "texts") == found
    assert sum(found.signals["length"].values()) == LEAST_ANSWERS
    assert ("label" in found.signals) == (task not in ("sts", *(one for one in TASKS if "reading" in one)))


def test_records_without_an_answer_do_not_count(predictor: Predictor, tmp_path: Path) -> None:
    data = write_sentiment(tmp_path / "data", train=LEAST_ANSWERS, validation=LEAST_ANSWERS - 1)
    seen: list[tuple[str, int, int]] = []
    found = measure_reference(predictor, str(data), "train", lambda *one: seen.append(one))
    assert (found.texts, found.answers) == ("train", LEAST_ANSWERS)
    assert sum(found.signals["label"].values()) == LEAST_ANSWERS
    assert seen[-1] == ("reference", LEAST_ANSWERS, LEAST_ANSWERS)
    with pytest.raises(TooFewAnswers):
        measure_reference(predictor, str(data), "validation", lambda *_: None)


def test_a_summary_of_another_package_is_refused(predictor: Predictor, package: Path, tmp_path: Path) -> None:
    items = [TASKS["sentiment"].item.model_validate(item) for item in make_items("sentiment", LEAST_ANSWERS)]
    summary = _summary(predictor, items)
    file = tmp_path / "summary.json"
    file.write_text(summary.model_dump_json())
    assert read_reference(file, open_package(package)) == as_reference(summary, "summary.json")
    other = summary.model_copy(update={"model": summary.model.model_copy(update={"digest": "0" * 64})})
    file.write_text(other.model_dump_json())
    with pytest.raises(WrongSummary, match=r"another package .tiny, 000000000000. than .* score the texts with this"):
        read_reference(file, open_package(package))
    file.write_text("{}")
    with pytest.raises(WrongSummary, match=r"no summary of answers: model: .* steadfast score --summary FILE"):
        read_reference(file, open_package(package))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"confidence": {"edges": (0.0, 0.5, 1.0), "counts": (0, 500)}}, "not all of .* are among these"),
        ({"confidence": {"counts": (0,) * 20}}, "confidence has no bins"),
        ({"labels": {"positive": -5}}, "signals.label.positive: "),
    ],
)
def test_a_summary_whose_counts_were_changed_is_refused(
    predictor: Predictor, package: Path, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    items = [TASKS["sentiment"].item.model_validate(item) for item in make_items("sentiment", LEAST_ANSWERS)]
    values = _summary(predictor, items).model_dump(mode="json")
    for name, fields in changed.items():
        values[name] |= fields
    file = tmp_path / "summary.json"
    file.write_text(json.dumps(values))
    with pytest.raises(WrongSummary, match=f"its counts make no reference: .*{reason}.*; make one with"):
        read_reference(file, open_package(package))
