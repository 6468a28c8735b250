"""A family of edits: which words of a text it may change, and into what."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.words import Span

LONGEST = 50
"""Letters of the longest word that is misspelt. Longer runs are no words, and their misspellings would fill memory."""

Candidates = tuple[str, ...]
"""Replacements of one word: sorted, each once, without the word itself."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A finite set of changes of single words that leave the right answer as it was."""

    name: str
    spans: Callable[[str], Sequence[Span]]
    """The words of a text that the family may change, in order and without overlap."""
    candidates: Callable[[str, Span], Candidates]
    """A text and one of its spans -> every replacement, sorted, without the word itself. There may be none."""
    kinds: Callable[[str, Span], Sequence[Candidates]] | None = None
    """The candidates by kind, for a family with many of one kind and few of another: a draw takes a kind first."""
    counts_all_words: bool = False
    """Whether noise takes its share of all words of a text, and not only of those that the family may change."""
    keeps_shared: bool = False
    """Whether an attack leaves a word alone that another text of the item has too, for the two are one."""

    def draw(self, text: str, span: Span, draw: random.Random) -> str | None:
        """One replacement of the word at `span`; None where there is none."""
        kinds = self.kinds(text, span) if self.kinds else (self.candidates(text, span),)
        filled = [kind for kind in kinds if kind]
        return draw.choice(draw.choice(filled)) if filled else None


def replace(text: str, span: Span, word: str) -> str:
    """The text with `word` in place of what stands at `span`."""
    return text[: span.start] + word + text[span.end :]


def replace_all(text: str, words: Iterable[tuple[Span, str]]) -> str:
    """The text with each word in place of what stands at its span; the spans do not overlap."""
    pieces, done = [], 0
    for span, word in sorted(words):
        pieces += [text[done : span.start], word]
        done = span.end
    return "".join([*pieces, text[done:]])


def make_candidates(words: Iterable[str], word: str) -> Candidates:
    """The words sorted and each once, without `word` and without empty ones."""
    return tuple(sorted({*words} - {word, ""}))


def match_case(word: str, like: str) -> str:
    """The word all in capitals if `like` is so and has several letters, or with a capital first if `like` has one."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def fits_article(word: str, text: str, span: Span) -> bool:
    """Whether an `a` or `an` before the span still fits: whether both words begin with a vowel, or neither does."""
    if not _ARTICLE.search(text, max(0, span.start - 4), span.start):
        return True
    return (word[:1].lower() in _VOWELS) == (text[span.start].lower() in _VOWELS)


_ARTICLE = re.compile(r"(?i)\ban?\s+\Z")
_VOWELS = frozenset("aeiou")
