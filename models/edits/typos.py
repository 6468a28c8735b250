"""Typing errors of one letter in words that people still read (Pruthi et al., ACL 2019, section 3).

Inside a word a letter becomes its neighbour on the keyboard, two neighbours change places, or a letter is dropped, put
in or doubled. The first and the last letter stay, except in the family with edges, which also puts in capitals, as
TextAttack's DeepWordBug does: a misspelt word that begins with one is easily taken for a name.
"""

import re
import string
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from models.correction.errors import neighbours
from models.edits.family import LONGEST, Candidates, Family, make_candidates
from models.words import Span

SHORTEST = 4
"""Letters of the shortest word that is misspelt."""

_WORD = re.compile(rf"(?<![^\W_])[A-Za-z]{{{SHORTEST},{LONGEST}}}(?![^\W_])")


def is_long_word(word: str) -> bool:
    """Whether a word is one that is misspelt: ASCII letters alone, and neither too few nor too many."""
    return SHORTEST <= len(word) <= LONGEST and word.isascii() and word.isalpha()


def press(word: str, place: int, key: str) -> str:
    """The word with another letter at `place`."""
    return word[:place] + key + word[place + 1 :]


def swap(word: str, place: int) -> str:
    """The word with the letters at `place` and after it exchanged."""
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def drop(word: str, place: int) -> str:
    """The word without the letter at `place`."""
    return word[:place] + word[place + 1 :]


def double(word: str, place: int) -> str:
    """The word with the letter at `place` twice."""
    return word[: place + 1] + word[place:]


def insert(word: str, place: int, letters: str) -> Iterator[str]:
    """The word with each of the letters put in before `place`."""
    return (word[:place] + letter + word[place:] for letter in letters)


@lru_cache(maxsize=1 << 16)
def inner_typos(word: str) -> tuple[Candidates, ...]:
    """The misspellings of a word between its first and its last letter, by kind, in capitals if the word is."""
    letters = string.ascii_uppercase if word.isupper() else string.ascii_lowercase
    return _misspell(word, range(1, len(word) - 1), neighbours, letters)


@lru_cache(maxsize=1 << 11)
def edge_typos(word: str) -> tuple[Candidates, ...]:
    """The misspellings of a word with letters of either case, by kind; also with a space, and in another case."""
    splits = (word[:place] + " " + word[place:] for place in range(1, len(word)))
    cases = (word.lower(), word.upper(), word.capitalize(), word.swapcase())
    misspelt = _misspell(word, range(len(word)), _neighbours_in_both_cases, string.ascii_letters)
    return (*misspelt, make_candidates(splits, word), make_candidates(cases, word))


def _neighbours_in_both_cases(key: str) -> tuple[str, ...]:
    return neighbours(key) + neighbours(key.swapcase())


def _misspell(word: str, places: range, keys: Callable[[str], Sequence[str]], letters: str) -> tuple[Candidates, ...]:
    """The misspellings of the letters at these places, by kind, with `keys` beside a letter and `letters` put in."""
    # A letter may be put in on both sides of each of these letters.
    gaps = range(places.start, places.stop + 1)
    kinds = (
        (press(word, place, key) for place in places for key in keys(word[place])),
        (swap(word, place) for place in places[:-1]),
        (drop(word, place) for place in places),
        (one for place in gaps for one in insert(word, place, letters)),
        (double(word, place) for place in places),
    )
    return tuple(make_candidates(kind, word) for kind in kinds)


def _family(name: str, misspell: Callable[[str], tuple[Candidates, ...]]) -> Family:
    @lru_cache(maxsize=1 << 14)
    def candidates(word: str) -> Candidates:
        return make_candidates((one for kind in misspell(word) for one in kind), word)

    return Family(
        name=name,
        spans=find_long_words,
        candidates=lambda text, span: candidates(text[slice(*span)]),
        kinds=lambda text, span: misspell(text[slice(*span)]),
    )


def find_long_words(text: str) -> tuple[Span, ...]:
    """The words of four to fifty ASCII letters that stand alone: no other letter or digit touches them."""
    return tuple(Span(*match.span()) for match in _WORD.finditer(text))


TYPOS = _family("typos", inner_typos)
EDGE_TYPOS = _family("typos+edges", edge_typos)
