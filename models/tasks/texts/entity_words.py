"""Splitting a raw text into the words that named entities are made of, near to the tokens of annotated data.

They are the words of `models.words.split_words`, joined where annotators leave one token:

- an address: `https://example.org/a?b=c`, `me@example.org`, `example.org/a`;
- words with one hyphen between them: `Coca-Cola`, `state-of-the-art`;
- numbers with a sign between them: `9/11`, `12:30`, `1996\u201397`;
- words of one or two letters with `&` or `/` between them: `AT&T`, `AC/DC`, `w/o`;
- a name or topic with its sign: `@user`, `#topic`;
- an initialism, or an initial before a name, with its last full stop: `U.S.`, `George W. Bush`.

Any other sign parts words, with white space around it or without (`Paris/Rome`, `London--Paris`, `Swift?then`), and a
final `'s` stands alone.
"""

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import regex

from models.words import HOST, Span, is_initialism, split_words

# Each alternative begins only where its characters begin, so that a long text is read once.
_ADDRESS = regex.compile(
    r'(?<!\w)(?:\w++://|www\.)[^\s\p{C}<>"]+'
    r"|(?<![\w.+-])[\w.+-]++@[\p{L}\p{N}-]++(?:\.[\p{L}\p{N}-]++)+"
    rf'|(?<![\p{{L}}\p{{N}}.-]){HOST}(?:[/?#:][^\s\p{{C}}<>"]*)?',
    regex.IGNORECASE,
)
_AFTER_ADDRESS = ".,:;!?'\"()[]{}\u2019\u201d"
"""Signs that belong to the sentence, not to the address before them."""

_HYPHENS = frozenset("-\u2010\u2011")
_BETWEEN_NUMBERS = frozenset("/:=+\u2013")
_BETWEEN_SHORT = frozenset("&/")
_LONGEST_SHORT = 2
"""Most letters of a word that `&` or `/` joins to another; longer words are often names of their own."""
_PREFIXES = frozenset("@#")
_POSSESSIVES = ("'s", "\u2019s", "'S", "\u2019S")
_BEFORE_NAME = regex.compile(r"\s?\p{Lu}")


def split_for_tagging(text: str) -> tuple[Span, ...]:
    """The words of a raw text, in order and without overlap. Between them is only white space or invisible signs."""
    pieces = _read_pieces(text)
    return tuple(part for word in _join(pieces, text) for part in _cut_possessive(word, text))


class _Piece(NamedTuple):
    """A word of `split_words`, or an address."""

    span: Span
    text: str
    is_address: bool = False

    @property
    def is_word(self) -> bool:
        # Any character, not the first alone: `_me` is a word.
        return any(map(str.isalnum, self.text))


def _read_pieces(text: str) -> list[_Piece]:
    """The words of `split_words`, those of an address as one piece."""
    words = split_words(text)
    starts = [word.start for word in words]
    pieces: list[_Piece] = []
    done = 0
    for match in _ADDRESS.finditer(text):
        end = match.start() + len(match[0].rstrip(_AFTER_ADDRESS))
        first = max(bisect.bisect_right(starts, match.start()) - 1, done)
        last = bisect.bisect_left(starts, end)
        if first < last:
            pieces += (_Piece(word, text[slice(*word)]) for word in words[done:first])
            span = Span(words[first].start, words[last - 1].end)
            pieces.append(_Piece(span, text[slice(*span)], is_address=True))
            done = last
    return [*pieces, *(_Piece(word, text[slice(*word)]) for word in words[done:])]


def _join(pieces: Sequence[_Piece], text: str) -> Iterator[Span]:
    """The words, each of as many pieces as it takes."""
    place = 0
    while place < len(pieces):
        first = place
        if pieces[place].text in _PREFIXES and _touches(pieces, place) and pieces[place + 1].is_word:
            place += 1
        if pieces[place].is_word and not pieces[place].is_address:
            place = _last_of_word(pieces, place, text)
        yield Span(pieces[first].span.start, pieces[place].span.end)
        place += 1


def _last_of_word(pieces: Sequence[_Piece], place: int, text: str) -> int:
    """The place of the last piece of the word that goes on at `place`."""
    while True:
        word = pieces[place].text
        if _touches(pieces, place) and _takes_stop(pieces, place, text):
            place += 1
        if not (_touches(pieces, place) and _touches(pieces, place + 1)):
            return place
        sign, other = pieces[place + 1].text, pieces[place + 2]
        if not other.is_word or other.is_address or not _are_joined(word, sign, other.text):
            return place
        place += 2


def _touches(pieces: Sequence[_Piece], place: int) -> bool:
    """Whether the next piece follows without a gap."""
    return place + 1 < len(pieces) and pieces[place].span.end == pieces[place + 1].span.start


def _takes_stop(pieces: Sequence[_Piece], place: int, text: str) -> bool:
    """Whether the next piece is the full stop of an initialism, or of an initial before a name; not one of several."""
    word, stop = pieces[place].text, pieces[place + 1]
    if stop.text != "." or text.startswith(".", stop.span.end):
        return False
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return is_initialism(word) or (is_initial and _BEFORE_NAME.match(text, stop.span.end) is not None)


def _are_joined(word: str, sign: str, other: str) -> bool:
    """Whether a sign between two words, without white space, makes one word of them."""
    if sign in _HYPHENS:
        return True
    if word[-1].isdigit() and other[0].isdigit():
        return sign in _BETWEEN_NUMBERS
    lengths = (len(word), len(other.removesuffix(_possessive(other))))
    return sign in _BETWEEN_SHORT and max(lengths) <= _LONGEST_SHORT


def _possessive(word: str) -> str:
    """The `'s` at the end of a word, or nothing."""
    return word[-2:] if len(word) > 2 and word[-2:] in _POSSESSIVES else ""


def _cut_possessive(word: Span, text: str) -> Iterator[Span]:
    end = word.end - len(_possessive(text[slice(*word)]))
    yield Span(word.start, end)
    if end < word.end:
        yield Span(end, word.end)
