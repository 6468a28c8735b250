"""Offsets in the three units, against Python's own encoders."""

from hypothesis import given
from hypothesis import strategies as st

from models.words import Span, split_words
from service.answers.offsets import convert_spans

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("ab é😀👩‍🚀مر한\t\u0301", max_size=40)


@given(text=TEXTS)
def test_a_span_in_utf16_units_cuts_the_same_text(text: str) -> None:
    units = text.encode("utf-16-le")
    words = split_words(text)
    for word, (start, end) in zip(words, convert_spans(text, words, "utf16"), strict=True):
        assert units[2 * start : 2 * end].decode("utf-16-le") == text[slice(*word)]


@given(text=TEXTS)
def test_a_span_in_bytes_cuts_the_same_text(text: str) -> None:
    encoded = text.encode()
    words = split_words(text)
    for word, (start, end) in zip(words, convert_spans(text, words, "byte"), strict=True):
        assert encoded[start:end].decode() == text[slice(*word)]


@given(text=TEXTS)
def test_code_points_are_what_python_counts(text: str) -> None:
    words = split_words(text)
    assert convert_spans(text, words, "codepoint") == list(words)


def test_a_span_may_end_with_the_text() -> None:
    assert convert_spans("é😀", [Span(0, 2)], "byte") == [Span(0, 6)]
    assert convert_spans("é😀", [Span(0, 2)], "utf16") == [Span(0, 3)]
