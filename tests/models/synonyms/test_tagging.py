"""The classes of words, and their inflections."""

import shutil
from pathlib import Path

import pytest

from models.synonyms.tagging import LexiconTagger, Tag, base_form, class_of, inflect, inflections
from models.synonyms.wordnet import WordClass, WordNet
from tests.tiny import WORDNET

EXTRACT = WordNet(WORDNET)


def test_words_are_tagged_in_their_sentence() -> None:
    tags = LexiconTagger().tag(["the", "happy", "people", "wrote", "slowly", "."])
    assert tags == [
        Tag("DT", None), Tag("JJ", "ADJ"), Tag("NNS", "NOUN"), Tag("VBD", "VERB"), Tag("RB", "ADV"), Tag(".", None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "penn"), [("Was", "VBD"), ("have", "VBP"), ("n't", "RB"), ("not", "RB"), ("when", "WRB"), ("Ann", "NNP")]
)
def test_auxiliaries_negations_question_words_and_names_are_of_no_class(word: str, penn: str) -> None:
    assert class_of(word, penn) is None


def test_no_words_have_no_tags() -> None:
    assert LexiconTagger().tag([]) == []


@pytest.mark.parametrize(
    ("word", "word_class", "base"),
    [("Created", "VERB", "create"), ("stories", "NOUN", "story"), ("darker", "ADJ", "dark"), ("better", "ADV", "well")],
)
def test_the_base_form_is_the_dictionarys_in_lower_case(word: str, word_class: WordClass, base: str) -> None:
    assert base_form(word, word_class, EXTRACT) == base


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("leaves", "leaf"),
        ("axes", "axe"),
        ("Bases", "basis"),
        ("means", "means"),
        ("wolves", "wolf"),
        ("leave", "leave"),
    ],
)
def test_of_several_base_forms_wordnets_most_frequent_counts(word: str, base: str) -> None:
    assert base_form(word, "NOUN", EXTRACT) == base


def test_without_counts_the_first_base_form_that_wordnet_knows_counts(tmp_path: Path) -> None:
    shutil.copytree(WORDNET, tmp_path / "wordnet")
    (tmp_path / "wordnet" / "cntlist.rev").unlink()
    assert base_form("leaves", "NOUN", WordNet(tmp_path / "wordnet")) == "leave"
    # WordNet has no noun `phonetic` or `phonetics` in the extract: lemminflect alone decides.
    assert base_form("phonetics", "NOUN", EXTRACT) == "phonetic"


def test_inflections_are_the_forms_under_the_other_tags_of_the_class() -> None:
    assert inflections("create", "VERB", "VBD", by_rule=False) == ("create", "created", "creates", "creating")
    assert inflections("story", "NOUN", "NNS", by_rule=False) == ("story",)


def test_only_by_rule_has_a_word_forms_that_its_dictionary_lacks() -> None:
    assert inflections("fictional", "ADJ", "JJ", by_rule=False) == ()
    assert inflections("fictional", "ADJ", "JJ", by_rule=True) == ("fictionaler", "fictionalest")


@pytest.mark.parametrize(
    ("base", "word_class", "tag", "form"),
    [
        ("create", "VERB", "VBD", "created"),
        ("drop a line", "VERB", "VBD", "dropped a line"),
        ("motion picture", "NOUN", "NNS", "motion pictures"),
        ("dark", "ADJ", "JJR", "darker"),
        ("imaginary", "ADJ", "JJR", "imaginary"),
        ("film", "NOUN", "NN", "film"),
    ],
)
def test_a_word_is_put_in_the_form_of_a_tag(base: str, word_class: WordClass, tag: str, form: str) -> None:
    assert inflect(base, word_class, tag) == form
