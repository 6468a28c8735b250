"""WordNet's database format, read from an extract of it that keeps every sense of the words asked for here.

`tests/wordnet_extract.py` made the extract.
"""

import re
import shutil
from pathlib import Path

import pytest

from models.synonyms.wordnet import WordClass, WordNet, WordNetError
from tests.slights import write_slights
from tests.tiny import WORDNET

EXTRACT = WORDNET


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet(EXTRACT)


def test_synonyms_are_the_words_of_all_senses(wordnet: WordNet) -> None:
    assert wordnet.synonyms("fictional", "ADJ") == {"fictional", "fabricated", "fancied", "fictitious"}
    assert wordnet.synonyms("happy", "ADJ") == {"happy", "felicitous", "glad", "well-chosen"}


def test_hypernyms_are_those_one_step_up(wordnet: WordNet) -> None:
    assert wordnet.hypernyms("increase", "VERB") == {"change", "alter", "modify", "change_magnitude"}
    assert wordnet.hypernyms("entity", "NOUN") == frozenset()


@pytest.mark.parametrize(("word", "word_class"), [("good", "ADJ"), ("slowly", "ADV")])
def test_adjectives_and_adverbs_have_no_hypernyms(wordnet: WordNet, word: str, word_class: WordClass) -> None:
    assert wordnet.hypernyms(word, word_class) == frozenset()


@pytest.mark.parametrize(
    ("word", "word_class", "opposites"),
    [
        ("fictional", "ADJ", {"nonfictional"}),
        ("happy", "ADJ", {"unhappy"}),
        ("increase", "VERB", {"decrease"}),
        ("good", "ADJ", {"bad", "evil"}),
        ("loudly", "ADV", {"softly", "piano"}),
        ("dog", "NOUN", set()),
    ],
)
def test_antonyms_are_the_opposites_of_any_word_of_the_senses(
    wordnet: WordNet, word: str, word_class: WordClass, opposites: set[str]
) -> None:
    assert wordnet.antonyms(word, word_class) == opposites


def test_a_words_own_antonyms_are_fewer_than_those_of_its_synonyms(wordnet: WordNet) -> None:
    assert wordnet.own_antonyms("bad", "ADJ") == {"good"}
    assert wordnet.antonyms("bad", "ADJ") == {"good", "unregretful"}
    assert wordnet.own_antonyms("hid", "VERB") == wordnet.own_antonyms("hide", "VERB") == {"show"}


def test_an_adjective_around_another_reaches_an_opposite_by_way_of_it(wordnet: WordNet) -> None:
    assert wordnet.antonyms("unsatisfying", "ADJ") == frozenset()
    assert wordnet.antonyms_of_heads("unsatisfying", "ADJ") == {"satisfactory"}
    assert wordnet.antonyms_of_heads("loudly", "ADV") == frozenset()


@pytest.mark.parametrize(
    ("inflected", "word_class", "base"),
    [
        ("stories", "NOUN", "story"),
        ("Dogs", "NOUN", "dog"),
        ("wolves", "NOUN", "wolf"),
        ("increased", "VERB", "increase"),
        ("writes", "VERB", "write"),
        ("barking", "VERB", "bark"),
        ("wrote", "VERB", "write"),
        ("darker", "ADJ", "dark"),
        ("finest", "ADJ", "fine"),
        ("best", "ADJ", "good"),
    ],
)
def test_a_form_is_looked_up_as_its_base(wordnet: WordNet, inflected: str, word_class: WordClass, base: str) -> None:
    assert base in wordnet.base_forms(inflected, word_class)
    assert wordnet.synonyms(inflected, word_class) >= wordnet.synonyms(base, word_class) > frozenset()


def test_of_exceptions_the_suffix_rules_are_not_asked(wordnet: WordNet) -> None:
    assert wordnet.base_forms("went", "VERB") == ("go",)
    assert wordnet.base_forms("fell", "VERB") == ("fall",)


def test_a_word_that_is_not_there_has_nothing(wordnet: WordNet) -> None:
    assert wordnet.base_forms("zebra", "NOUN") == ()
    assert wordnet.synonyms("zebra", "NOUN") == wordnet.antonyms("zebra", "NOUN") == frozenset()


def test_words_of_several_parts_are_found_with_spaces(wordnet: WordNet) -> None:
    assert wordnet.synonyms("change magnitude", "VERB") == {"change_magnitude"}


