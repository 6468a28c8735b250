"""Splitting a text into words, with exact offsets into the text as it was given.

Words are found by Unicode's default word boundaries (UAX #29), so combining marks, emoji with skin tones or joiners,
contractions (`don't`) and decimal numbers (`3.14`) stay whole. An ideograph is a word of its own, and so is every other
sign (a comma, a heart). White space and control characters are no words.

UAX #29 lets a full stop or a colon join letters. Here only a full stop does, in initialisms (`U.S`, `Ph.D`) and in the
names of hosts (`example.org`). Elsewhere a space is missing, as in `Name:Taylor` and `The end.Then`.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import regex

# The endings leave out those that are English words, such as `in`, `it` and `me`.
HOST = (
    r"(?:[\p{L}\p{N}-]++\.(?=[\p{L}\p{N}]))++(?:com|org|net|edu|gov|mil|int|info|biz|co|io|ai|tv|fm|ly|gl|dev|app"
    r"|eu|uk|de|fr|es|nl|ch|pl|ru|se|dk|cz|ca|br|mx|au|nz|jp|cn|kr|za)(?![\p{L}\p{N}-])"
)
"""Pattern of the name of a host, for `regex` with IGNORECASE."""

_IS_HOST = regex.compile(HOST, regex.IGNORECASE)
_STOP = regex.compile(r"[.:\uff0e\uff1a][\p{M}\p{Cf}]*")
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
    pieces = [Span(start, end) for start, end in itertools.pairwise(edges) if not _BLANK.fullmatch(text, start, end)]
    if not any(piece.end - piece.start > 2 and _STOP.search(text, *piece) for piece in pieces):
        return tuple(pieces)
    return tuple(part for piece in pieces for part in _cut_stops(piece, text))


def is_initialism(word: str) -> bool:
    """Whether full stops join the letters of one word of `split_words`, as in `U.S` and `e.g`."""
    return len(word) > 2 and word[0].isalpha() and _STOP.search(word) is not None and not _IS_HOST.fullmatch(word)


def line_up(texts: Iterable[str]) -> Iterator[Span]:
    """The place of each text in the text that joins them with spaces."""
    start = 0
    for text in texts:
        yield Span(start, start + len(text))
        start += len(text) + 1


def is_blank(text: str) -> bool:
    """Whether `text` has no words, being empty or only white space and invisible signs."""
    # Most texts begin with a letter. `regex` lets other threads run while it matches, and may wait for them.
    return not text[:1].isalnum() and _BLANK.fullmatch(text) is not None


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
        if words and words[first].start <= start < end <= words[first].end:
            totals[first] += score
            continue
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


def _cut_stops(piece: Span, text: str) -> Iterator[Span]:
    """The piece, cut around every stop that stands where a space is missing."""
    word = text[slice(*piece)]
    start = piece.start
    if not _IS_HOST.fullmatch(word):
        parts = _STOP.split(word)
        for before, stop, after in zip(parts, _STOP.finditer(word), parts[1:], strict=False):
            if before and after and not _is_one_word(before, stop[0][0], after):
                begin, end = piece.start + stop.start(), piece.start + stop.end()
                yield from (Span(start, begin), Span(begin, end))
                start = end
    yield Span(start, piece.end)


def _is_one_word(before: str, stop: str, after: str) -> bool:
    """Whether the parts beside a stop are digits, or letters of an initialism: one, or two as in the `Ph` of `Ph.D`."""
    if before[-1].isdigit() or after[0].isdigit():
        return True
    shorter, longer = sorted((before, after), key=len)
    return stop in ".\uff0e" and len(shorter) == 1 and (len(longer) == 1 or (len(longer) == 2 and longer.istitle()))
