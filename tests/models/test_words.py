"""Words and their offsets: properties for any text, Unicode's rules by example, sharing of scores against a loop."""

import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from models.words import Span, is_blank, share_by_overlap, split_words

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.text(
    "abC é\u0301👩‍🚀🏽🇩🇪مر漢かな한 \t\r\n\x00\u200b\u00ad\u2028'’.:,3-_", max_size=60
)


def words_of(text: str) -> list[str]:
    return [text[slice(*span)] for span in split_words(text)]


@given(text=TEXTS)
def test_words_are_in_order_disjoint_and_never_empty(text: str) -> None:
    spans = split_words(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))


@given(text=TEXTS)
def test_only_what_cannot_be_seen_lies_between_words(text: str) -> None:
    left = list(text)
    for start, end in split_words(text):
        left[start:end] = [" "] * (end - start)
    assert all(sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf") for sign in left)


@given(text=TEXTS)
def test_words_end_wherever_unicode_ends_one(text: str) -> None:
    edges = {boundary.start() for boundary in regex.finditer(r"(?V1w)\b", text)}
    assert not any(edge in range(start + 1, end) for start, end in split_words(text) for edge in edges)


@given(text=TEXTS)
def test_a_text_is_blank_where_it_has_no_words(text: str) -> None:
    assert is_blank(text) == (split_words(text) == ())


@given(text=TEXTS)
def test_every_letter_and_digit_lies_in_a_word(text: str) -> None:
    inside = {position for span in split_words(text) for position in range(*span)}
    assert all(position in inside for position, sign in enumerate(text) if sign.isalnum())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n\u200b", []),
        ("The film, was good!", ["The", "film", ",", "was", "good", "!"]),
        ("don't can’t", ["don't", "can’t"]),
        ("3.14 1,000", ["3.14", "1,000"]),
        ("e\u0301te\u0301 naïve", ["e\u0301te\u0301", "naïve"]),
        ("👩‍👩‍👧👍🏽🇩🇪🇫🇷", ["👩‍👩‍👧", "👍🏽", "🇩🇪", "🇫🇷"]),
        ("我爱你", ["我", "爱", "你"]),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("snake_case a-b", ["snake_case", "a", "-", "b"]),
        (":-( ❤", [":", "-", "(", "❤"]),
        ("the U.S.A and Ph.D, e.g. 3.5.1", ["the", "U.S.A", "and", "Ph.D", ",", "e.g", ".", "3.5.1"]),
        ("see www.example.co.uk.", ["see", "www.example.co.uk", "."]),
        ("The end.Then U.S.army", ["The", "end", ".", "Then", "U.S", ".", "army"]),
        ("Name:Taylor a:b great.it", ["Name", ":", "Taylor", "a", ":", "b", "great", ".", "it"]),
        ("e\u0301.\u0301t.to\u0301", ["e\u0301", ".\u0301", "t", ".", "to\u0301"]),
    ],
)
def test_words_are_what_unicode_says_but_for_missing_spaces(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_long_row_of_flags_is_split_in_pairs() -> None:
    # In a moment: when every boundary counted the signs before it, this took a quarter of an hour.
    flags = "🇩🇪" * 100_000
    assert words_of("a" + flags + "\u200d") == ["a", *["🇩🇪"] * 99_999, "🇩🇪\u200d"]


@pytest.mark.parametrize(
    ("spans", "scores", "totals"),
    [
        ([(0, 2), (2, 4)], [1, 2], [3, 0]),
        ([(0, 4), (5, 8)], [1, 2], [1, 2]),
        ([(0, 8)], [7], [4, 3]),  # 4 and 3 of the 7 characters that are in words
        ([(4, 5)], [9], [0, 0]),
        ([(3, 3)], [9], [0, 0]),
        ([(5, 8), (0, 4)], [1, 2], [2, 1]),
        ([], [], [0, 0]),
    ],
    ids=["pieces", "whole words", "across two", "only a space", "no width", "any order", "no tokens"],
)
def test_tokens_give_their_score_to_the_words_they_lie_in(
    spans: list[tuple[int, int]], scores: list[float], totals: list[float]
) -> None:
    words = (Span(0, 4), Span(5, 8))
    assert share_by_overlap([Span(*span) for span in spans], scores, words) == totals


@st.composite
def spans_over_a_text(draw: st.DrawFn) -> tuple[list[Span], list[float], tuple[Span, ...]]:
    words = split_words(draw(TEXTS))
    end = words[-1].end if words else 0
    edges = draw(st.lists(st.tuples(st.integers(0, end), st.integers(0, end)), max_size=12))
    spans = [Span(min(edge), max(edge)) for edge in edges]
    return spans, draw(st.lists(st.floats(-5, 5), min_size=len(spans), max_size=len(spans))), words


@given(case=spans_over_a_text())
def test_sharing_agrees_with_counting_character_by_character(
    case: tuple[list[Span], list[float], tuple[Span, ...]],
) -> None:
    spans, scores, words = case
    expected = [0.0] * len(words)
    for span, score in zip(spans, scores, strict=True):
        owners = [
            number for number, word in enumerate(words) for place in range(*span) if word.start <= place < word.end
        ]
        for owner in owners:
            expected[owner] += score / len(owners)
    assert share_by_overlap(spans, scores, words) == pytest.approx(expected, abs=1e-9)  # summed in another order


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("好电影", ["好", "电", "影"]),
        ("良い映画", ["良", "い", "映", "画"]),
        ("カタカナ語", ["カタカナ", "語"]),
        ("รื่อง", ["รื่", "อ", "ง"]),
        ("хороший фильм", ["хороший", "фильм"]),
    ],
)
def test_words_of_scripts_without_spaces_are_signs_but_for_katakana(text: str, words: list[str]) -> None:
    assert [text[slice(*span)] for span in split_words(text)] == words
