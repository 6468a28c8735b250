"""A text as it is read in place of the one that was written, with the way back from its offsets.

Answers speak of the text that was written, whatever was changed before it was read.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from models.words import Span


class Change(NamedTuple):
    """A piece of the written text that is read as something else, or not at all."""

    span: Span
    """Its place in the written text; never empty."""
    to: str


@dataclass(frozen=True)
class Rewriting:
    """A text as it is read, and the changes that made it of the written text, in order and without overlap."""

    text: str
    changes: tuple[Change, ...] = ()

    @cached_property
    def places(self) -> tuple[Span, ...]:
        """The place of each change in the text that is read; empty where something was dropped."""
        places = []
        shift = 0
        for span, to in self.changes:
            start = span.start + shift
            places.append(Span(start, start + len(to)))
            shift += len(to) - (span.end - span.start)
        return tuple(places)

    @cached_property
    def _starts(self) -> list[int]:
        return [place.start for place in self.places]

    def written(self, span: Span) -> Span:
        """The place in the written text of a span of the text that is read.

        A span that holds part of a change stands for all of it. What was dropped at its ends is no part of it.
        """
        start = self._written(span.start, bisect.bisect_right(self._starts, span.start) - 1, is_end=False)
        end = self._written(span.end, bisect.bisect_left(self._starts, span.end) - 1, is_end=True)
        return Span(start, max(start, end))

    def _written(self, position: int, change: int, *, is_end: bool) -> int:
        """The written position for one that is read; `change` is the last that begins before it, -1 for none."""
        if change < 0:
            return position
        place, (span, _) = self.places[change], self.changes[change]
        if position < place.end:
            return span.end if is_end else span.start
        return position - place.end + span.end


def rewrite(text: str, changes: Iterable[Change]) -> Rewriting:
    """The text with changes made in it; those that change nothing are left out."""
    kept = tuple(change for change in changes if text[slice(*change.span)] != change.to)
    return Rewriting(_apply(text, kept), kept) if kept else Rewriting(text)


def rewrite_again(written: str, first: Rewriting, changes: Iterable[Change]) -> Rewriting:
    """`first`, a rewriting of `written`, followed by changes of the text that it reads.

    Changes that overlap become one.
    """
    second = rewrite(first.text, changes)
    if not second.changes:
        return first
    if not first.changes:
        return second
    marks: list[tuple[Span, int, Change]] = [
        *((place, 0, change) for place, change in zip(first.places, first.changes, strict=True)),
        *((change.span, 1, change) for change in second.changes),
    ]
    joined = []
    for group in _overlapping(sorted(marks)):
        later = [change for _, is_later, change in group if is_later]
        if not later:
            joined.append(group[0][2])
            continue
        span = Span(min(place.start for place, _, _ in group), max(place.end for place, _, _ in group))
        inner = [Change(Span(one.start - span.start, one.end - span.start), to) for one, to in later]
        joined.append(Change(first.written(span), _apply(first.text[slice(*span)], inner)))
    return rewrite(written, joined)


def _overlapping(marks: Sequence[tuple[Span, int, Change]]) -> Iterator[list[tuple[Span, int, Change]]]:
    """Groups of marks that share characters; marks are sorted by their first."""
    group: list[tuple[Span, int, Change]] = []
    end = 0
    for mark in marks:
        if group and mark[0].start >= end:
            yield group
            group = []
        group.append(mark)
        end = max(end, mark[0].end)
    if group:
        yield group


def _apply(text: str, changes: Sequence[Change]) -> str:
    pieces, done = [], 0
    for span, to in changes:
        pieces += [text[done : span.start], to]
        done = span.end
    return "".join([*pieces, text[done:]])
