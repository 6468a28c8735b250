"""From text to rows: windows, limits, offsets, and what is refused."""

import sys
import threading
from collections.abc import Callable
from itertools import count, pairwise

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from models.text import LONG_TEXT, BadInput, Encoded, Reader, ReadingLimits, Row, Truncation
from tests.tiny import make_byte_tokenizer

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##b", "c", "!")
LIMITS = ReadingLimits(max_tokens=8, max_item_tokens=100, max_characters=1_000)
PAIR_LIMITS = ReadingLimits(max_tokens=19, max_item_tokens=20_000)
"""Three special tokens leave a pair room for 16 of text."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "ab é\u0301👩‍🚀🏽🇩🇪漢한مر\t\r\n\x00\u200b\u2028!", max_size=60
)


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece({token: number for number, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(make_tokenizer(), LIMITS)


@pytest.fixture(scope="module")
def pairs() -> Reader:
    return Reader(make_tokenizer(), PAIR_LIMITS)


def names(row: Row) -> list[str]:
    return [TOKENS[number] for number in row.ids]


def text_of(tokens: int) -> str:
    return " ".join("abc"[number % 3] for number in range(tokens))


def read_counts(reader: Reader, first: int, second: int, truncation: Truncation = "window") -> Encoded:
    return reader.read_pair({"premise": text_of(first), "hypothesis": text_of(second)}, truncation=truncation)


def numbers(row: Row, field: str) -> tuple[int, ...]:
    """Which tokens of a text made by `text_of` stand in a row."""
    return tuple(span.start // 2 for _, span in row.spans(field))


def pieces(encoded: Encoded, row: Row, field: str) -> list[str]:
    return [encoded.texts[field][slice(*span)] for _, span in row.spans(field)]


def test_a_short_text_is_one_row_between_special_tokens(reader: Reader) -> None:
    encoded = reader.read("A b!")
    assert [names(row) for row in encoded.rows] == [["[CLS]", "a", "b", "!", "[SEP]"]]
    assert (encoded.texts, encoded.tokens, encoded.truncated) == ({"text": "A b!"}, 5, False)


def test_padding_and_truncation_of_the_file_are_not_kept() -> None:
    tokenizer = make_tokenizer()
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(4)
    assert len(Reader(tokenizer, LIMITS).read("a b c").rows[0]) == 5


def test_the_tokenizer_that_was_given_is_left_as_it_was() -> None:
    tokenizer = make_tokenizer()
    tokenizer.enable_padding(length=64)
    Reader(tokenizer, LIMITS)
    assert len(tokenizer.encode("a").ids) == 64


def test_a_text_of_exactly_one_row_is_not_cut(reader: Reader) -> None:
    encoded = reader.read("a " * 6, truncation="error")
    assert [len(row) for row in encoded.rows] == [8]


def test_windows_overlap_by_a_quarter_and_hold_everything(reader: Reader) -> None:
    encoded = reader.read("a b c " * 4)
    spans = [[span for _, span in row.spans("text")] for row in encoded.rows]
    assert all(len(row) <= 8 for row in encoded.rows)
    assert [one[-2:] for one in spans[:-1]] == [other[:2] for other in spans[1:]]
    assert {span.start for window in spans for span in window} == set(range(0, 24, 2))
    assert not encoded.truncated


def test_tokens_count_every_window(reader: Reader) -> None:
    encoded = reader.read("a b c " * 4)
    assert encoded.tokens == sum(len(row.ids) for row in encoded.rows)


def test_right_keeps_the_beginning_and_says_that_it_cut(reader: Reader) -> None:
    encoded = reader.read("a b c a b c a", truncation="right")
    assert [names(row) for row in encoded.rows] == [["[CLS]", "a", "b", "c", "a", "b", "c", "[SEP]"]]
    assert encoded.truncated
    assert not reader.read("a", truncation="right").truncated


def test_offsets_are_those_of_the_text_as_given(reader: Reader) -> None:
    encoded = reader.read(" \u00c0\u200b bb\t!")  # an accent that the normaliser takes off, an invisible sign, a tab
    assert pieces(encoded, encoded.rows[0], "text") == ["\u00c0", "b", "b", "!"]


@settings(deadline=None)
@given(text=TEXTS)
def test_tokens_lie_in_the_text_in_order(text: str) -> None:
    try:
        encoded = Reader(make_tokenizer(), LIMITS).read(text)
    except BadInput:
        reject()
    for row in encoded.rows:
        spans = [span for _, span in row.spans("text")]
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert [span.start for span in spans] == sorted(span.start for span in spans)


def test_a_text_that_spells_a_special_token_is_text(reader: Reader) -> None:
    assert 3 not in reader.read("[SEP]").rows[0].ids[1:-1]


@pytest.mark.parametrize("make", [make_tokenizer, make_byte_tokenizer])
@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\u200b\u00ad", "\x00\x1b"])
def test_a_text_without_words_is_refused(make: Callable[[], Tokenizer], text: str) -> None:
    with pytest.raises(BadInput, match="holds no words") as caught:
        Reader(make(), LIMITS).read(text, field="premise")
    assert (caught.value.code, caught.value.field) == ("empty_input", "premise")


@pytest.mark.parametrize(
    ("text", "truncation", "said"),
    [
        ("a " * 7, "error", "longer than 8 tokens; shorten it, or ask for truncation 'window' or 'right'"),
        ("a " * 80, "window", "tokens in windows; at most 100 are read: split it"),
        ("a " * 200, "window", "200 tokens; at most 100 are read: split it"),
        ("a" * 1_001, "right", "1,001 characters; at most 1,000 are read: split the text"),
    ],
)
def test_a_text_beyond_a_limit_is_refused(reader: Reader, text: str, truncation: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        reader.read(text, truncation=truncation)  # type: ignore[arg-type]
    assert caught.value.code == "input_too_long"


def test_rows_too_short_to_hold_a_text_are_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens must be at least 8, got 7"):
        ReadingLimits(max_tokens=7)


def test_two_short_texts_are_one_row_of_two_segments(pairs: Reader) -> None:
    (row,) = pairs.read_pair({"premise": "a b", "hypothesis": "c !"}).rows
    assert names(row) == ["[CLS]", "a", "b", "[SEP]", "c", "!", "[SEP]"]
    assert row.type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert row.fields == ("premise", "hypothesis")


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (9, 7, (9, 7)),
        (15, 1, (15, 1)),
        (17, 1, (15, 1)),
        (20, 4, (12, 4)),
        (4, 20, (4, 12)),
        (9, 8, (8, 8)),
        (8, 9, (8, 8)),
        (20, 9, (8, 8)),
        (9, 20, (8, 8)),
        (20, 20, (8, 8)),
    ],
)
def test_cutting_a_pair_takes_from_the_longer_text_and_says_so(
    pairs: Reader, first: int, second: int, kept: tuple[int, int]
) -> None:
    encoded = read_counts(pairs, first, second, "right")
    (row,) = encoded.rows
    assert (numbers(row, "premise"), numbers(row, "hypothesis")) == tuple(tuple(range(count)) for count in kept)
    assert encoded.truncated == ((first, second) != kept)


@given(first=st.integers(1, 50), second=st.integers(1, 50))
def test_windows_hold_every_pair_of_windows_and_all_of_both_texts(pairs: Reader, first: int, second: int) -> None:
    encoded = read_counts(pairs, first, second)
    met = [(numbers(row, "premise"), numbers(row, "hypothesis")) for row in encoded.rows]
    firsts, seconds = ({pair[side] for pair in met} for side in (0, 1))
    assert sorted(met) == sorted((one, other) for one in firsts for other in seconds)
    assert {number for window in firsts for number in window} == set(range(first))
    assert {number for window in seconds for number in window} == set(range(second))
    assert (encoded.truncated, encoded.windows) == (False, len(met))
    assert all(len(row) <= 19 for row in encoded.rows)


@pytest.mark.parametrize(("first", "second"), [(30, 4), (4, 30), (30, 8), (30, 1), (30, 30)])
def test_neighbouring_windows_share_a_quarter_of_their_texts_room(pairs: Reader, first: int, second: int) -> None:
    room = 16 - min(first, second, 8)
    longer = "premise" if first >= second else "hypothesis"
    windows = sorted({numbers(row, longer) for row in read_counts(pairs, first, second).rows})
    assert all(one[-(room // 4) :] == other[: room // 4] for one, other in pairwise(windows))
    assert {len(window) for window in windows[:-1]} == {room}


@pytest.mark.parametrize("short", [1, 5, 8])
@pytest.mark.parametrize("longer", ["premise", "hypothesis"])
def test_a_text_of_up_to_half_the_row_stands_whole_beside_every_window(pairs: Reader, short: int, longer: str) -> None:
    shorter = "hypothesis" if longer == "premise" else "premise"
    counts = (40, short) if longer == "premise" else (short, 40)
    rows = read_counts(pairs, *counts).rows
    assert len(rows) > 1
    assert {numbers(row, shorter) for row in rows} == {tuple(range(short))}


def test_a_rows_group_is_the_number_of_its_window_of_the_second_text(pairs: Reader) -> None:
    rows = read_counts(pairs, 20, 14).rows  # windows of 8 that begin at 0, 6, 12
    begun = [(row.group, numbers(row, "hypothesis")[0], numbers(row, "premise")[0]) for row in rows]
    assert begun == [(0, 0, 0), (0, 0, 6), (0, 0, 12), (1, 6, 0), (1, 6, 6), (1, 6, 12)]


@pytest.mark.parametrize(("first", "second", "named"), [(14, 3, "premise"), (3, 14, "hypothesis"), (9, 9, "premise")])
def test_a_pair_too_long_is_refused_in_the_name_of_the_longer_text(
    pairs: Reader, first: int, second: int, named: str
) -> None:
    with pytest.raises(BadInput, match="longer than 19 tokens; shorten it, or ask for truncation") as caught:
        read_counts(pairs, first, second, "error")
    assert (caught.value.code, caught.value.field) == ("input_too_long", named)


def test_a_pair_of_exactly_one_row_is_not_refused(pairs: Reader) -> None:
    assert [len(row) for row in read_counts(pairs, 9, 7, "error").rows] == [19]


@pytest.mark.parametrize("empty", ["premise", "hypothesis"])
def test_a_pair_with_an_empty_side_is_refused_in_its_name(pairs: Reader, empty: str) -> None:
    with pytest.raises(BadInput, match="holds no words") as caught:
        pairs.read_pair({"premise": "a", "hypothesis": "b", empty: " "})
    assert caught.value.field == empty


def test_two_long_texts_are_refused_before_their_rows_are_made(pairs: Reader) -> None:
    # In a moment: their millions of rows would take minutes and all memory.
    with pytest.raises(BadInput, match=r"\d+,\d{3},\d{3} tokens in windows; at most 20,000 are read"):
        read_counts(pairs, 9_900, 9_900)


def test_of_two_long_texts_that_are_cut_one_row_is_made(pairs: Reader) -> None:
    # In a moment, as above.
    assert [len(row) for row in read_counts(pairs, 20_000, 20_000, "right").rows] == [19]


def test_no_row_carries_the_other_windows_in_it(pairs: Reader) -> None:
    assert not any(row.encoding.overflowing for row in read_counts(pairs, 40, 40).rows)


def ask(reader: Reader, context: int, question: str, *choices: str, truncation: Truncation = "window") -> Encoded:
    questions = [{"question": question, f"choices/{number}": choice} for number, choice in enumerate(choices)]
    return reader.read_against("context", text_of(context), questions, truncation=truncation)


def test_question_and_choice_stand_whole_in_every_row(pairs: Reader) -> None:
    encoded = ask(pairs, 40, "a b!", "c", "bb c")
    for row in encoded.rows:
        assert pieces(encoded, row, "question") == ["a", "b", "!"]
        assert pieces(encoded, row, f"choices/{row.group}") == [["c"], ["b", "b", "c"]][row.group]
        assert row.fields == ("context", "question", f"choices/{row.group}")


def test_groups_number_the_choices_and_each_reads_all_of_the_context(pairs: Reader) -> None:
    encoded = ask(pairs, 40, "a", "b", "c", "a b c a")
    assert [row.group for row in encoded.rows] == sorted(row.group for row in encoded.rows)
    for group in range(3):
        read = [number for row in encoded.rows if row.group == group for number in numbers(row, "context")]
        assert set(read) == set(range(40))


def test_windows_are_counted_for_the_choice_that_takes_the_most(pairs: Reader) -> None:
    encoded = ask(pairs, 14, "a", "b", "a b c a b c a")  # 14 tokens of room beside the first, 8 beside the second
    assert [row.group for row in encoded.rows] == [0, 1, 1]
    assert (encoded.windows, encoded.truncated) == (2, False)


def test_the_context_is_cut_beside_every_choice(pairs: Reader) -> None:
    encoded = ask(pairs, 40, "a", "b", "a b c", truncation="right")
    assert [numbers(row, "context") for row in encoded.rows] == [tuple(range(14)), tuple(range(12))]
    assert (encoded.windows, encoded.truncated) == (1, True)
    assert not ask(pairs, 12, "a", "b", "a b c", truncation="right").truncated


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((5, "a", "b", " "), "choices/1", "holds no words"),
        ((5, " ", "b", "c"), "question", "holds no words"),
        ((5, "a b c a", "b", "c a b c a"), "choices/1", "9 tokens to stand in every row; at most 8 can"),
        ((2_000, "a", "b", "c", "a", "b", "c", "a", "b"), "context", "tokens in windows; at most 20,000 are read"),
    ],
)
def test_what_cannot_be_read_beside_a_context_is_refused_by_its_name(
    pairs: Reader, given: tuple[int, str, str], named: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        ask(pairs, *given)
    assert caught.value.field == named


def test_a_context_too_long_beside_one_choice_is_refused_where_nothing_may_be_cut(pairs: Reader) -> None:
    assert len(ask(pairs, 14, "a", "b", truncation="error").rows) == 1
    with pytest.raises(BadInput, match="longer than 19 tokens") as caught:
        ask(pairs, 14, "a", "b", "b c", truncation="error")
    assert caught.value.field == "context"


@pytest.mark.parametrize("make", [make_tokenizer, make_byte_tokenizer])
@settings(deadline=None)
@given(texts=st.tuples(TEXTS, TEXTS, TEXTS))
def test_spans_lie_in_the_field_they_name_in_order(make: Callable[[], Tokenizer], texts: tuple[str, str, str]) -> None:
    reader = Reader(make(), ReadingLimits(max_tokens=80))
    context, question, choice = texts
    try:
        pair = reader.read_pair({"premise": context, "hypothesis": question})
        against = reader.read_against("context", context, [{"question": question, "choices/0": choice}])
    except BadInput:
        reject()
    for encoded in (pair, against):
        for row in encoded.rows:
            for field in row.fields:
                spans = [span for _, span in row.spans(field)]
                assert spans
                assert all(0 <= span.start <= span.end <= len(encoded.texts[field]) for span in spans)
                assert spans == sorted(spans)


@settings(deadline=None)
@given(texts=st.tuples(TEXTS, TEXTS))
def test_tokens_of_bytes_cover_every_character_but_spaces(texts: tuple[str, str]) -> None:
    reader = Reader(make_byte_tokenizer(), ReadingLimits(max_tokens=12))
    try:
        encoded = reader.read_pair({"premise": texts[0], "hypothesis": texts[1]})
    except BadInput:
        reject()
    for field, text in encoded.texts.items():
        covered = {place for row in encoded.rows for _, span in row.spans(field) for place in range(*span)}
        assert covered == {place for place, character in enumerate(text) if character != " "}


def test_tokens_of_bytes_are_read_without_the_space_before_them() -> None:
    reader = Reader(make_byte_tokenizer(), ReadingLimits(max_tokens=12))
    encoded = reader.read_against("context", "a ab  b é", [{"question": "ab a", "choices/0": " b"}])
    (row,) = encoded.rows[:1]
    assert pieces(encoded, row, "context") == ["a", "ab", "", "b"]
    assert pieces(encoded, row, "question") == ["ab", "a"]
    assert pieces(encoded, row, "choices/0") == ["b"]


def test_other_threads_run_while_a_long_text_is_tokenized() -> None:
    reader = Reader(make_tokenizer(), ReadingLimits(max_tokens=128, max_item_tokens=200_000))
    is_read = threading.Event()
    turns = count()
    ticker = threading.Thread(target=lambda: [next(turns) for _ in iter(lambda: is_read.wait(0.001), True)])
    interval = sys.getswitchinterval()
    # So long that a thread runs only where another one lets it.
    sys.setswitchinterval(60)
    try:
        ticker.start()
        before = next(turns)
        reader.read(text_of(LONG_TEXT * 10), truncation="right")
        after = next(turns)
    finally:
        sys.setswitchinterval(interval)
        is_read.set()
        ticker.join()
    assert after > before + 1
