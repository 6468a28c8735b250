"""Splitting a text into words, with exact offsets into the text as it was given.

A word is what Unicode's default word boundaries (UAX #29) keep together, so combining marks, emoji with skin tones or
joiners, contractions (`don't`) and decimal numbers (`3.14`) stay whole. Ideographs stand alone, white space and control
characters are no words, and every other sign (a comma, a heart) is a word of its own.
"""

import bisect
import itertools
from typing import NamedTuple

import regex

_BOUNDARY = regex.compile(r"(?V1w)\b")
_BLANK = regex.compile(r"[\s\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}]*")


class Span(NamedTuple):
    """Half-open range of code points, `text[start:end]`."""

    start: int
    end: int


def split_words(text: str) -> tuple[Span, ...]:
    """The words of `text` in order; they never overlap, and what lies between them is white space or invisible."""
    edges = sorted({0, *(match.start() for match in _BOUNDARY.finditer(text)), len(text)})
    pieces = (Span(start, end) for start, end in itertools.pairwise(edges))
    return tuple(piece for piece in pieces if not _BLANK.fullmatch(text, *piece))


def share_by_overlap(spans: list[Span], scores: list[float], words: tuple[Span, ...]) -> list[float]:
    """Each word's total of token scores; a token lying across several words shares its score by characters.

    Tokens that touch no word (zero width, or white space only) count for nothing.
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
