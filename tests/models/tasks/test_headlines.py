"""Answers in short, as `steadfast predict` shows them."""

from models.tasks.classification import LabelAnswer
from models.tasks.extractive import ExtractiveAnswer
from models.tasks.ner import Entity, NerAnswer
from models.tasks.sts import StsAnswer
from models.tasks.task import Judgement, TaskAnswer


class CountAnswer(TaskAnswer):
    """An answer without any text or decimal number."""

    count: int

    def judgements(self) -> tuple[Judgement, ...]:
        return ()


def test_texts_and_numbers_are_shown() -> None:
    assert LabelAnswer(label="good", score=0.98765, scores=()).headlines() == ("good  0.988",)
    assert StsAnswer(score=4.5, normalized=0.9).headlines() == ("4.500  0.900",)


def test_every_entity_has_a_line() -> None:
    entities = [Entity(label="person", text=text, start=0, end=3, score=0.5) for text in ("Ada", "Bob")]
    assert NerAnswer(entities=tuple(entities)).headlines() == ("person  Ada  0.500", "person  Bob  0.500")
    assert NerAnswer(entities=()).headlines() == ("no entities",)


def test_no_answer_is_said_in_words() -> None:
    none = ExtractiveAnswer(answer=None, start=None, end=None, score=0.75, no_answer_score=0.75, scores=())
    assert none.headlines() == ("no answer  0.750",)


def test_an_answer_of_a_new_kind_is_never_shown_as_nothing() -> None:
    assert CountAnswer(count=7).headlines() == ('{"count":7}',)
