"""Noise that people read past: small changes of a text that leave the right answer as it was.

Each function takes a text and a random stream. It returns the text unchanged where there is nothing to change.
"""

import itertools
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from models.correction.errors import neighbours
from models.edits.typos import double, drop, press, swap
from models.synonyms.triples import REFINED, TripleMaker, make_triples
from models.synonyms.wordnet import default_folder
from models.tasks.robustness import NoiseName

Perturbation = Callable[[str, random.Random], str]

TYPO_SHARE = 0.2
"""Share of the words of four letters and more that are misspelt; at least one is."""

SWAP_SHARE = 0.1
"""Number of swaps as a share of the words; each swap moves two words. At least one is made."""

SYNONYM_SHARE = 0.2
"""Largest share of words that are replaced by synonyms; at least one word is, if any has a synonym."""

_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def make_typos(text: str, draw: random.Random) -> str:
    """Misspell words of four letters and more: a neighbouring key, two letters swapped, one dropped or one doubled.

    People can still read such words: their first and last letters stay (Pruthi et al., ACL 2019, section 3). The number
    of words and the signs between them stay too.
    """
    words = list(_LONG_WORD.finditer(text))
    if not words:
        return text
    chosen = draw.sample(words, max(1, round(TYPO_SHARE * len(words))))
    for word in sorted(chosen, key=re.Match.start, reverse=True):
        text = text[: word.start()] + _misspell(word[0], draw) + text[word.end() :]
    return text


def swap_words(text: str, draw: random.Random) -> str:
    """Swap neighbouring words that have only white space between them; no word moves twice."""
    words = list(_WORD.finditer(text))
    pairs = [
        (left, right)
        for left, right in itertools.pairwise(words)
        if text[left.end() : right.start()].isspace() and left[0] != right[0]
    ]
    draw.shuffle(pairs)
    moved: dict[int, tuple[re.Match[str], re.Match[str]]] = {}
    taken: set[int] = set()
    for left, right in pairs:
        if len(moved) == max(1, round(SWAP_SHARE * len(words))):
            break
        if taken.isdisjoint((left.start(), right.start())):
            moved[left.start()] = (left, right)
            taken |= {left.start(), right.start()}
    for start in sorted(moved, reverse=True):
        left, right = moved[start]
        swapped = right[0] + text[left.end() : right.start()] + left[0]
        text = text[:start] + swapped + text[right.end() :]
    return text


def replace_synonyms(text: str, draw: random.Random) -> str:
    """Replace nouns, verbs, adjectives and adverbs by synonyms from WordNet, in the word's own inflection.

    The synonym may belong to any sense of the word, so the text can lose its meaning, which accounts for part of the
    metric's drop (compare Ren et al., ACL 2019, who choose words by attacking a model).

    Raises:
        WordNetError: WordNet is not installed here.
    """
    return _word_changer(default_folder()).substitute(text, "synonym", SYNONYM_SHARE, draw)


@cache
def _word_changer(folder: Path) -> TripleMaker:
    return make_triples(folder, REFINED)


def _misspell(word: str, draw: random.Random) -> str:
    change = draw.choice((_press_neighbour, _swap_letters, _drop_letter, _double_letter))
    changed = change(word, draw.randrange(1, len(word) - 1), draw)
    # Swapping equal letters, or pressing beside a letter that has no key, leaves the word as it is.
    return _double_letter(word, draw.randrange(1, len(word) - 1), draw) if changed == word else changed


def _press_neighbour(word: str, place: int, draw: random.Random) -> str:
    near = neighbours(word[place])
    return press(word, place, draw.choice(near)) if near else word


def _swap_letters(word: str, place: int, draw: random.Random) -> str:
    del draw
    return swap(word, min(place, len(word) - 3))


def _drop_letter(word: str, place: int, draw: random.Random) -> str:
    del draw
    return drop(word, place)


def _double_letter(word: str, place: int, draw: random.Random) -> str:
    del draw
    return double(word, place)


PERTURBATIONS: dict[NoiseName, Perturbation] = {
    "typos": make_typos,
    "word swaps": swap_words,
    "synonyms": replace_synonyms,
}
