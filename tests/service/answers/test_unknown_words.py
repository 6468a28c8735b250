"""How much of an input a model has words for."""

from collections.abc import Iterable

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from models.text import Reader, ReadingLimits
from service.answers.unknown_words import UnknownWords, unknown_ids
from tests.tiny import SPECIAL, word_piece

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def bert_of(words: Iterable[str]) -> Tokenizer:
    """A tokenizer of these words and of all English letters, as BERT's are."""
    tokenizer = word_piece([*words, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"!.7"])
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


ENGLISH = bert_of(["the", "film", "was", "fine", "un", "##fine", "\u5929", "\u5730"])


def share(tokenizer: Tokenizer, text: str, max_tokens: int = 32) -> float:
    reader = Reader(tokenizer, ReadingLimits(max_tokens=max_tokens))
    return UnknownWords(reader.tokenizer).share(reader.read(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the film was fine", 0.0),
        ("The film was unfine!", 0.0),
        ("a 7 i", 0.0),
        ("\N{FACE WITH ROLLING EYES}", 1.0),
        ("q" * 300, 1.0),
        ("\u5929\u5730", 1.0),
        ("the \u5929 film \N{SNOWMAN}", 0.5),
        # film ##q was ##s
        ("filmq wass", 0.5),
        ("[UNK] [SEP]", 0.0),
    ],
)
def test_the_share_is_of_tokens_without_a_known_word(text: str, expected: float) -> None:
    if text.startswith("["):
        # Text that spells out a token is text: brackets, which this vocabulary lacks, and words that fall apart.
        assert share(ENGLISH, text) > expected
    else:
        assert share(ENGLISH, text) == expected


def test_a_model_whose_words_are_single_signs_knows_them() -> None:
    chinese = bert_of(map(chr, range(0x4E00, 0x4E80)))
    assert share(chinese, "\u4e00\u4e01") == 0.0


def test_a_script_of_many_longer_words_is_known_however_large_the_vocabulary() -> None:
    english = [f"w{first}{second}{third}" for first in LETTERS for second in LETTERS for third in LETTERS[:5]]
    russian = ["\u0434\u0430" + chr(0x430 + first) + chr(0x430 + second) for first in range(10) for second in range(10)]
    assert share(bert_of([*english, *russian, "\u044f"]), "\u044f") == 0.0
    assert share(bert_of([*english, *russian[:50], "\u044f"]), "\u044f") == 1.0


def test_windows_and_pairs_count_no_special_tokens() -> None:
    assert share(ENGLISH, "\N{SNOWMAN} " * 100, max_tokens=16) == 1.0
    reader = Reader(ENGLISH, ReadingLimits(max_tokens=32))
    pair = reader.read_pair({"a": "\N{SNOWMAN}", "b": "film was fine"})
    assert UnknownWords(ENGLISH).share(pair) == 0.25


def test_byte_level_tokens_inside_words_are_told_from_those_that_begin_words() -> None:
    begins = "\u0120"
    vocabulary = {token: number for number, token in enumerate([*LETTERS, begins, f"{begins}a", "ab", f"{begins}ab"])}
    tokenizer = Tokenizer(BPE(vocabulary, [(begins, "a"), ("a", "b"), (f"{begins}a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    assert vocabulary["a"] in unknown_ids(tokenizer)
    assert unknown_ids(tokenizer).isdisjoint({vocabulary[f"{begins}a"], vocabulary["ab"], vocabulary[f"{begins}ab"]})


def test_a_vocabulary_of_whole_words_has_one_token_for_all_others() -> None:
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "film": 2}, unk_token="<unk>"))
    assert unknown_ids(tokenizer) == {0}
