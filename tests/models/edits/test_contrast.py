"""Pairs made from one text."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.edits.contrast import contrast_pairs, oppose, swap_words
from models.edits.noise import Noise
from models.tasks.nli import NLI
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.task import AnyTask
from tests.models.edits.test_families import TEXTS
from tests.tiny import WORDNET

NOISE = Noise(families=("typos",))


@pytest.fixture(scope="module", autouse=True)
def _wordnet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        oppose("good", random.Random(0))
        yield


@given(first=TEXTS, second=TEXTS, seed=st.integers())
def test_pairs_are_a_pure_function_of_the_texts_and_the_stream(first: str, second: str, seed: int) -> None:
    once, again = (contrast_pairs(first, second, random.Random(seed), NOISE) for _ in range(2))
    assert once == again


@given(first=TEXTS, second=TEXTS, seed=st.integers())
def test_a_pair_that_differs_comes_with_one_that_says_the_same(first: str, second: str, seed: int) -> None:
    made = contrast_pairs(first, second, random.Random(seed), NOISE)
    assert [pair.is_same for pair in made] in ([], [False, True])
    for pair in made:
        assert pair.first in (first, second)
        assert pair.is_same or pair.second != pair.first


@pytest.mark.parametrize("text", ["dogs chase cats", "she is happy"])
def test_what_says_the_same_is_mostly_the_text_itself(text: str) -> None:
    """However the other is made; else two orders of the same words, which look alike, would teach a contradiction."""
    same = [contrast_pairs(text, text, random.Random(seed), NOISE)[1] for seed in range(200)]
    assert 140 < sum(pair.second == text for pair in same) < 180


@pytest.mark.parametrize("seed", range(20))
def test_two_words_of_one_class_change_places(seed: int) -> None:
    text = "Tesla bought the startup after Google sold a plane"
    swapped = swap_words(text, random.Random(seed))
    assert swapped is not None
    assert sorted(swapped.lower().split()) == sorted(text.lower().split())
    moved = {old for old, new in zip(text.split(), swapped.split(), strict=True) if old != new}
    assert moved in ({"startup", "plane"}, {"Tesla", "Google"})


def test_numbers_change_places() -> None:
    assert swap_words("from 3 to 17", random.Random(0)) == "from 17 to 3"


def test_a_word_takes_the_case_of_its_new_place() -> None:
    assert swap_words("Dogs chase cats", random.Random(0)) == "Cats chase dogs"


@pytest.mark.parametrize("text", ["", "he sings", "dogs chase dogs", "a dog and a DOG"])
def test_without_two_different_words_of_a_class_nothing_changes_places(text: str) -> None:
    assert swap_words(text, random.Random(0)) is None


@pytest.mark.parametrize(
    ("text", "opposite"),
    [
        ("he is here", "he is not here"),
        ("he is not here", "he is here"),
        ("They WERE there", "They WERE not there"),
        ("he isn't here", "he is here"),
        ("we don’t", "we do"),
        ("she can't", "she can"),
        ("Won't he?", "Will he?"),
        ("it cannot be", "it can be"),
        ("he's here", None),
        ("hello", None),
    ],
)
def test_a_negation_is_put_in_or_taken_out(text: str, opposite: str | None) -> None:
    assert oppose(text, random.Random(0)) == opposite


def test_antonyms_are_of_the_most_frequent_sense_in_the_words_inflection() -> None:
    assert oppose("prices increased", random.Random(0)) == "prices decreased"
    assert oppose("Loudly sung", random.Random(0)) == "Softly sung"


def test_an_antonym_and_a_negation_are_equally_likely() -> None:
    draw = random.Random(0)
    made = Counter(oppose("it is good", draw) for _ in range(400))
    assert made.keys() == {"it is bad", "it is not good"} or made.keys() == {"it is evil", "it is not good"}
    assert 150 < made["it is not good"] < 250


@pytest.mark.parametrize(
    ("task", "labels", "found"),
    [
        (NLI, NLI.outputs.labels, ("entailment", "contradiction")),
        (NLI, ("not_entailment", "entailment"), ("entailment", "not_entailment")),
        (NLI, ("yes", "no"), None),
        (PARAPHRASE, PARAPHRASE.outputs.labels, ("paraphrase", "different")),
    ],
)
def test_a_task_names_the_labels_of_such_pairs(
    task: AnyTask, labels: tuple[str, ...], found: tuple[str, str] | None
) -> None:
    assert task.contrast_labels is not None
    assert task.contrast_labels.find(labels) == found
