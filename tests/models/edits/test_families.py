"""What every family of edits promises, and what each changes."""

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.correction.lookalikes import CONFUSABLES, INVISIBLE
from models.edits import FAMILIES, UnknownFamily, find_family
from models.edits.family import fits_article, match_case, replace, replace_all
from models.edits.names import KINDS
from models.edits.noise import Noise
from models.edits.typos import find_long_words
from models.synonyms.wordnet import WordNetError
from models.words import Span
from tests.models.distances import edit_distance
from tests.tiny import WORDNET

TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["good", "a", "Film", "film", "not", "happy", "slowly", "FRANCE", "gay", "Aisha", "an", "Iranian", "isn't",
             "it's", "loves", "don’t", "très", "x1", "--", "!", "\u200bplot"]
        ),
        max_size=9,
    ).map(" ".join),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _wordnet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        for name in FAMILIES:  # what is read once is no matter of any one text
            find_family(name).spans("good")
        yield


def candidates(name: str, text: str, word: str) -> tuple[str, ...]:
    """What a family makes of a word of a text; nothing where it may not change the word."""
    start = text.index(word)
    span = Span(start, start + len(word))
    family = find_family(name)
    return family.candidates(text, span) if span in family.spans(text) else ()


@pytest.mark.parametrize("name", FAMILIES)
@given(text=TEXTS)
def test_spans_stand_in_order_within_the_text_without_overlap(name: str, text: str) -> None:
    ends = 0
    for start, end in find_family(name).spans(text):
        assert ends <= start < end <= len(text)
        ends = end


@pytest.mark.parametrize("name", FAMILIES)
@given(text=TEXTS)
def test_candidates_are_sorted_and_unique_and_never_the_word(name: str, text: str) -> None:
    family = find_family(name)
    for span in family.spans(text):
        found = family.candidates(text, span)
        assert list(found) == sorted(set(found))
        assert not {"", text[slice(*span)]} & set(found)
        assert family.candidates(text, span) == found


@pytest.mark.parametrize("name", FAMILIES)
@given(text=TEXTS, seed=st.integers())
def test_draws_are_candidates_and_depend_on_the_stream_alone(name: str, text: str, seed: int) -> None:
    family = find_family(name)
    for span in family.spans(text):
        found = family.candidates(text, span)
        drawn = family.draw(text, span, random.Random(seed))
        assert drawn in found if found else drawn is None
        assert drawn == family.draw(text, span, random.Random(seed))


@pytest.mark.parametrize("name", FAMILIES)
def test_kinds_are_all_candidates_and_no_others(name: str) -> None:
    family = find_family(name)
    assert family.name == name
    for span in family.spans("good Film of France"):
        if family.kinds is not None:
            kinds = family.kinds("good Film of France", span)
            assert {one for kind in kinds for one in kind} == set(family.candidates("good Film of France", span))


def test_an_unknown_family_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        UnknownFamily, match=r"no family of edits 'slang'; choose one of: typos, typos\+edges, synonyms"
    ):
        find_family("slang")


