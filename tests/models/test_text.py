"""From text to rows: windows, limits, offsets, and what is refused."""

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from models.text import BadInput, Reader, ReadingLimits, Row

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##b", "c", "!")
LIMITS = ReadingLimits(max_tokens=8, max_item_tokens=100, max_characters=1_000)


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece({token: number for number, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(make_tokenizer(), LIMITS)


def names(row: Row) -> list[str]:
    return [TOKENS[number] for number in row.ids]


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
    assert [one[-1:] for one in spans[:-1]] == [other[:1] for other in spans[1:]]
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
    text = " \u00c0\u200b bb\t!"  # an accent that the normaliser takes off, an invisible sign, a tab
    pieces = [text[slice(*span)] for _, span in reader.read(text).rows[0].spans("text")]
    assert pieces == ["\u00c0", "b", "b", "!"]


@settings(deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("ab é👩‍🚀漢\t\u200b!", max_size=60)
)
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


@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\u200b\u00ad", "\x00\x1b"])
def test_a_text_without_words_is_refused(reader: Reader, text: str) -> None:
    with pytest.raises(BadInput, match="holds no words") as caught:
        reader.read(text, field="premise")
    assert (caught.value.code, caught.value.field) == ("empty_input", "premise")


@pytest.mark.parametrize(
    ("text", "truncation", "said"),
    [
        ("a " * 7, "error", "longer than 8 tokens; shorten it, or ask for truncation 'window' or 'right'"),
        ("a " * 200, "window", "tokens in windows; at most 100 are read: split it"),
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