def test_adjectives_lose_the_sign_of_their_place() -> None:
    lines = (EXTRACT / "data.adj").read_text().splitlines()
    assert any("(a)" in line.partition("|")[0] or "(p)" in line.partition("|")[0] for line in lines)
    wordnet = WordNet(EXTRACT)
    words = {
        word
        for offsets in wordnet._index["ADJ"].values()
        for at in offsets[0]
        for word in wordnet.synset("ADJ", at).words
    }
    assert not any("(" in word for word in words)


def test_frequent_words_are_single_in_lower_case_and_sorted(wordnet: WordNet) -> None:
    for word_class in ("NOUN", "VERB", "ADJ", "ADV"):
        words = wordnet.frequent_words(word_class)
        assert list(words) == sorted(set(words))
        assert all(word.isalpha() and word == word.lower() for word in words)
    assert {"film", "story", "dog"} <= set(wordnet.frequent_words("NOUN"))
    assert "nonfictional" not in wordnet.frequent_words("ADJ")  # no annotated text has it


def test_slights_are_words_without_capital_that_are_marked_in_their_most_frequent_sense(tmp_path: Path) -> None:
    assert WordNet(write_slights(tmp_path)).slights() == {"snob", "blicket"}
    assert WordNet(EXTRACT).slights() == frozenset()


def test_every_offset_of_the_extracts_indices_is_a_synset_with_that_word(wordnet: WordNet) -> None:
    for word_class, entries in wordnet._index.items():
        for lemma, entry in entries.items():
            for offset in entry.offsets:
                assert lemma in map(str.lower, wordnet.synset(word_class, offset).words)


def test_a_folder_without_wordnet_names_the_package_and_the_place(tmp_path: Path) -> None:
    with pytest.raises(
        WordNetError, match=r"index\.noun is missing; install .* wordnet-base, .*wordnet\.princeton\.edu"
    ):
        WordNet(tmp_path)


def test_a_data_file_that_is_not_the_indexs_is_refused(tmp_path: Path) -> None:
    shutil.copytree(EXTRACT, tmp_path / "wordnet")
    data = tmp_path / "wordnet" / "data.noun"
    data.write_bytes(b" " + data.read_bytes())
    with pytest.raises(WordNetError, match=r"data\.noun: no synset at byte \d+; the file is damaged, or its index"):
        WordNet(tmp_path / "wordnet").synonyms("dog", "NOUN")


def test_an_index_that_is_none_is_refused_by_its_line(tmp_path: Path) -> None:
    shutil.copytree(EXTRACT, tmp_path / "wordnet")
    (tmp_path / "wordnet" / "index.adv").write_text("very r one\n")
    with pytest.raises(WordNetError, match=r"index\.adv: line 1 is not one of a WordNet index"):
        WordNet(tmp_path / "wordnet")


def test_a_word_is_as_frequent_as_its_most_frequent_sense(wordnet: WordNet) -> None:
    assert (wordnet.frequency("leaf", "NOUN"), wordnet.frequency("leave", "NOUN")) == (20, 2)
    assert wordnet.frequency("leave", "VERB") == 146
    assert wordnet.frequency("zebra", "NOUN") == 0


@pytest.mark.parametrize("line", ["leaf 3", "leaf% 1 20", "leaf%9:20:00:: 1 20", "leaf%1:20:00:: 1 many", ""])
def test_damaged_counts_are_refused_by_line(line: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXTRACT, tmp_path / "wordnet"))
    (folder / "cntlist.rev").write_text(f"leaf%1:20:00:: 1 20\n{line}\n")
    with pytest.raises(WordNetError, match=r"cntlist\.rev: line 2 is not one of WordNet's counts"):
        WordNet(folder).frequency("leaf", "NOUN")


@pytest.mark.parametrize("name", ["index.adv", "adv.exc", "cntlist.rev"])
def test_a_file_that_is_no_text_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXTRACT, tmp_path / "wordnet"))
    (folder / name).write_bytes(b"\xff\xfe\n")
    with pytest.raises(WordNetError, match=rf"{name}: not a text in UTF-8, as WordNet's files are; install"):
        WordNet(folder).frequency("leaf", "NOUN")


def test_a_synset_that_is_no_text_is_refused_by_its_place(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXTRACT, tmp_path / "wordnet"))
    data = folder / "data.noun"
    data.write_bytes(re.sub(rb"(?<= )leaf(?= )", b"\xff\xfe\xfd\xfc", data.read_bytes()))
    with pytest.raises(WordNetError, match=r"data\.noun: no synset at byte \d+; the file is damaged"):
        WordNet(folder).synonyms("leaf", "NOUN")