@pytest.mark.parametrize("name", ["synonyms", "synonyms+any-sense"])
def test_synonyms_need_wordnet(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(WordNetError, match="install the Debian package wordnet-base"):
        find_family(name)


def test_inner_typos_are_one_edit_away_and_keep_the_ends() -> None:
    for typo in candidates("typos", "an actor sings", "actor"):
        assert edit_distance("actor", typo) == 1
        assert (typo[0], typo[-1]) == ("a", "r")


def test_inner_typos_are_all_there_are() -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    neighbours = {"o": "ip", "v": "cb"}
    expected = {
        *(f"l{key}ve" for key in neighbours["o"]), *(f"lo{key}e" for key in neighbours["v"]),
        "lvoe", "lve", "loe",
        *(f"{start}{letter}{end}" for start, end in (("l", "ove"), ("lo", "ve"), ("lov", "e")) for letter in alphabet),
    }  # fmt: skip
    assert set(candidates("typos", "we love it", "love")) == expected


def test_edges_add_the_ends_spaces_and_case() -> None:
    inner = set(candidates("typos", "we love it", "love"))
    edges = set(candidates("typos+edges", "we love it", "love"))
    assert inner < edges
    assert edges - inner >= {"ove", "lov", "kove", "lovr", "olve", "xlove", "lovex", "l ove", "LOVE", "Love"}


def test_at_edges_letters_are_put_in_and_hit_in_both_cases() -> None:
    edges = set(candidates("typos+edges", "we love it", "love"))
    assert edges >= {"Kove", "lPve", "Xlove", "lovXe", "loveX"}
    assert {typo.swapcase() for typo in edges - {"Love"}} < set(candidates("typos+edges", "WE LOVE IT", "LOVE"))


def test_a_letter_put_in_has_the_case_of_the_word() -> None:
    assert {"LOXVE", "LOVVE"} <= set(candidates("typos", "LOVE", "LOVE"))
    assert not any(typo.upper() != typo for typo in candidates("typos", "LOVE", "LOVE"))


@pytest.mark.parametrize("text", ["the cat", "naïve", "abcd1", "ab-cde"])
def test_words_that_are_short_or_not_of_ascii_letters_are_not_misspelt(text: str) -> None:
    assert find_long_words(text) == ()


@pytest.mark.parametrize("name", ["typos", "typos+edges", "unicode"])
def test_runs_of_letters_too_long_for_a_word_stay(name: str) -> None:
    """Their misspellings would fill the memory, as many of them as they have letters."""
    family = find_family(name)
    assert [tuple(span) for span in family.spans("x" * 50)] == [(0, 50)]
    assert family.spans("x" * 51) == ()
    assert [tuple(span) for span in family.spans("y" * 200_000 + " good")] == [(200_001, 200_005)]
    assert Noise(families=(name,)).copy("y" * 200_000, random.Random(0)) == "y" * 200_000


def test_a_word_among_others_that_is_too_long_for_one_stays() -> None:
    words = ["y" * 51, "z" * 50]
    kept, changed = Noise(families=("typos",), share=1).copy_words(words, random.Random(0))
    assert (kept, changed != words[1]) == (words[0], True)


def test_synonyms_are_of_the_two_most_frequent_senses_in_the_words_inflection() -> None:
    assert candidates("synonyms", "two movies of hers", "movies") == ("films", "flicks", "pics", "pictures")


def test_any_sense_reaches_further_than_the_frequent_ones() -> None:
    narrow = set(candidates("synonyms", "a good plot", "good"))
    wide = set(candidates("synonyms+any-sense", "a good plot", "good"))
    assert narrow < wide


def test_negated_and_grammatical_words_stay() -> None:
    assert candidates("synonyms", "she is happy", "happy") == ("felicitous",)
    assert candidates("synonyms", "she is not happy", "happy") == ()
    assert candidates("synonyms", "she isn't happy", "happy") == ()
    assert candidates("synonyms+any-sense", "she is not happy", "not") == ()
    assert candidates("synonyms+any-sense", "it was in", "in") == ()


def test_an_article_still_fits_after_an_exchange() -> None:
    assert "Iraqi" in candidates("names", "an Iranian dish", "Iranian")
    assert not any(word[0] not in "AEIOU" for word in candidates("names", "an Iranian dish", "Iranian"))
    assert fits_article("film", "the award", Span(4, 9))


def test_names_are_exchanged_within_their_kind_and_in_their_case() -> None:
    assert "NORWAY" in candidates("names", "IN FRANCE", "FRANCE")
    assert "Norway" in candidates("names", "in France", "France")
    assert "Oslo" not in candidates("names", "in France", "France")
    assert "lesbian" in candidates("names", "two gay men", "gay")
    assert candidates("names", "Open a french window", "french") == ()


def test_in_a_text_without_capitals_names_are_in_small_letters() -> None:
    assert "norwegian" in candidates("names", "a french film", "french")
    assert not any(word != word.lower() for word in candidates("names", "a french film", "french"))


def test_names_are_of_one_kind_each() -> None:
    words = [word.lower() for kind in KINDS.values() for word in kind]
    assert len(words) == len(set(words))
    assert all(len(kind) >= 5 for kind in KINDS.values())


def test_lookalikes_are_other_letters_and_unseen_signs_are_format_signs() -> None:
    for letter, others in CONFUSABLES.items():
        for other in others:
            assert not other.isascii()
            assert unicodedata.category(other)[0] == "L"
            assert other.isupper() == letter.isupper()
    assert {unicodedata.category(sign) for sign in INVISIBLE} == {"Cf"}


def test_words_look_as_before_with_lookalikes() -> None:
    found = candidates("unicode", "a cat", "cat")
    assert {"с" + "at", "c\u200bat", "\uff43at", "\uff43\uff41\uff54"} <= set(found)
    assert all(sign == "cat" or not sign.isascii() for sign in found)


@pytest.mark.parametrize(
    ("word", "like", "matched"),
    [
        ("movie", "Film", "Movie"),
        ("movie", "FILM", "MOVIE"),
        ("movie", "film", "movie"),
        ("movie", "I", "Movie"),
        ("Paris", "oslo", "Paris"),
    ],
)
def test_case_is_matched(word: str, like: str, matched: str) -> None:
    assert match_case(word, like) == matched


def test_words_are_replaced_where_they_stand() -> None:
    assert replace("a good film", Span(2, 6), "fine") == "a fine film"
    assert replace_all("a good film", [(Span(7, 11), "plot"), (Span(0, 1), "the")]) == "the good plot"
