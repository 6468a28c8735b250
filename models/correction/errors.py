"""How likely it is that a word comes out as another by one typing error: the channel of a noisy-channel corrector.

After Kernighan, Church and Gale (COLING 1990, section 2), who count errors letter by letter in a corpus of corrections.
Here one constant stands for each kind of error, so that no such corpus is needed. Their order is that of the slips of
fingers, with vowels that sound alike; their sizes are guesses, on which little hangs.
"""

import string
from collections.abc import Iterator, Mapping
from typing import Literal

ErrorKind = Literal["swapped", "neighbour", "doubled", "once", "dropped", "beside", "put in", "vowel", "exchanged"]
"""The kind of an error: two letters changed places, or one became one beside it on the keyboard, was typed twice, or
once in place of twice, was left out, was put in beside one of its neighbours on the keyboard or elsewhere, or became
another vowel or any other letter."""

CHANCES: Mapping[ErrorKind, float] = {
    "swapped": 1e-3,
    "neighbour": 1e-3,
    "doubled": 1e-3,
    "once": 1e-3,
    "dropped": 5e-4,
    "beside": 3e-4,
    "vowel": 2e-4,
    "put in": 1e-4,
    "exchanged": 2e-5,
}
"""The chance of each kind of error in a word."""

SOUND_ALIKE: frozenset[ErrorKind] = frozenset({"swapped", "once", "vowel"})
"""Errors that are mostly no slips of fingers, but words written as they sound: `recieve`, `embarassing`, `seperate`."""

SPLIT = 1e-4
"""A space put in. No more, for the words of compounds stand side by side more often than by chance (`key board`)."""

_VOWELS = frozenset("aeiou")
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def neighbours(letter: str) -> tuple[str, ...]:
    """The letters left and right of a letter on an English keyboard, in its case; none for any other sign."""
    low = letter.lower()
    row = next((keys for keys in _KEYBOARD if low in keys), "")
    at = row.find(low)
    near = (row[other] for other in (at - 1, at + 1) if row and 0 <= other < len(row))
    return tuple(key.upper() if letter.isupper() else key for key in near)


_NEIGHBOURS = {letter: frozenset(neighbours(letter)) for letter in string.ascii_lowercase}


def one_error_away(word: str) -> set[str]:
    """All words at Damerau distance 1: a letter dropped, exchanged or put in, or two neighbours swapped."""
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    return {
        *(left + right[1:] for left, right in halves[:-1]),
        *(left + right[1] + right[0] + right[2:] for left, right in halves[:-2]),
        *(left + letter + right[1:] for left, right in halves[:-1] for letter in string.ascii_lowercase),
        *(left + letter + right for left, right in halves for letter in string.ascii_lowercase),
    } - {word}


def likelier_errors(word: str) -> Iterator[str]:
    """The words that a word becomes by any error but the kinds `put in` and `exchanged`; all in small letters.

    Some come more than once, and the word itself may be among them.
    """
    for place, letter in enumerate(word):
        left, right = word[:place], word[place + 1 :]
        near = _NEIGHBOURS[letter]
        yield left + right
        yield left + right[:1] + letter + right[1:]
        yield from (left + other + right for other in (*near, *(_VOWELS if letter in _VOWELS else ())))
        for other in (letter, *near):
            yield left + other + word[place:]
            yield left + letter + other + right


def error_chance(meant: str, typed: str) -> float:
    """The chance that a word was typed for one at Damerau distance 1; both in small letters a to z."""
    return CHANCES[error_kind(meant, typed)]


def error_kind(meant: str, typed: str) -> ErrorKind:
    """The kind of the one error by which a word was typed for another; both in small letters a to z."""
    same = min(len(meant), len(typed))
    place = next((at for at in range(same) if meant[at] != typed[at]), same)
    if len(typed) < len(meant):
        return "once" if meant[place] in meant[max(place - 1, 0) : place] + meant[place + 1 : place + 2] else "dropped"
    if len(typed) > len(meant):
        beside = typed[max(place - 1, 0) : place] + typed[place + 1 : place + 2]
        if typed[place] in beside:
            return "doubled"
        return "put in" if _NEIGHBOURS[typed[place]].isdisjoint(beside) else "beside"
    if meant[place + 1 :] != typed[place + 1 :]:
        return "swapped"
    if typed[place] in _NEIGHBOURS[meant[place]]:
        return "neighbour"
    return "vowel" if {meant[place], typed[place]} <= _VOWELS else "exchanged"
