"""Noise that people read past: small changes of a text that leave the right answer what it was.

Each takes a text and a random stream, and gives the text back as it is where there is nothing to change.
"""

import itertools
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from models.synonyms.triples import REFINED, TripleMaker, make_triples
from models.synonyms.wordnet import default_folder
from models.tasks.robustness import NoiseName

Perturbation = Callable[[str, random.Random], str]

TYPO_SHARE = 0.2
"""Share of the words of four letters and more that are misspelt; at least one is."""

SWAP_SHARE = 0.1
"""Swaps a word of the text; each moves two words. At least one is made."""

SYNONYM_SHARE = 0.2
"""Most words that are replaced by synonyms; at least one is, if any has one."""

_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def make_typos(text: str, draw: random.Random) -> str:
    """A neighbouring key, two letters swapped, one dropped or one doubled, in words of four letters and more.

    A word's first and last letter stay, as do the words' number and all between them: such words people still read
    (Pruthi et al., ACL 2019, section 3).
    """
    words = list(_LONG_WORD.finditer(text))
    if not words:
        return text
    chosen = draw.sample(words, max(1, round(TYPO_SHARE * len(words))))
    for word in sorted(chosen, key=re.Match.start, reverse=True):
        text = text[: word.start()] + _misspell(word[0], draw) + text[word.end() :]
    return text


def swap_words(text: str, draw: random.Random) -> str:
    """Neighbouring words that only white space parts change places; no word moves twice."""
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
    """Nouns, verbs, adjectives and adverbs in place of which WordNet has others, in the word's own inflection.

    Of any of a word's senses: some readings are lost, so a drop here is partly the noise's own (compare Ren et al., ACL
    2019, who choose words by attacking a model).

    Raises:
        WordNetError: no WordNet is there.
    """
    return _word_changer(default_folder()).substitute(text, "synonym", SYNONYM_SHARE, draw)


@cache
def _word_changer(folder: Path) -> TripleMaker:
    return make_triples(folder, REFINED)


def _misspell(word: str, draw: random.Random) -> str:
    change = draw.choice((_press_neighbour, _swap_letters, _drop_letter, _double_letter))
    changed = change(word, draw.randrange(1, len(word) - 1), draw)
    # Equal letters swapped, and letters that are on no key, leave the word as it is.
    return _double_letter(word, draw.randrange(1, len(word) - 1), draw) if changed == word else changed


def _press_neighbour(word: str, place: int, draw: random.Random) -> str:
    letter = word[place].lower()
    row = next((keys for keys in _KEYBOARD if letter in keys), "")
    at = row.find(letter)
    near = [row[other] for other in (at - 1, at + 1) if row and 0 <= other < len(row)]
    if not near:
        return word
    pressed = draw.choice(near)
    return word[:place] + (pressed.upper() if word[place].isupper() else pressed) + word[place + 1 :]


def _swap_letters(word: str, place: int, draw: random.Random) -> str:
    del draw
    place = min(place, len(word) - 3)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _drop_letter(word: str, place: int, draw: random.Random) -> str:
    del draw
    return word[:place] + word[place + 1 :]


def _double_letter(word: str, place: int, draw: random.Random) -> str:
    del draw
    return word[: place + 1] + word[place:]


PERTURBATIONS: dict[NoiseName, Perturbation] = {
    "typos": make_typos,
    "word swaps": swap_words,
    "synonyms": replace_synonyms,
}
