"""The right answers as attacks test them, task by task."""

from collections.abc import Mapping
from typing import Any

import pytest

from models.attack.subjects import NotAttackable, choose_fields, plain_reader
from models.attack.words import Edit, Place, apply, move
from models.tasks import find_task
from models.tasks.classification import LabelAnswer
from models.tasks.extractive import ExtractiveAnswer, SpanScore
from models.tasks.goals import Goal, Standing
from models.tasks.masked_words import MASKED_WORDS
from models.tasks.ner import Entity, NerAnswer, NerExample
from models.tasks.reading_comprehension import ChoiceScore, ReadingAnswer
from models.tasks.sts import StsAnswer
from models.tasks.task import LabelScore, read_item
from models.words import Span


def goal(task: str, right: Any, **values: Any) -> Goal | None:
    found = find_task(task)
    encoded = found.encode(read_item(found.example or found.item, values), plain_reader(), "window")
    return found.goal(found.read_target(right, encoded, found.outputs), encoded, found.outputs)


def judge(goal: Goal | None, answer: Any, first: Any = None, moved: Mapping[Span, Span] | None = None) -> Standing:
    assert goal is not None
    return goal.judge(first or answer, answer, lambda _, span: (moved or {}).get(span, span))


def labelled(label: str, score: float, other: str) -> LabelAnswer:
    scores = (LabelScore(label=label, score=score), LabelScore(label=other, score=1 - score))
    return LabelAnswer(label=label, score=score, scores=scores)


def test_a_label_is_supported_by_its_probability() -> None:
    found = goal("sentiment", "positive", text="good")
    assert judge(found, labelled("positive", 0.75, "negative")) == Standing(is_right=True, support=0.75)
    assert judge(found, labelled("negative", 0.75, "positive")) == Standing(is_right=False, support=0.25)


def test_a_choice_is_supported_by_its_probability() -> None:
    found = goal("reading-comprehension", 1, context="a b", question="c", choices=["d", "e"])
    scores = (ChoiceScore(choice=0, label="d", score=0.75), ChoiceScore(choice=1, label="e", score=0.25))
    answer = ReadingAnswer(answer="d", choice=0, score=0.75, scores=scores)
    assert judge(found, answer) == Standing(is_right=False, support=0.25)


@pytest.mark.parametrize(
    ("first", "now", "is_right"),
    [(3.0, 3.0, True), (3.5, 3.5, True), (1.0, 1.0, False), (3.5, 4.4, True), (3.5, 2.0, False)],
)
def test_a_similarity_may_move_by_a_fifth_of_its_range(first: float, now: float, is_right: bool) -> None:
    answers = [StsAnswer(score=score, normalized=score / 5) for score in (first, now)]
    found = judge(goal("sts", 3.0, text_a="a", text_b="b"), answers[1], answers[0])
    assert found.is_right == is_right
    assert found.support == pytest.approx(1 - abs(first - now) / 5)


def tagged(*entities: tuple[str, int, int, float]) -> NerAnswer:
    return NerAnswer(
        entities=tuple(
            Entity(label=kind, text="x", start=start, end=end, score=score) for kind, start, end, score in entities
        )
    )


TAGS = ["B-person", "O", "B-location", "I-location"]


def test_every_right_entity_must_be_found_and_others_may_be() -> None:
    found = goal("ner", TAGS, tokens=["Ana", "saw", "New", "York"])
    assert found is not None
    assert found.kept == (("text", Span(0, 3)), ("text", Span(8, 16)))
    both = (("person", 0, 3, 0.75), ("location", 8, 16, 0.5))
    assert judge(found, tagged(*both)) == Standing(is_right=True, support=0.5)
    assert judge(found, tagged(*both, ("product", 4, 7, 0.25))).is_right
    assert judge(found, tagged(both[0])) == Standing(is_right=False, support=0)
    assert not judge(found, tagged(both[0], ("person", 8, 16, 0.5))).is_right
    assert not judge(found, tagged(both[0], ("location", 8, 11, 0.5))).is_right


def test_entities_are_looked_for_where_edits_moved_them() -> None:
    found = goal("ner", TAGS, tokens=["Ana", "saw", "New", "York"])
    answer = tagged(("person", 0, 3, 0.75), ("location", 9, 17, 0.5))
    assert judge(found, answer, moved={Span(8, 16): Span(9, 17)}).is_right
    assert not judge(found, answer).is_right


def test_a_text_without_entities_has_none_to_lose() -> None:
    assert goal("ner", ["O"], tokens=["saw"]) is None


def spans(answer: str | None, nothing: float, *scored: tuple[str, float]) -> ExtractiveAnswer:
    return ExtractiveAnswer(
        answer=answer,
        start=None if answer is None else 0,
        end=None if answer is None else len(answer),
        score=nothing if answer is None else scored[0][1],
        no_answer_score=nothing,
        scores=tuple(SpanScore(label=text, score=score, start=0, end=len(text)) for text, score in scored),
    )


def test_any_of_the_right_texts_is_right() -> None:
    right = {"text": ["the film", "film"], "answer_start": [2, 6]}
    found = goal("extractive-reading-comprehension", right, context="a the film was", question="what")
    assert found is not None
    assert found.kept == (("context", Span(2, 10)),)
    assert judge(found, spans("Film", 0.125, ("Film", 0.5), ("the film", 0.25))) == Standing(True, 0.75)
    assert judge(found, spans("was", 0.125, ("was", 0.5), ("film", 0.25))) == Standing(False, 0.25)
    assert judge(found, spans(None, 0.75, ("film", 0.25))) == Standing(False, 0.25)


def test_no_answer_is_right_where_there_is_none() -> None:
    right: dict[str, Any] = {"text": [], "answer_start": []}
    found = goal("extractive-reading-comprehension", right, context="a film", question="what")
    assert judge(found, spans(None, 0.75, ("film", 0.25))) == Standing(True, 0.75)
    assert judge(found, spans("film", 0.25, ("film", 0.75))) == Standing(False, 0.25)


@pytest.mark.parametrize(
    ("old", "new", "tokens"),
    [
        ("saw", "swa", ["Ana", "swa", "1 000", "euros"]),
        ("saw", "s aw", ["Ana", "s aw", "1 000", "euros"]),
        ("Ana", "Anna", ["Anna", "saw", "1 000", "euros"]),
        ("000", "00", ["Ana", "saw", "1 00", "euros"]),
    ],
)
def test_changed_texts_of_words_become_words_again(old: str, new: str, tokens: list[str]) -> None:
    item = NerExample(tokens=("Ana", "saw", "1 000", "euros"))
    text = item.as_request().text
    edits = (Edit(Place("text", Span(text.index(old), text.index(old) + len(old))), new),)
    changed = apply({"text": text}, edits)
    assert item.as_values(changed, lambda field, span: move(span, field, edits)) == {"tokens": tokens}


@pytest.mark.parametrize(("task", "fields"), [("sentiment", ("text",)), ("nli", ("hypothesis",)), ("ner", ("text",))])
def test_of_two_texts_the_second_is_changed(task: str, fields: tuple[str, ...]) -> None:
    assert choose_fields(find_task(task), ()) == fields


def test_a_field_that_a_task_lacks_is_refused() -> None:
    assert choose_fields(find_task("nli"), ("premise", "premise")) == ("premise",)
    with pytest.raises(NotAttackable, match="nli has no field text that an attack can change; it has: premise, hypo"):
        choose_fields(find_task("nli"), ("text",))
    with pytest.raises(NotAttackable, match="masked-words has no field"):
        choose_fields(MASKED_WORDS, ())
