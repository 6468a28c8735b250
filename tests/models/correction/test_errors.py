"""How likely typing errors are: each kind by example, and all words that are one error away."""

import string
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.correction import errors
from models.correction.errors import error_chance, neighbours, one_error_away
from models.edits.typos import double, drop, press, swap
from tests.models.distances import edit_distance

KINDS = {
    "SWAPPED": 0.1,
    "NEIGHBOUR": 0.2,
    "DOUBLED": 0.3,
    "DROPPED": 0.4,
    "BESIDE": 0.5,
    "PUT_IN": 0.6,
    "VOWEL": 0.7,
    "EXCHANGED": 0.8,
}

WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def kinds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each kind a chance of its own: in use, some are equally likely."""
    for name, chance in KINDS.items():
        monkeypatch.setattr(errors, name, chance)


@pytest.mark.parametrize(
    ("meant", "typed", "kind"),
    [
        ("with", "wiht", "SWAPPED"),
        ("seems", "seesm", "SWAPPED"),
        ("that", "thay", "NEIGHBOUR"),
        ("that", "thaz", "EXCHANGED"),
        ("separate", "seperate", "VOWEL"),
        ("but", "bit", "NEIGHBOUR"),
        ("film", "falm", "VOWEL"),
        ("film", "fzlm", "EXCHANGED"),
        ("this", "thiss", "DOUBLED"),
        ("good", "goood", "DOUBLED"),
        ("film", "flim", "SWAPPED"),
        ("film", "fim", "DROPPED"),
        ("film", "ilm", "DROPPED"),
        ("film", "fil", "DROPPED"),
        ("film", "filpm", "PUT_IN"),
        ("film", "filkm", "BESIDE"),
        ("film", "dfilm", "BESIDE"),
        ("film", "filmn", "BESIDE"),
        ("film", "filmq", "PUT_IN"),
    ],
)
def test_each_kind_of_error_has_its_chance(meant: str, typed: str, kind: str) -> None:
    assert error_chance(meant, typed) == KINDS[kind]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=WORDS, data=st.data())
def test_a_slip_of_the_finger_has_the_chance_of_its_kind(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(word) - 1))
    slips = [(double(word, place), "DOUBLED"), (drop(word, place), "DROPPED")]
    slips += [(press(word, place, key), "NEIGHBOUR") for key in neighbours(word[place])]
    if place + 1 < len(word):
        slips.append((swap(word, place), "SWAPPED"))
    for typed, kind in slips:
        if typed != word:
            assert error_chance(word, typed) == KINDS[kind]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=st.text("abc", min_size=1, max_size=4))
def test_words_one_error_away_are_all_at_distance_one(word: str) -> None:
    near = {other for other in one_error_away(word) if set(other) <= set("abc")}
    everything = {"".join(letters) for length in range(6) for letters in product("abc", repeat=length)}
    assert near == {other for other in everything if edit_distance(word, other) == 1}
