"""Noise on texts."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.measuring.perturbations import PERTURBATIONS, make_typos, replace_synonyms, swap_words
from models.synonyms.wordnet import WordNetError
from models.tasks.robustness import NoiseName
from tests.tiny import WORDNET

TEXT = "the president of this company gladly advised every other doctor about nothing"


@pytest.fixture(scope="module", autouse=True)
def _wordnet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        replace_synonyms("good", random.Random(0))  # what is read once is no matter of any one text
        yield


@pytest.mark.parametrize("name", PERTURBATIONS)
@given(text=st.text(), seed=st.integers())
def test_noise_is_a_pure_function_of_text_and_stream(name: NoiseName, text: str, seed: int) -> None:
    once, again = (PERTURBATIONS[name](text, random.Random(seed)) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("text", ["", " ", "!", "x"])
def test_a_text_with_nothing_to_change_stays_as_it_is(name: NoiseName, text: str) -> None:
    assert PERTURBATIONS[name](text, random.Random(0)) == text


@given(st.text(), st.integers())
def test_typos_leave_the_number_of_words_and_all_between_them(text: str, seed: int) -> None:
    between = re.compile(r"[^\W\d_]{3,}")
    assert between.sub("x", make_typos(text, random.Random(seed))) == between.sub("x", text)


@pytest.mark.parametrize("seed", range(40))
def test_a_fifth_of_the_long_words_is_misspelt_inside(seed: int) -> None:
    before, after = TEXT.split(), make_typos(TEXT, random.Random(seed)).split()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 2  # of ten
    for old, new in changed:
        assert len(old) >= 4
        assert (old[0], old[-1]) == (new[0], new[-1])
        assert abs(len(old) - len(new)) <= 1


def test_every_kind_of_typo_is_made() -> None:
    made = {make_typos("doctor", random.Random(seed)) for seed in range(200)}
    assert {"doxtor", "docotr", "dotor", "docctor"} <= made
    assert "doctor" not in made


@given(st.text(), st.integers())
def test_swaps_keep_every_character(text: str, seed: int) -> None:
    assert Counter(swap_words(text, random.Random(seed))) == Counter(text)


@pytest.mark.parametrize("seed", range(40))
def test_neighbours_change_places_once(seed: int) -> None:
    before, after = TEXT.split(), swap_words(TEXT, random.Random(seed)).split()
    (place,) = [
        place for place in range(len(before) - 1) if before[place : place + 2] == after[place : place + 2][::-1]
    ]
    before[place], before[place + 1] = before[place + 1], before[place]
    assert before == after


def test_words_are_not_swapped_across_punctuation() -> None:
    assert {swap_words("good, bad", random.Random(seed)) for seed in range(20)} == {"good, bad"}


def test_a_synonym_takes_the_words_place_in_its_inflection() -> None:
    text = "A happy child increased the good."
    found = {replace_synonyms(text, random.Random(seed)) for seed in range(30)}
    assert text not in found
    assert "A glad child increased the good." in found


def test_without_wordnet_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(WordNetError, match="install the Debian package wordnet-base"):
        replace_synonyms("good", random.Random(0))
