"""Summaries of outcomes, in numbers and in words."""

from collections.abc import Callable, Sequence

import pytest

from models.tasks import TASKS
from models.tasks.task import Item, TextItem
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.outcomes.answering import Failure, answer_each
from service.outcomes.columns import WantedColumns
from service.outcomes.outcome import Outcome
from service.outcomes.summary import Summary, SummaryFold
from service.outcomes.wording import describe
from tests.tiny import make_items

ITEMS: tuple[Item | Failure, ...] = (
    TextItem(text="good"),
    TextItem(text="the film was bad " * 20),
    TextItem(text=" "),
    Failure("unreadable_record", "torn"),
    TextItem(text="great film"),
    TextItem(text=""),
    TextItem(text="漢"),
)


def outcomes_of(predictor: Predictor, items: Sequence[Item | Failure], wanted: WantedColumns) -> list[Outcome]:
    return [Outcome.of(answered, wanted) for answered in answer_each(predictor, items, wanted.options)]


def summarize(predictor: Predictor, outcomes: Sequence[Outcome]) -> Summary:
    fold = SummaryFold()
    for number, outcome in enumerate(outcomes, start=1):
        fold.add(number, outcome)
    return fold.summary(predictor.name)


def test_answers_and_failures_are_counted(predictor: Predictor) -> None:
    outcomes = outcomes_of(predictor, ITEMS, WantedColumns(min_confidence=0.9))
    found = summarize(predictor, outcomes)
    answers = [outcome.columns for outcome in outcomes if outcome.is_answered]
    assert (found.records, found.answered, found.in_windows, found.truncated) == (7, 4, 1, 0)
    assert sum(found.labels.values()) == 4
    assert found.labels["negative"] == sum(columns["label"] == "negative" for columns in answers)
    assert found.review == sum(outcome.columns["review"] for outcome in outcomes)
    assert found.tokens is not None
    assert found.tokens.most == max(columns["tokens"] for columns in answers)
    assert found.confidence is not None
    assert found.confidence.least == pytest.approx(min(columns["score"] for columns in answers), abs=1e-4)
    assert found.unknown_share is not None
    assert found.unknown_share.most == 1.0
    assert [(one.code, one.records, one.first) for one in found.failures] == [
        ("empty_input", 2, 3),
        ("unreadable_record", 1, 4),
    ]
    assert found.failures[1].example == "torn"


def test_parts_in_any_order_give_what_the_whole_gives(predictor: Predictor) -> None:
    outcomes = outcomes_of(predictor, ITEMS, WantedColumns(options=Options(certify="typos"), min_confidence=0.9))
    folds = SummaryFold(), SummaryFold()
    for number, outcome in reversed(list(enumerate(outcomes, start=1))):
        folds[number % 2].add(number, outcome)
    folds[0].merge(folds[1])
    assert folds[0].summary(predictor.name) == summarize(predictor, outcomes)


def test_certificates_are_counted_by_what_they_say(predictor: Predictor) -> None:
    outcomes = outcomes_of(predictor, ITEMS, WantedColumns(options=Options(certify="typos")))
    counts = summarize(predictor, outcomes).certificates
    assert counts is not None
    given = [outcome.columns["certificate"] for outcome in outcomes if "certificate" in outcome.columns]
    # The long one has too many edits to try.
    assert len(given) == sum(outcome.is_answered for outcome in outcomes) - 1
    assert counts.nothing_to_edit == sum(not one["edits"] for one in given) > 0
    assert counts.hold == sum(one["holds"] and one["edits"] > 0 for one in given)
    assert counts.hold + counts.broken + counts.nothing_to_edit == len(given)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_the_answers_of_every_task_can_be_summed_up(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 6)]
    found = summarize(predictor, outcomes_of(predictor, items, WantedColumns()))
    assert (found.answered, found.failures) == (6, ())
    assert (found.similarity is not None) == (task == "sts")
    assert (found.confidence is None) == (task == "sts" or found.without_decision == 6)
    lines = list(describe(found))
    assert any(line.startswith("length") for line in lines)
    assert Summary.model_validate_json(found.model_dump_json()) == found


def test_no_records_are_summed_up_too(predictor: Predictor) -> None:
    found = summarize(predictor, [])
    assert (found.records, found.tokens, list(describe(found))) == (0, None, [])


def test_the_words_say_the_numbers(predictor: Predictor) -> None:
    found = summarize(predictor, outcomes_of(predictor, ITEMS, WantedColumns(min_confidence=0.9)))
    lines = {line.split()[0]: line for line in describe(found)}
    assert lines["answers"] == "answers     positive 3 (75.0%), negative 1 (25.0%)"
    assert lines["length"].startswith("length      3 to ")
    assert lines["length"].endswith("; 1 in windows")
    assert lines["unknown"].endswith("half or more in 25.0% of the records")
    assert lines["review"] == f"review      {found.review} records ({found.review / 7:.1%})"  # type: ignore[operator]
    assert lines["failed"] == "failed      unreadable_record 1, first in record 4"
