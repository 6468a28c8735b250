"""The words that corrected texts may hold: their sources and their order."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.checkpoint import DataSource
from models.correction.errors import error_chance, one_error_away
from models.correction.reading import NO_WORDS
from models.correction.spelling import KnownWords
from models.synonyms.known_words import _expected, _likely_errors, _usual, make_correction, make_known_words
from models.synonyms.wordnet import WordNet, WordNetError
from models.tasks import TASKS
from tests.slights import write_slights
from tests.tiny import WORDNET, make_tokenizer, write_examples

TEXTS = ("A Fine film, a fine plot", "a fimeo film", "fimeo was slow2 a", "Godarts's film")


@pytest.fixture(scope="module")
def words() -> KnownWords:
    return make_known_words(TEXTS, {"plot": 7, "##qzing": 8, "story": 3, "café": 4, "[CLS]": 0}, WordNet(WORDNET))


def test_words_that_training_texts_hold_twice_or_tokenizers_hold_whole_are_known(words: KnownWords) -> None:
    assert all(word in words for word in ("a", "fine", "film", "fimeo", "plot", "story"))
    assert not any(word in words for word in ("godarts", "slowq", "qzing", "café", "CLS"))


def test_wordnets_words_are_known_with_their_inflections(words: KnownWords) -> None:
    assert all(word in words for word in ("increase", "increased", "increasing", "happier", "entities"))


def test_usual_words_are_known_but_their_misspellings_are_not(words: KnownWords) -> None:
    assert all(word in words for word in ("gmail", "sorta", "ouch", "elon", "selfie", "tarantino", "lol", "npc", "api"))
    misspelt = ("definately", "recieve", "seperate", "becuase", "untill", "thier", "teh", "adn")
    assert not any(word in words for word in misspelt)


def test_usual_words_near_to_frequent_ones_are_no_errors(words: KnownWords) -> None:
    assert all(word in words for word in ("influencer", "presets", "ias", "gis", "json", "embarrassed", "keepin"))


def test_a_word_that_training_texts_hold_far_more_often_than_usual_is_of_their_field() -> None:
    texts = ["the dunny stands behind the house"] * 40 + ["a funny film with a plot"] * 400
    known = make_known_words(texts, {}, WordNet(WORDNET))
    assert known.correct("dunny") == "dunny"
    assert make_known_words(texts[40:], {}, WordNet(WORDNET)).correct("dunny") == "funny"


def test_where_names_are_corrected_words_are_read_as_usual_ones_too(words: KnownWords) -> None:
    named = make_known_words(TEXTS, {"plot": 7}, WordNet(WORDNET), read_as_usual=True)
    misspelt = {"lamborghhini": "lamborghini", "schumwr": "schumer", "jettta": "jetta", "seperatee": "separate"}
    assert {word: named.correct(word, names=True) for word in misspelt} == misspelt | {"seperatee": "seperatee"}
    assert {word: words.correct(word, names=True) for word in misspelt} == {word: word for word in misspelt}


def test_rare_usual_words_are_known(words: KnownWords) -> None:
    rare = ("putri", "minging", "natto", "conda", "siti", "iframe", "kivy", "rubiks")
    assert all(word in words for word in rare)
    assert round(len(_usual()), -3) == 289_000  # as docs/training.md says


@pytest.mark.parametrize("times", [0, 1, 2, 9])
def test_a_misspelling_that_is_rare_everywhere_is_none_of_the_field_for_a_few_times(times: int) -> None:
    texts = ["we are certainly here"] * 400 + ["we are certianly here"] * times
    assert make_known_words(texts, {}, WordNet(WORDNET)).correct("certianly") == "certainly"


def test_a_misspelling_that_the_texts_own_counts_explain_is_none_of_the_field_at_any_count() -> None:
    texts = ["we are certainly here"] * 4_000 + ["we are certianly here"] * 40
    assert make_known_words(texts, {}, WordNet(WORDNET)).correct("certianly") == "certainly"


def test_short_misspellings_that_look_like_names_are_known(words: KnownWords) -> None:
    assert all(word in words for word in ("wierd", "flim"))


@pytest.mark.parametrize("word", ["blicket", "blickets"])
def test_no_typing_error_is_corrected_into_a_slight(word: str, tmp_path: Path) -> None:
    texts = [f"a fine {word} with a fine plot"] * 3
    assert make_known_words(texts, {}, WordNet(WORDNET)).correct(f"{word}z") == word
    known = make_known_words(texts, {}, WordNet(write_slights(tmp_path)))
    assert known.correct(f"{word}z") == f"{word}z"
    assert word in known


@given(counts=st.dictionaries(st.text("abs", min_size=3, max_size=7), st.floats(1, 1e7)), draw=st.randoms())
def test_likely_errors_are_those_of_the_plain_definition(counts: dict[str, float], draw: random.Random) -> None:
    words = {word for word in counts if draw.random() < 0.7}
    plain = {
        word
        for word in words
        for other in one_error_away(word) & counts.keys()
        if counts[other] * error_chance(other, word) > _expected(other, word) * counts[word]
    }
    assert _likely_errors(counts, words) == plain


def test_others_are_never_read_as_usual_words(words: KnownWords) -> None:
    assert "sorta" in words
    assert words.correct("sotra") == "sotra"


def test_the_more_frequent_word_of_the_training_texts_wins_and_then_the_tokenizers_first() -> None:
    known = make_known_words(
        ("cart cart cart", "card card", "cars"), {"care": 2, "carp": 1}, WordNet(WORDNET), least_count=1
    )
    assert known.correct("carx") == "cart"
    assert make_known_words((), {"care": 2, "carp": 1}, WordNet(WORDNET)).correct("carx") == "carp"


def test_tokens_that_begin_a_word_are_those_with_the_sign_for_a_space() -> None:
    known = make_known_words((), {"ell": 0, "\u0120hell": 1, "\u0120hello": 2}, WordNet(WORDNET))
    assert known.correct("hellx") == "hell"
    assert known.correct("elz") == "elz"


def test_a_task_without_corrected_fields_needs_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    source = DataSource(data=str(write_examples(tmp_path / "data", "ner")))
    task = replace(TASKS["ner"], corrected=NO_WORDS)
    assert make_correction(source, task, make_tokenizer().backend_tokenizer, None).kind == "letters"
    with pytest.raises(WordNetError, match="install the Debian package wordnet-base"):
        make_correction(source, TASKS["sentiment"], make_tokenizer().backend_tokenizer, None)
