"""Splitting a text into words, with exact offsets into the text as it was given.

Words are found by Unicode's default word boundaries (UAX #29), so combining marks, emoji with skin tones or joiners,
contractions (`don't`) and decimal numbers (`3.14`) stay whole. An ideograph is a word of its own, and so is every other
sign (a comma, a heart). White space and control characters are no words.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import regex

_BOUNDARY = regex.compile(r"(?V1w)\b")
# A flag is two regional indicators, so a boundary between them depends on how many stand before. `regex` counts those
# again at each one: a text of 250,000 would take minutes. After an even number of them there is always a boundary.
_MANY_FLAGS = regex.compile(r"\p{RI}{64}(?=\p{RI})")
_BLANK = regex.compile(r"[\s\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}]*")


class Span(NamedTuple):
    """Half-open range of code points, `text[start:end]`."""

    start: int
    end: int


def split_words(text: str) -> tuple[Span, ...]:
    """The words of `text` in order, without overlap. Between them is only white space or invisible signs."""
    cuts = [0, *(match.end() for match in _MANY_FLAGS.finditer(text)), len(text)]
    edges = sorted(
        {
            *cuts,
            *(
                start + boundary.start()
                for start, end in itertools.pairwise(cuts)
                for boundary in _BOUNDARY.finditer(text[start:end])
            ),
        }
    )
    pieces = (Span(start, end) for start, end in itertools.pairwise(edges))
    return tuple(piece for piece in pieces if not _BLANK.fullmatch(text, *piece))


def line_up(texts: Iterable[str]) -> Iterator[Span]:
    """The place of each text in the text that joins them with spaces."""
    start = 0
    for text in texts:
        yield Span(start, start + len(text))
        start += len(text) + 1


def is_blank(text: str) -> bool:
    """Whether `text` has no words, being empty or only white space and invisible signs."""
    return _BLANK.fullmatch(text) is not None


def trim(span: Span, text: str) -> Span:
    """The span without the white space at its ends."""
    piece = text[slice(*span)]
    return Span(span.start + len(piece) - len(piece.lstrip()), span.end - len(piece) + len(piece.rstrip()))


def share_by_overlap(spans: list[Span], scores: list[float], words: tuple[Span, ...]) -> list[float]:
    """Add up the token scores of each word. A token across several words shares its score by the characters in each.

    Tokens that touch no word (they are empty, or only white space) are left out.
    """
    totals = [0.0] * len(words)
    starts = [word.start for word in words]
    for (start, end), score in zip(spans, scores, strict=True):
        first = max(bisect.bisect_right(starts, start) - 1, 0)
        overlaps: list[tuple[int, int]] = []
        for index in range(first, len(words)):
            if words[index].start >= end:
                break
            width = min(end, words[index].end) - max(start, words[index].start)
            if width > 0:
                overlaps.append((index, width))
        covered = sum(width for _, width in overlaps)
        for index, width in overlaps:
            totals[index] += score * width / covered
    return totals
