"""How likely it is that a word comes out as another by one typing error: the channel of a noisy-channel corrector.

After Kernighan, Church and Gale (COLING 1990, section 2), who count errors letter by letter in a corpus of corrections.
Here one constant stands for each kind of error, so that no such corpus is needed. Their order is that of the slips of
fingers, with vowels that sound alike; their sizes are guesses, on which little hangs.
"""

import string

SWAPPED = 1e-3
"""Two letters that changed places."""
NEIGHBOUR = 1e-3
"""A letter that became one beside it on the keyboard."""
DOUBLED = 1e-3
"""A letter that was typed twice."""
DROPPED = 5e-4
"""A letter that was left out."""
BESIDE = 3e-4
"""A letter put in that is beside one of its neighbours on the keyboard."""
PUT_IN = 1e-4
"""Any other letter put in."""
VOWEL = 2e-4
"""A vowel that became another: mostly no slip of a finger, but a word that sounds alike (`seperate`)."""
EXCHANGED = 2e-5
"""Any other letter that became one far from it on the keyboard."""
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


def error_chance(meant: str, typed: str) -> float:
    """The chance that a word was typed for one at Damerau distance 1; both in small letters a to z."""
    place = next((at for at, pair in enumerate(zip(meant, typed, strict=False)) if pair[0] != pair[1]), len(meant))
    if len(typed) < len(meant):
        return DROPPED
    if len(typed) > len(meant):
        beside = typed[max(place - 1, 0) : place] + typed[place + 1 : place + 2]
        if typed[place] in beside:
            return DOUBLED
        return PUT_IN if _NEIGHBOURS[typed[place]].isdisjoint(beside) else BESIDE
    if meant[place + 1 :] != typed[place + 1 :]:
        return SWAPPED
    if typed[place] in _NEIGHBOURS[meant[place]]:
        return NEIGHBOUR
    return VOWEL if {meant[place], typed[place]} <= _VOWELS else EXCHANGED
