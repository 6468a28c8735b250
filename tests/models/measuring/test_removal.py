"""Rows without some of their words, against texts read without them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.measuring.removal import RemovableWords, ThinnedRow, Word
from models.text import Encoded, Reader, ReadingLimits, pad
from models.words import Span, line_up, split_words
from tests.tiny import make_byte_tokenizer, make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))
MASK = READER.token_id("[MASK]")
WORDS = st.lists(st.sampled_from(["good", "film", "unable", "zzz", ",", "!"]), min_size=1, max_size=12)


def _words(encoded: Encoded) -> list[Word]:
    return [(field, word) for field, text in encoded.texts.items() for word in split_words(text)]


def _without(text: str, words: Sequence[int]) -> Encoded:
    encoded = READER.read(text)
    return RemovableWords(encoded, _words(encoded)).without(words)


@given(words=WORDS, data=st.data())
def test_deleting_words_is_reading_the_text_without_them(words: list[str], data: st.DataObject) -> None:
    """For texts of one window; longer ones would be cut anew."""
    words = words[:4]
    removed = data.draw(st.sets(st.integers(0, len(words) - 1), max_size=len(words) - 1))
    left = [word for number, word in enumerate(words) if number not in removed]
    (row,) = _without(" ".join(words), sorted(removed)).rows
    (expected,) = READER.read(" ".join(left)).rows
    assert (row.ids, row.type_ids, len(row)) == (expected.ids, expected.type_ids, len(expected))


def test_tokens_that_are_left_keep_their_place_in_the_text() -> None:
    text = "a good unable film"
    (row,) = _without(text, [1]).rows
    assert [(position, text[slice(*span)]) for position, span in row.spans("text")] == [
        (1, "a"), (2, "un"), (3, "able"), (4, "film")
    ]  # fmt: skip


def test_the_mask_takes_the_place_of_every_token_of_a_word() -> None:
    encoded = READER.read("a unable film")
    (row,) = RemovableWords(encoded, _words(encoded)).without([1], MASK).rows
    (whole,) = encoded.rows
    assert row.ids == [*whole.ids[:2], MASK, MASK, *whole.ids[4:]]
    assert (row.type_ids, row.spans("text"), len(row)) == (whole.type_ids, whole.spans("text"), len(whole))


def test_all_words_of_one_text_of_a_pair_can_go() -> None:
    encoded = READER.read_pair({"text_a": "good film", "text_b": "bad plot"})
    removed = [number for number, (field, _) in enumerate(_words(encoded)) if field == "text_b"]
    (row,) = RemovableWords(encoded, _words(encoded)).without(removed).rows
    assert row.ids == [READER.token_id(token) for token in ("[CLS]", "good", "film", "[SEP]", "[SEP]")]
    assert row.type_ids == [0, 0, 0, 0, 1]
    assert not row.spans("text_b")


def test_a_word_leaves_every_window_that_holds_it() -> None:
    text = " ".join(["good"] * 12 + ["dull"] + ["film"] * 12)
    encoded = READER.read(text)
    assert sum(READER.token_id("dull") in row.ids for row in encoded.rows) > 1
    thinned = RemovableWords(encoded, _words(encoded)).without([12])
    assert not any(READER.token_id("dull") in row.ids for row in thinned.rows)
    assert len(thinned.rows) == len(encoded.rows)


def test_rows_that_lose_nothing_stay_what_they_are() -> None:
    encoded = READER.read("good film " * 12)
    removable = RemovableWords(encoded, _words(encoded))
    assert removable.without([]) is encoded
    assert removable.without([0]).rows[-1] is encoded.rows[-1]
    assert isinstance(removable.without([0]).rows[0], ThinnedRow)


def test_a_token_across_words_belongs_to_the_one_that_has_most_of_it() -> None:
    tokenizer = make_byte_tokenizer()
    encoded = Reader(tokenizer, ReadingLimits(max_tokens=16)).read("x ab")
    words = [("text", Span(0, 1)), ("text", Span(1, 3)), ("text", Span(3, 4))]
    (row,) = encoded.rows
    assert [tokenizer.id_to_token(token) for token in row.ids] == ["<s>", "x", "Ġab", "</s>"]
    removable = RemovableWords(encoded, words)
    assert len(removable.without([2]).rows[0]) == len(row)
    assert len(removable.without([1]).rows[0]) == len(row) - 1


@pytest.mark.parametrize("mask_id", [None, MASK])
def test_thinned_rows_make_the_arrays_of_a_batch(mask_id: int | None) -> None:
    encoded = READER.read("a good film , good plot")
    words = [("text", place) for place in line_up(["a", "good", "film", ",", "good", "plot"])]
    thinned = RemovableWords(encoded, words).without([1, 4], mask_id)
    arrays = pad([*encoded.rows, *thinned.rows], 0)
    assert arrays["attention_mask"].sum(axis=1).tolist() == [8, len(thinned.rows[0])]
    assert arrays["input_ids"].shape == (2, 8)
