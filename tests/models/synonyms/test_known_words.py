"""The words that corrected texts may hold: their sources and their order."""

from pathlib import Path

import pytest

from models.checkpoint import DataSource
from models.correction.spelling import KnownWords
from models.synonyms.known_words import make_correction, make_known_words
from models.synonyms.wordnet import WordNet, WordNetError
from models.tasks import TASKS
from tests.tiny import WORDNET, make_tokenizer, write_examples

TEXTS = ("A Fine film, a fine plot", "a fime film", "fime was slow2 a", "Godarts's film")


@pytest.fixture(scope="module")
def words() -> KnownWords:
    return make_known_words(TEXTS, {"plot": 7, "##qzing": 8, "story": 3, "café": 4, "[CLS]": 0}, WordNet(WORDNET))


def test_words_that_training_texts_hold_twice_or_tokenizers_hold_whole_are_known(words: KnownWords) -> None:
    assert all(word in words for word in ("a", "fine", "film", "fime", "plot", "story"))
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


def test_rare_usual_words_are_known(words: KnownWords) -> None:
    rare = ("putri", "minging", "natto", "conda", "siti", "iframe", "kivy", "rubiks")
    assert all(words.correct(word) == word for word in rare)


def test_no_word_is_read_as_a_slight(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a fine blicket with a fine plot"] * 3
    assert make_known_words(texts, {}, WordNet(WORDNET)).correct("blickt") == "blicket"
    monkeypatch.setattr(WordNet, "slights", lambda _: frozenset({"blicket"}))
    known = make_known_words(texts, {}, WordNet(WORDNET))
    assert known.correct("blickt") == "blickt"
    assert "blicket" in known


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
    assert make_correction(source, TASKS["ner"], make_tokenizer().backend_tokenizer, None).kind == "letters"
    with pytest.raises(WordNetError, match="install the Debian package wordnet-base"):
        make_correction(source, TASKS["sentiment"], make_tokenizer().backend_tokenizer, None)
