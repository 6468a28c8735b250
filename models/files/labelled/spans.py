"""Entities that stand as spans in a text, made into words with tags.

Words are those of a raw text that is answered. A span begins and ends with a word: white space at its ends is no part
of it, and signs that belong to its first or last word are. A word with a hyphen or another sign in it is cut where a
span ends at the sign. A span that ends inside of a word else cannot be kept.
"""

import bisect
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from models.entity_tags import OUTSIDE
from models.tasks.task import parse_list
from models.tasks.texts.entity_words import split_for_tagging
from models.words import Span, split_words, trim


class EntitySpan(NamedTuple):
    """Characters of a text that name something."""

    start: int
    end: int
    kind: str
    quoted: str | None = None
    """The text of the span, where the export quotes it."""

    def __str__(self) -> str:
        return f"{self.start}:{self.end}"


def are_spans(value: Any) -> bool:
    """Whether a value is a list of spans, of which at least the first is written as any tool writes them."""
    value = parse_list(value)
    return isinstance(value, list | tuple) and bool(value) and _parts(value[0]) is not None


def read_spans(value: Any) -> list[EntitySpan]:
    """Read a list of spans as tools write them; in csv the list is JSON.

    A span is `[start, end, kind]`, or an object with `start` and `end`, or `start_offset` and `end_offset`, and `label`
    or `labels`.

    Raises:
        ValueError: it is no such list.
    """
    value = parse_list(value)
    if not isinstance(value, list | tuple):
        # Not a TypeError: the value comes from a file.
        raise ValueError(f"spans are a list such as [[0, 5, 'person']], not {value!r:.80}")  # noqa: TRY004
    return [_read_span(one) for one in value]


def tag_words(text: str, spans: Sequence[EntitySpan]) -> tuple[list[str], list[str]]:
    """The words of a text, and a tag in BIO for each.

    Raises:
        ValueError: a span lies outside of the text, overlaps another, or cannot be kept with whole words.
    """
    words = split_for_tagging(text)
    bounds = frozenset(edge for word in split_words(text) for edge in word)
    placed = [_fit(text, words, bounds, span) for span in sorted(dict.fromkeys(_place(text, one) for one in spans))]
    for before, span in pairwise(placed):
        if span.start < before.end:
            raise ValueError(f"the spans {before} and {span} overlap")
    cuts = sorted({edge for span in placed for edge in (span.start, span.end)})
    pieces = [piece for word in words for piece in _cut(word, cuts)]
    starts = [piece.start for piece in pieces]
    tags = [OUTSIDE] * len(pieces)
    for span in placed:
        first, last = bisect.bisect_left(starts, span.start), bisect.bisect_left(starts, span.end)
        if first == last:
            raise ValueError(f"the span {span} holds no word")
        tags[first:last] = [f"B-{span.kind}", *[f"I-{span.kind}"] * (last - first - 1)]
    return [text[slice(*piece)] for piece in pieces], tags


def _parts(span: Any) -> tuple[Any, Any, Any, Any] | None:
    """Start, end, kind and quoted text of a span as a tool writes it; None for anything else."""
    if isinstance(span, Mapping):
        label = span.get("label", span.get("labels"))
        if isinstance(label, list | tuple) and len(label) == 1:
            label = label[0]
        for start, end in (("start", "end"), ("start_offset", "end_offset")):
            if start in span and end in span and label is not None:
                return span[start], span[end], label, span.get("text")
        return None
    is_triple = isinstance(span, list | tuple) and len(span) >= 3 and isinstance(span[2], str)
    return (span[0], span[1], span[2], None) if is_triple else None


def _read_span(value: Any) -> EntitySpan:
    parts = _parts(value)
    if parts is None:
        raise ValueError(f"a span is [start, end, kind] or an object with these, not {value!r:.80}")
    start, end, kind, quoted = parts
    if any(isinstance(one, bool) or not isinstance(one, int) for one in (start, end)):
        raise ValueError(f"a span has whole numbers for its start and end, unlike {value!r:.80}")
    if not isinstance(kind, str) or not kind.strip():
        raise ValueError(f"a span has one kind, unlike {value!r:.80}")
    return EntitySpan(start, end, kind.strip(), quoted if isinstance(quoted, str) else None)


def _place(text: str, span: EntitySpan) -> EntitySpan:
    """The span in code points, without white space at its ends; browsers count some characters as two."""
    start, end, kind, quoted = span
    if not 0 <= start < end:
        raise ValueError(f"the span {span} does not begin before it ends")
    if quoted is not None and not _is_alike(text[start:end], quoted):
        units = text.encode("utf-16-le")
        before, inside = (units[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
        if not _is_alike(inside, quoted):
            raise ValueError(f"the span {span} holds {text[start:end]!r:.60}, where the export has {quoted!r:.60}")
        start, end = len(before), len(before) + len(inside)
    if end > len(text):
        raise ValueError(f"the span {span} ends behind the text, which has {len(text)} characters")
    start, end = trim(Span(start, end), text)
    if start >= end:
        raise ValueError(f"the span {span} holds nothing but white space")
    return EntitySpan(start, end, kind)


def _is_alike(one: str, other: str) -> bool:
    """Whether two texts are the same but for white space; some exports write a new line as two signs."""
    return "".join(one.split()) == "".join(other.replace("\\n", " ").split())


def _fit(text: str, words: Sequence[Span], bounds: Collection[int], span: EntitySpan) -> EntitySpan:
    """The span from the start of a word to the end of one, or to a sign in a word, where the word is to be cut."""
    start, end = span.start, span.end
    for edge in (span.start, span.end):
        place = bisect.bisect_left(words, edge, key=lambda word: word.start) - 1
        if place < 0 or edge >= words[place].end:
            continue
        word = words[place]
        outside = text[word.start : edge] if edge == span.start else text[edge : word.end]
        if not any(map(str.isalnum, outside)):
            start, end = (word.start, end) if edge == span.start else (start, word.end)
        elif edge not in bounds:
            held = text[span.start : span.end]
            raise ValueError(f"the span {span} ({held!r:.60}) ends inside of a word, {text[slice(*word)]!r:.60}")
    return EntitySpan(start, end, span.kind)


def _cut(word: Span, cuts: Sequence[int]) -> Iterator[Span]:
    inner = cuts[bisect.bisect_right(cuts, word.start) : bisect.bisect_left(cuts, word.end)]
    return (Span(*ends) for ends in pairwise((word.start, *inner, word.end)))
