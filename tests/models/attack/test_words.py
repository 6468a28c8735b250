"""Which words an attack may change, and where the rest of a text stands afterwards."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.attack.settings import BARRED, AttackSettings, budget
from models.attack.words import Edit, Place, apply, candidates, find_places, move
from models.edits import find_family
from models.words import Span, split_words

TYPOS = find_family("typos")
WORDS = st.lists(st.sampled_from(["good", "a", "film", "Grand", "été", "!", "plot2"]), min_size=1, max_size=8)
TEXTS = WORDS.map(" ".join)


def places(text: str, **settings: Any) -> list[str]:
    found = find_places({"text": text}, TYPOS, (), AttackSettings(family="typos", **settings).barred, {"text": ""})
    return [text[slice(*place.span)] for place in found]


@given(text=TEXTS, data=st.data())
def test_what_is_not_edited_stands_where_move_says(text: str, data: st.DataObject) -> None:
    spans = split_words(text)
    edited = data.draw(st.sets(st.sampled_from(spans)))
    edits = tuple(Edit(Place("text", span), data.draw(st.text("ab é", max_size=6))) for span in edited)
    changed = apply({"text": text, "other": text}, edits)
    assert changed["other"] == text
    new = {edit.place.span: edit.word for edit in edits}
    for span in spans:
        assert changed["text"][slice(*move(span, "text", edits))] == new.get(span, text[slice(*span)])
        assert move(span, "other", edits) == span


def test_a_stretch_grows_with_the_words_inside_it() -> None:
    edits = (Edit(Place("text", Span(4, 8)), "longer"),)
    assert move(Span(0, 14), "text", edits) == Span(0, 16)


def test_stop_words_names_and_numbers_are_left_alone() -> None:
    text = "There was more like Paris. Lovely film from there"
    assert places(text) == ["Lovely", "film"]
    assert "Paris" in places(text, allowed=("names",))
    assert "from" in places(text, allowed=("stop-words",))


def test_in_a_text_of_capitals_a_capital_is_no_name() -> None:
    assert places("A LOVELY FILM") == ["LOVELY", "FILM"]


def test_an_exchange_of_names_changes_names() -> None:
    assert AttackSettings(family="names").barred == tuple(kind for kind in BARRED if kind != "names")


def test_a_name_that_another_text_of_the_item_has_too_is_left_alone() -> None:
    text = "Anna flew from Paris to London."
    found = find_places(
        {"hypothesis": text}, find_family("names"), (), (), {"hypothesis": "ANNA left Paris's airport."}
    )
    assert [text[slice(*place.span)] for place in found] == ["London"]


def test_what_a_right_answer_is_made_of_is_kept() -> None:
    text = "lovely film indeed"
    found = find_places({"text": text}, TYPOS, [("text", Span(7, 8)), ("other", Span(0, 6))], (), {"text": ""})
    assert [place.span for place in found] == [Span(0, 6), Span(12, 18)]


@given(seed=st.integers(0, 99), most=st.integers(1, 40))
def test_drawn_candidates_are_few_sorted_and_the_familys(seed: int, most: int) -> None:
    text, span = "a lovely film", Span(2, 8)
    drawn = candidates(text, span, TYPOS, most, str(seed))
    assert drawn == candidates(text, span, TYPOS, most, str(seed)) == sorted(set(drawn))
    assert len(drawn) <= most
    assert {*drawn} <= {*TYPOS.candidates(text, span)}


def test_seeds_draw_different_candidates() -> None:
    drawn = {tuple(candidates("a lovely film", Span(2, 8), TYPOS, 8, str(seed))) for seed in range(20)}
    assert len(drawn) == 20


def test_without_a_bound_every_candidate_is_tried() -> None:
    span = Span(2, 8)
    assert candidates("a lovely film", span, TYPOS, None, "") == TYPOS.candidates("a lovely film", span)


@pytest.mark.parametrize(("words", "most"), [("1", 1), ("4", 4), ("15%", 1), ("20%", 2), ("100%", 9)])
def test_a_budget_is_a_number_or_a_share_of_the_words(words: str, most: int) -> None:
    assert (
        budget(AttackSettings(family="typos", words=words).words, "one two three four five six seven eight nine")
        == most
    )


@pytest.mark.parametrize("words", ["0", "0%", "101%", "-1", "1.5", "few", ""])
def test_other_budgets_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="no share of them, such as 15%"):
        AttackSettings(family="typos", words=words)
