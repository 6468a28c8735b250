"""When an edited text is said to have another answer."""

import pytest

from models.tasks import TASKS
from models.tasks.classification import LabelAnswer
from models.tasks.extractive import EXTRACTIVE_READING, ExtractiveAnswer
from models.tasks.ner import NER, Entity, NerAnswer
from models.tasks.reading_comprehension import READING_COMPREHENSION, ReadingAnswer
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS, StsAnswer
from models.tasks.task import AnyTask


def entities(*found: tuple[str, str, int]) -> NerAnswer:
    """An answer with entities, each a kind, a text and where it begins."""
    made = (Entity(label=kind, text=text, start=at, end=at + len(text), score=1.0) for kind, text, at in found)
    return NerAnswer(entities=tuple(made))


def similarity(score: float) -> StsAnswer:
    return StsAnswer(score=score, normalized=score / 5)


def span(answer: str | None) -> ExtractiveAnswer:
    return ExtractiveAnswer(answer=answer, start=None, end=None, score=0.5, no_answer_score=0.5, scores=())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_edits_are_made_in_fields_that_requests_have(task: AnyTask) -> None:
    assert task.edited_fields
    assert set(task.edited_fields) <= task.item.model_fields.keys()


def test_a_label_changes_with_its_name_and_not_with_its_score() -> None:
    positive, sure, negative = (
        LabelAnswer(label=label, score=score, scores=())
        for label, score in (("positive", 0.6), ("positive", 0.9), ("negative", 0.6))
    )
    assert not SENTIMENT.changed(positive, sure)
    assert SENTIMENT.changed(positive, negative)


def test_a_similarity_changes_when_it_moves_by_more_than_one() -> None:
    assert not STS.changed(similarity(3.0), similarity(3.9))
    assert STS.changed(similarity(3.0), similarity(4.1))
    assert STS.changed(similarity(3.0), similarity(1.9))


def test_a_choice_changes_with_its_place() -> None:
    first, second = (ReadingAnswer(answer="yes", choice=place, score=1.0, scores=()) for place in (0, 1))
    assert not READING_COMPREHENSION.changed(first, first)
    assert READING_COMPREHENSION.changed(first, second)


def test_a_span_changes_as_squad_compares_it() -> None:
    assert not EXTRACTIVE_READING.changed(span("the Park"), span("park."))
    assert EXTRACTIVE_READING.changed(span("park"), span("city"))
    assert EXTRACTIVE_READING.changed(span("park"), span(None))
    assert not EXTRACTIVE_READING.changed(span(None), span(None))


ALAN = ("person", "Alan Turing", 4)
PARIS = ("location", "Paris", 30)


@pytest.mark.parametrize(
    "after",
    [
        [ALAN, PARIS],
        [("person", "Alan Turing", 6), ("location", "Paris", 32)],
        [("person", "Aln Turing", 4), ("location", "Paris", 29)],
        [("group", "we", 0), ALAN, PARIS],
    ],
    ids=["the same", "moved", "misspelt", "one more"],
)
def test_entities_that_are_found_again_have_not_changed(after: list[tuple[str, str, int]]) -> None:
    assert not NER.changed(entities(ALAN, PARIS), entities(*after))


@pytest.mark.parametrize(
    "after",
    [
        [],
        [ALAN],
        [("person", "Alan", 4), PARIS],
        [("person", "Alan Turing", 4), ("group", "Paris", 30)],
        [("person", "someone else", 40), PARIS],
    ],
    ids=["none", "one lost", "cut", "another kind", "another place"],
)
def test_an_entity_that_is_lost_or_renamed_is_a_change(after: list[tuple[str, str, int]]) -> None:
    assert NER.changed(entities(ALAN, PARIS), entities(*after))
