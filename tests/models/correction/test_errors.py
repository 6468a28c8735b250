"""How likely typing errors are: each kind by example, and all words that are one error away."""

import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.correction.errors import (
    CHANCES,
    ErrorKind,
    error_chance,
    error_kind,
    likelier_errors,
    neighbours,
    one_error_away,
)
from models.edits.typos import double, drop, press, swap
from tests.models.distances import edit_distance

WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("meant", "typed", "kind"),
    [
        ("with", "wiht", "swapped"),
        ("seems", "seesm", "swapped"),
        ("that", "thay", "neighbour"),
        ("that", "thaz", "exchanged"),
        ("separate", "seperate", "vowel"),
        ("but", "bit", "neighbour"),
        ("film", "falm", "vowel"),
        ("film", "fzlm", "exchanged"),
        ("this", "thiss", "doubled"),
        ("good", "goood", "doubled"),
        ("film", "flim", "swapped"),
        ("film", "fim", "dropped"),
        ("film", "ilm", "dropped"),
        ("film", "fil", "dropped"),
        ("small", "smal", "once"),
        ("aardvark", "ardvark", "once"),
        ("little", "litle", "once"),
        ("that", "tha", "dropped"),
        ("film", "filpm", "put in"),
        ("film", "filkm", "beside"),
        ("film", "dfilm", "beside"),
        ("film", "filmn", "beside"),
        ("film", "filmq", "put in"),
    ],
)
def test_each_kind_of_error_is_told_from_the_others(meant: str, typed: str, kind: ErrorKind) -> None:
    assert error_kind(meant, typed) == kind
    assert error_chance(meant, typed) == CHANCES[kind]


@given(word=WORDS, data=st.data())
def test_a_slip_of_the_finger_is_of_its_kind(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(word) - 1))
    slips = [(double(word, place), {"doubled"}), (drop(word, place), {"dropped", "once"})]
    slips += [(press(word, place, key), {"neighbour"}) for key in neighbours(word[place])]
    if place + 1 < len(word):
        slips.append((swap(word, place), {"swapped"}))
    for typed, kinds in slips:
        if typed != word:
            assert error_kind(word, typed) in kinds


@given(word=st.text("abc", min_size=1, max_size=4))
def test_words_one_error_away_are_all_at_distance_one(word: str) -> None:
    near = {other for other in one_error_away(word) if set(other) <= set("abc")}
    everything = {"".join(letters) for length in range(6) for letters in product("abc", repeat=length)}
    assert near == {other for other in everything if edit_distance(word, other) == 1}


@given(st.text(string.ascii_lowercase, min_size=1, max_size=12))
def test_likelier_errors_are_those_that_need_no_letter_from_elsewhere_on_the_keyboard(word: str) -> None:
    kinds = {typed: error_kind(word, typed) for typed in one_error_away(word)}
    expected = {typed for typed, kind in kinds.items() if CHANCES[kind] > CHANCES["put in"]}
    assert set(likelier_errors(word)) - {word} == expected
