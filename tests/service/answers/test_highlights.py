"""Texts cut at the words of an explanation and at the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tasks.ner import NER, Entity, NerAnswer
from models.tasks.reading_comprehension import ReadingItem
from models.words import Span, split_words
from service.answers.contract import result_type
from service.answers.explanation import ExplainedUnit, Explanation
from service.answers.highlights import AnswerView, Piece, cut, texts_of, views_of


def explain(text: str, scores: list[float], *, rest: float | None = 0.0) -> Explanation:
    """An explanation that gives the words of a text these scores, again and again."""
    items = tuple(
        ExplainedUnit(field="text", text=text[slice(*span)], start=span.start, end=span.end, score=score)
        for span, score in zip(split_words(text), scores * len(text), strict=False)
    )
    return Explanation(method="occlusion", target="positive", unit="word", rest=rest, faithfulness=None, items=items)


def view(text: str, scores: list[float], *places: Span) -> AnswerView:
    """The view of an answer that is explained so, with places that it found in the text."""
    found = [("text", place) for place in places]
    return AnswerView(headline="positive", explanation=explain(text, scores), places=found)


@given(
    st.text(max_size=60),
    st.lists(st.floats(-5, 5), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=3),
)
def test_the_pieces_are_the_text_and_each_word_starts_and_ends_once(
    text: str, scores: list[float], ends: list[tuple[int, int]]
) -> None:
    places = [Span(min(pair), min(max(pair), len(text))) for pair in ends if min(pair) <= len(text)]
    shown = view(text, scores, *places)
    pieces = cut("text", text, shown)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text and 0 <= piece.strength <= 1 for piece in pieces)
    assert shown.explanation is not None
    words = [word.text for word in shown.explanation.items]
    assert [piece.word.text for piece in pieces if piece.word and piece.starts] == words
    assert [piece.word.text for piece in pieces if piece.word and piece.ends] == words
    covered = {place for span in places for place in range(*span)}
    at = 0
    for piece in pieces:
        assert {piece.is_answer} == {place in covered for place in range(at, at + len(piece.text))}
        at += len(piece.text)


def test_a_word_that_the_answer_cuts_in_two_keeps_its_score_in_both_pieces() -> None:
    first, second = cut("text", "Paris's", view("Paris's", [2.0], Span(0, 5)))
    assert (first.text, first.is_answer, first.starts, first.ends) == ("Paris", True, True, False)
    assert (second.text, second.is_answer, second.starts, second.ends) == ("'s", False, False, True)
    assert first.word == second.word
    assert first.strength == second.strength == 1.0


def test_strength_is_the_share_of_the_largest_score_of_all_fields() -> None:
    explanation = explain("good bad fine", [2.0, -4.0, 0.5])
    whole = AnswerView(headline="", explanation=explanation, places=())
    words = [piece for piece in cut("text", "good bad fine", whole) if piece.word]
    assert [(piece.strength, piece.grade, piece.is_against) for piece in words] == [
        (0.5, 1, False),
        (1.0, 2, True),
        (0.125, 0, False),
    ]
    assert cut("other", "good", whole) == [Piece(text="good")]


@pytest.mark.parametrize("scores", [[0.0], []])
def test_a_text_whose_words_count_nothing_is_shown_plain(scores: list[float]) -> None:
    assert all(piece.strength == 0 for piece in cut("text", "good film", view("good film", scores)))


def test_choices_are_called_as_explanations_call_them() -> None:
    item = ReadingItem(context="c", question="q", choices=("a", "b"), id="x")
    assert texts_of(item) == {"context": "c", "question": "q", "choices/0": "a", "choices/1": "b"}


def test_each_entity_has_a_view_of_its_own_where_it_is_explained() -> None:
    entities = tuple(
        Entity(label="person", text=name, start=start, end=start + 4, score=0.5)
        for name, start in (("Emma", 0), ("Paul", 9))
    )
    fields = {"index": 0, "id": None, "tokens": 5, "truncated": False, "windows": 1, "certificate": None}
    fields["unknown_share"] = 0
    text = "Emma and Paul"
    result = result_type(NER)(entities=entities, explanation=(explain(text, [1.0]), explain(text, [2.0])), **fields)
    assert [(one.headline, one.places) for one in views_of(result)] == [
        ("person  Emma  0.500", [("text", Span(0, 4))]),
        ("person  Paul  0.500", [("text", Span(9, 13))]),
    ]
    (plain,) = views_of(result.model_copy(update={"explanation": None}))
    assert plain.headline == "person  Emma  0.500\nperson  Paul  0.500"
    assert plain.places == NerAnswer(entities=entities).places()
