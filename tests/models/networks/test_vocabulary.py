"""Words as tokens, and files of word vectors."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from models.networks.vocabulary import VectorsError, make_tokenizer, read_vectors
from models.text import Reader, ReadingLimits

ROWS = [["The film, the FILM!"], ["the plot", "a film"], ["in 1999 or 2019"]]


def _tokenizer(min_documents: int = 1) -> Tokenizer:
    backend: Tokenizer = make_tokenizer(ROWS, min_documents).backend_tokenizer
    return backend


def _reader(max_tokens: int = 64) -> Reader:
    return Reader(_tokenizer(), ReadingLimits(max_tokens=max_tokens))


def _by_number(tokenizer: Tokenizer) -> list[str]:
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)


def test_words_are_numbered_by_how_many_rows_they_stand_in_then_by_spelling() -> None:
    assert _by_number(_tokenizer()) == ["[PAD]", "[UNK]", "film", "the", "!", ",", "0", "a", "in", "or", "plot"]


def test_a_word_in_too_few_rows_is_unknown() -> None:
    assert _by_number(_tokenizer(2)) == ["[PAD]", "[UNK]", "film", "the"]
    assert _tokenizer(2).encode("The plot").tokens == ["the", "[UNK]"]


def test_the_tokenizer_knows_its_padding() -> None:
    tokenizer = make_tokenizer(ROWS, 1)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)


@pytest.mark.parametrize("word", ["7", "2019", "x9", "9x", "a1b2c3", "１２", "½", "€14", "007"])
def test_a_word_with_a_digit_is_one_token_and_the_same_as_any_other(word: str) -> None:
    text = f"in {word} or"
    encoded = _tokenizer().encode(text)
    assert encoded.tokens == ["in", "0", "or"]
    start, end = encoded.offsets[1]
    assert 3 <= start < end <= 3 + len(word)
    assert any(sign.isnumeric() for sign in text[start:end])
    assert encoded.offsets[2] == (len(text) - 2, len(text))


def test_offsets_are_those_of_the_text_as_it_was_given() -> None:
    text = "THE  Élan,\tfilm… 中文!"
    encoded = _tokenizer().encode(text)
    found = [text[start:end] for start, end in encoded.offsets]
    assert found == ["THE", "Élan", ",", "film", "…", "中", "文", "!"]


def test_nothing_stands_around_texts() -> None:
    single, pair = _reader().read("the film"), _reader().read_pair({"a": "the film", "b": "a plot"})
    assert single.rows[0].encoding.tokens == ["the", "film"]
    assert pair.rows[0].encoding.tokens == ["the", "film", "a", "plot"]
    assert pair.rows[0].type_ids == [0, 0, 1, 1]
    assert [position for position, _ in pair.rows[0].spans("b")] == [2, 3]


def test_a_text_that_spells_out_a_special_token_is_text() -> None:
    assert _reader().read("the [PAD] film").rows[0].encoding.tokens == ["the", *["[UNK]"] * 3, "film"]


def test_a_text_of_unknown_words_is_a_text() -> None:
    assert _reader().read("quite unheard of").rows[0].ids == [1, 1, 1]


def test_long_texts_are_read_in_windows_that_hold_every_word() -> None:
    encoded = _reader(8).read(" ".join(["the", "film", "a", "plot"] * 5))
    starts = sorted({span.start for row in encoded.rows for _, span in row.spans("text")})
    assert len(starts) == 20
    assert max(map(len, encoded.rows)) == 8


@pytest.mark.parametrize("header", ["", "4 3\n"])
def test_vectors_are_read_for_the_words_that_are_wanted(tmp_path: Path, header: str) -> None:
    path = tmp_path / "wiki.vec"
    path.write_text(header + "film 1 2 3\nplot 0.5 -1e-2 0\nThe 1 1 1\nat the end 4 5 6\n", encoding="utf-8")
    found, digest = read_vectors(path, {"film", "plot", "the", "at the end"}, 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "film": [1, 2, 3],
        "plot": np.array([0.5, -1e-2, 0], dtype=np.float32).tolist(),
        "at the end": [4, 5, 6],
    }
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("film 1 2\n", "line 1 has not 3 numbers; set bilstm.word_width to the vectors' width"),
        ("film 1 2 3 4\n", "has none of the 2 words; are its vectors 3 wide, its words lower-cased"),
        ("plot 1 2 3\nfilm 1 x 3\n", "line 2: could not convert string to float"),
        ("film 1 nan 3\n", "line 1: a number is not finite"),
    ],
)
def test_a_file_of_other_vectors_is_refused_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "wiki.vec"
    path.write_text(content)
    with pytest.raises(VectorsError, match=message):
        read_vectors(path, {"film", "plot"}, 3)


def test_a_file_of_vectors_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorsError, match=r"none\.vec: cannot be read \(No such file"):
        read_vectors(tmp_path / "none.vec", {"film"}, 3)
