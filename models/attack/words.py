"""The words of an item that an attack may change, and what each may become."""

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.attack.settings import Barred
from models.edits.family import Family, replace_all
from models.edits.synonyms import FUNCTION_WORDS
from models.words import Span

_SENTENCE_START = re.compile(r"(?:\A|[.!?:\n])[\s\"'“‘(]*\Z")


@dataclass(frozen=True, order=True)
class Place:
    """A word of one field of an item, as it was."""

    field: str
    span: Span


@dataclass(frozen=True, order=True)
class Edit:
    """A word and what takes its place."""

    place: Place
    word: str


Edits = tuple[Edit, ...]
"""Edits of different words of one item."""


def find_places(
    texts: Mapping[str, str],
    family: Family,
    kept: Collection[tuple[str, Span]],
    barred: Collection[Barred],
    others: Mapping[str, str],
) -> list[Place]:
    """The words of the family that are of no barred kind, in reading order.

    `kept` are stretches of fields of which nothing changes; `others` holds, by field, all other texts of its item.
    """
    places = [Place(field, span) for field, text in texts.items() for span in family.spans(text)]
    return [
        place
        for place in places
        if not any(place.field == field and _overlap(place.span, span) for field, span in kept)
        and not any(kind in barred for kind in _kinds(texts[place.field], place.span))
        and not (family.keeps_shared and _has_word(others[place.field], texts[place.field][slice(*place.span)]))
    ]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?i)\b{re.escape(word)}\b", text) is not None


def _kinds(text: str, span: Span) -> Iterator[Barred]:
    """The kinds that may be barred and that a word belongs to."""
    word = text[slice(*span)]
    if word.lower() in FUNCTION_WORDS:
        yield "stop-words"
    if any(map(str.isdigit, word)):
        yield "numbers"
    # In a text of capitals, and at the beginning of a sentence, a capital says nothing.
    if word[:1].isupper() and not text.isupper() and not _SENTENCE_START.search(text, 0, span.start):
        yield "names"


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def candidates(text: str, span: Span, family: Family, most: int | None, key: str) -> Sequence[str]:
    """The words that may take its place, sorted: all of the family's, or at most so many, drawn by `key`."""
    every = family.candidates(text, span)
    if most is None or len(every) <= most:
        return every
    draw = random.Random(f"{key}/{span.start}/{text}")
    drawn = {family.draw(text, span, draw) for _ in range(most)}
    return sorted(word for word in drawn if word is not None)


def apply(texts: Mapping[str, str], edits: Edits) -> dict[str, str]:
    """The texts with every edit made."""
    return {
        field: replace_all(text, [(edit.place.span, edit.word) for edit in edits if edit.place.field == field])
        for field, text in texts.items()
    }


def move(span: Span, field: str, edits: Edits) -> Span:
    """Where a stretch of a field stands after the edits; a word inside it makes it longer or shorter."""
    before, inside = 0, 0
    for edit in edits:
        if edit.place.field != field:
            continue
        grown = len(edit.word) - (edit.place.span.end - edit.place.span.start)
        if edit.place.span.end <= span.start:
            before += grown
        elif edit.place.span.start < span.end:
            inside += grown
    return Span(span.start + before, span.end + before + inside)
