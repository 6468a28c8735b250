"""Cuts the texts of an item at the words that an explanation scores and at the answer, for all that show explanations.

A terminal, a page and a notebook mark the same pieces, each in its own way.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import shorten
from models.tasks.task import Item
from models.words import Span
from service.answers.explanation import ExplainedUnit, Explanation

WEAK = 0.25
"""From this share of the largest absolute score on, a word is marked where there is no colour."""
STRONG = 0.6
"""From this share on it is marked twice."""

LONGEST_NAMED = 40
"""Most characters of a word or an answer that is named in a line."""

MOST_NAMED = 12
"""Most corrections of an item that are named in a line."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a text that looks the same throughout; the pieces of a text, joined, are the text."""

    text: str
    word: ExplainedUnit | None = None
    """The word that the piece is, or is a part of."""
    strength: float = 0.0
    """The word's absolute score over the largest of the explanation, from 0 to 1."""
    starts: bool = False
    """Whether it is the first piece of its word."""
    ends: bool = False
    """Whether it is the last."""
    is_answer: bool = False
    """Whether it belongs to what the model found in this text: an entity, or a span that answers a question."""

    @property
    def grade(self) -> int:
        """How often the word is marked where there is no colour: 0, 1, or 2 times."""
        return (self.strength >= WEAK) + (self.strength >= STRONG)

    @property
    def is_against(self) -> bool:
        """Whether the word speaks against the answer."""
        return self.word is not None and self.word.score < 0


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """An answer, or one of its parts where each is explained on its own, with the explanation."""

    headline: str
    explanation: Explanation | None
    places: Sequence[tuple[str, Span]]
    """The fields and spans in which the model found it, in code points."""
    explains_other: bool = False
    """Whether another answer is explained than the one given."""


def texts_of(item: Item) -> dict[str, str]:
    """The item's texts by the names that explanations call them, such as `choices/0`, in reading order."""
    texts: dict[str, str] = {}
    for field, value in item:
        if isinstance(value, tuple):
            texts |= {f"{field}/{number}": text for number, text in enumerate(value)}
        elif field != "id" and value is not None:
            texts[field] = value
    return texts


def name_corrections(item: Item, result: Any) -> str:
    """The pieces of an item that were read otherwise than they are written, as people are told; empty without any.

    Equal ones are named once. The offsets of the result must count code points.
    """
    texts = texts_of(item)
    pieces = [(texts[one.field][one.start : one.end], one.to) for one in result.corrections]
    named = [f"{_quoted(written, to)} as {_quoted(to)}" for written, to in dict.fromkeys(pieces)]
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return ", ".join([*named[:MOST_NAMED], *more])


def _quoted(piece: str, to: str | None = None) -> str:
    """A short piece of a text in quotes, with the code points of signs that nobody sees.

    Letters that are not in `to`, what they are read as, may be look-alikes, and have theirs too.
    """
    if not piece:
        return "nothing"
    shown = (
        f"<U+{ord(sign):04X}>"
        if not sign.isprintable()
        else f"{sign}<U+{ord(sign):04X}>"
        if to is not None and not sign.isascii() and sign not in to
        else sign
        for sign in piece
    )
    return f'"{shorten("".join(shown), LONGEST_NAMED)}"'


def views_of(result: Any) -> list[AnswerView]:
    """The views that show a result of the contract, whose offsets must count code points.

    A view for each explained part, or a single view whose headline has a line for each part.
    """
    headlines, places, names = result.headlines(), result.places(), result.part_names()
    given = result.explanation
    if isinstance(given, tuple) and len(given) == len(names) > 0:
        found = [[place] for place in places] or [[]] * len(names)
        return [
            AnswerView(headline=headline, explanation=one, explains_other=one.target != name, places=own)
            for headline, one, name, own in zip(headlines, given, names, found, strict=True)
        ]
    # One explanation of a whole answer, or of one label that was asked for in place of several, or of none.
    alone = given[0] if isinstance(given, tuple) and given else given or None
    is_other = isinstance(alone, Explanation) and alone.target not in names and (bool(names) or alone is not given)
    return [AnswerView(headline="\n".join(headlines), explanation=alone, explains_other=is_other, places=places)]


def is_signed(explanation: Explanation) -> bool:
    """Whether scores speak for or against the answer; else they are shares of 1."""
    return explanation.rest is not None


def name_explained(views: Sequence[AnswerView]) -> str:
    """The words for that which the scores of all these views speak for: the answer, or the one explained instead."""
    explained = [view for view in views if view.explanation]
    if not any(view.explains_other for view in explained):
        return "the answer"
    targets = {view.explanation.target for view in explained if view.explanation}
    return shorten(targets.pop(), LONGEST_NAMED) if len(targets) == 1 else "the answer that is explained"


def is_same_for_all_answers(item: Item, view: AnswerView) -> bool:
    """Whether another label or kind is explained with scores that do not depend on it.

    The scores of a choice do depend on it, because the model reads each choice by itself.
    """
    explanation = view.explanation
    if explanation is None or is_signed(explanation):
        return False
    return view.explains_other and explanation.target not in texts_of(item).values()


def cut(field: str, text: str, view: AnswerView) -> list[Piece]:
    """The pieces of a field's text, in order; none of them is empty."""
    words = [word for word in view.explanation.items if word.field == field] if view.explanation else []
    strongest = max((abs(word.score) for word in view.explanation.items), default=0.0) if view.explanation else 0.0
    places = [span for name, span in view.places if name == field]
    edges = sorted(
        {
            0,
            len(text),
            *(edge for word in words for edge in (word.start, word.end)),
            *(e for span in places for e in span),
        }
    )
    pieces, upcoming = [], iter(words)
    word = next(upcoming, None)
    for start, end in itertools.pairwise(edges):
        while word is not None and word.end <= start:
            word = next(upcoming, None)
        inside = word if word is not None and word.start <= start else None
        pieces.append(
            Piece(
                text=text[start:end],
                word=inside,
                strength=abs(inside.score) / strongest if inside and strongest else 0.0,
                starts=inside is not None and inside.start == start,
                ends=inside is not None and inside.end == end,
                is_answer=any(span.start <= start and end <= span.end for span in places),
            )
        )
    return pieces
