"""Noisy copies to train on."""

import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.edits.noise import Noise
from tests.models.distances import edit_distance
from tests.models.edits.test_families import TEXTS
from tests.tiny import WORDNET

TEXT = "the president of this company gladly advised every other doctor about nothing"
FAMILIES = ("typos", "synonyms+any-sense", "names")


@pytest.fixture(scope="module", autouse=True)
def _wordnet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        Noise(families=FAMILIES).copy("good", random.Random(0))
        yield


@given(text=TEXTS, seed=st.integers())
def test_a_copy_is_a_pure_function_of_text_and_stream(text: str, seed: int) -> None:
    noise = Noise(families=FAMILIES)
    texts = [text, "India beats Pakistan", f"Pakistan {text}"]
    assert noise.copy_texts(texts, {1}, random.Random(seed)) == noise.copy_texts(texts, {1}, random.Random(seed))


@pytest.mark.parametrize("text", ["", " ", "!", "x", "s"])
def test_a_text_with_nothing_to_change_stays_as_it_is(text: str) -> None:
    assert Noise(families=FAMILIES).copy_texts([text], {0}, random.Random(0)) == [text]


def test_a_name_is_the_same_in_small_letters_and_in_capitals() -> None:
    texts = ["Is India bigger than pakistan?", "is INDIA as big as Pakistan?"]
    for seed in range(20):
        first, second = Noise(families=("names",), share=1.0).copy_texts(texts, {1}, random.Random(seed))
        one, other = first[3:-1].split(" bigger than ")
        assert second == f"is {one.upper()} as big as {other.capitalize()}?"
        assert (one, other) != ("India", "pakistan")


@pytest.mark.parametrize("seed", range(20))
def test_a_family_that_finds_nothing_leaves_its_turn_to_another(seed: int) -> None:
    assert Noise(families=("synonyms+any-sense", "typos")).copy("goood", random.Random(seed)) != "goood"


@pytest.mark.parametrize("seed", range(40))
def test_as_many_words_are_changed_as_the_share_allows(seed: int) -> None:
    copy = Noise(families=("typos",), share=0.4).copy(TEXT, random.Random(seed))
    changed = [(old, new) for old, new in zip(TEXT.split(), copy.split(), strict=True) if old != new]
    assert 1 <= len(changed) <= 4  # of ten words of four letters and more
    assert all(edit_distance(old, new) == 1 for old, new in changed)


def test_copies_are_changed_by_one_family_or_sometimes_by_both() -> None:
    noise = Noise(share=1.0)
    draw = random.Random(1)
    kinds = []
    for _ in range(2000):
        words = noise.copy("goood happy", draw).split()  # `goood` has no synonym
        kinds.append((words[0] != "goood", words[1] in ("felicitous", "glad", "well-chosen")))
    both = kinds.count((True, True)) / 2000
    assert 0.03 < both < 0.12  # a tenth, less those whose second word is then misspelt as well
    assert 0.4 < kinds.count((False, True)) / 2000 < 0.6


@given(words=st.lists(st.text(min_size=1, max_size=8), max_size=12), seed=st.integers())
def test_words_of_a_split_text_stay_as_many(words: list[str], seed: int) -> None:
    copy = Noise().copy_words(words, random.Random(seed))
    assert len(copy) == len(words)
    long = [bool(re.fullmatch(r"[A-Za-z]{4,}", word)) for word in words]
    changed = [old != new for old, new in zip(words, copy, strict=True)]
    assert all(is_long or not is_changed for is_long, is_changed in zip(long, changed, strict=True))
    assert any(changed) == any(long)
    assert not any(" " in new for old, new in zip(words, copy, strict=True) if old != new)


def test_split_texts_stay_as_they_are_without_typos() -> None:
    assert Noise(families=("names",)).copy_words(["France", "wins"], random.Random(0)) == ("France", "wins")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="noise needs a family"):
        Noise(families=())
    with pytest.raises(ValueError, match=r"from 0.05 to 1, not 0.01"):
        Noise(share=0.01)
