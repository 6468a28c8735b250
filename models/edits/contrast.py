"""Pairs of texts made from one text: one with a copy that says something else, one with a copy that says the same.

CLINE's semantic negatives (Wang et al., ACL 2021, section 3.1) for tasks that compare two texts, after Zhang et al.
(PAWS, NAACL 2019) and McCoy et al. (HANS, ACL 2019), who show that such models hardly mind the order of words.
Departing from CLINE, words also change places and negations are put in or taken out. The copy that says the same is
mostly the text itself, and now and then a noisy one, so that a changed word does not always tell.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.edits.family import match_case, replace, replace_all
from models.edits.noise import Noise
from models.edits.synonyms import tagger, word_source
from models.synonyms.triples import find_words, split_as_treebanks
from models.synonyms.wordnet import default_folder
from models.words import Span

SWAPPED = 2 / 3
"""Probability that words change places, where some can; else an antonym or a negation is tried first."""

UNCHANGED = 0.8
"""Probability that the copy that says the same is the text itself.

Of the pairs with the same words, more must say the same than change places (`SWAPPED`): else a model that can hardly
tell two orders apart learns that a text contradicts itself.
"""

_AUXILIARY = re.compile(
    r"(?i)\b(?:(?P<whole>is|are|was|were|has|have|had|can|will|would|could|should|does|do|did)"
    r"(?P<not>\s+not\b|n['’]t\b|(?<=can)['’]t\b|\b(?!['’]))|won['’]t\b|cannot\b)"
)
_WITHOUT_NOT = {"won't": "will", "won’t": "will", "cannot": "can"}
_CLASSES = {"NN": "noun", "NNS": "nouns", "NNP": "name", "NNPS": "name", "JJ": "adjective", "CD": "number"}
"""Classes of words that change places, by Penn tag; nouns only with nouns of the same number."""


@dataclass(frozen=True, kw_only=True)
class MadePair:
    """Two texts that were made to say the same, or not to."""

    first: str
    second: str
    is_same: bool


def contrast_pairs(first: str, second: str, draw: random.Random, noise: Noise) -> tuple[MadePair, ...]:
    """Two pairs made from one of the texts of a record: one that differs, and one that says the same.

    Both begin with the text as it is. None are made where neither of the texts can be changed into another meaning.

    Raises:
        UnknownFamily, WordNetError: as `models.edits.find_family` does.
    """
    for text in draw.sample((first, second), 2):
        for change in (swap_words, oppose) if draw.random() < SWAPPED else (oppose, swap_words):
            other = change(text, draw)
            if other is not None:
                same = text if draw.random() < UNCHANGED else noise.copy(text, draw)
                return (
                    MadePair(first=text, second=other, is_same=False),
                    MadePair(first=text, second=same, is_same=True),
                )
    return ()


def swap_words(text: str, draw: random.Random) -> str | None:
    """Two different words of one class exchanged, each in the case of its new place; None where no two can be."""
    groups = [(kind, list(group.values())) for kind, group in _by_class(text).items() if len(group) > 1]
    if not groups:
        return None
    kind, group = draw.choice(groups)
    left, right = sorted(draw.sample(group, 2))
    one, other = text[slice(*left)], text[slice(*right)]
    if kind != "name":
        return replace_all(text, ((left, match_case(_uncapitalize(other), one)), (right, _uncapitalize(one))))
    return replace_all(text, ((left, other), (right, one)))


def oppose(text: str, draw: random.Random) -> str | None:
    """A word exchanged for its antonym, or "not" put in or taken out after an auxiliary; None where neither can be.

    Antonyms are those of the most frequent sense, in the word's inflection. Where there are both, each is as likely.

    Raises:
        WordNetError: WordNet is not installed here.
    """
    antonyms = list(_antonyms(text))
    auxiliaries = list(_AUXILIARY.finditer(text))
    if antonyms and (not auxiliaries or draw.random() < 1 / 2):
        span, names = draw.choice(antonyms)
        return replace(text, span, match_case(draw.choice(names), text[slice(*span)]))
    if not auxiliaries:
        return None
    found = draw.choice(auxiliaries)
    return replace(text, Span(*found.span()), _negate(found))


def _uncapitalize(word: str) -> str:
    """The word without the capital that it has where a sentence begins; abbreviations stay."""
    return word.lower() if word.istitle() else word


def _negate(auxiliary: re.Match[str]) -> str:
    """The auxiliary with the negation that it lacks, or without the one that it has."""
    whole = auxiliary["whole"]
    if whole is None:
        return match_case(_WITHOUT_NOT[auxiliary[0].lower()], auxiliary[0])
    return whole if auxiliary["not"] else f"{whole} not"


def _by_class(text: str) -> dict[str, dict[str, Span]]:
    """For each class of words that change places, the place of each different word."""
    spans = split_as_treebanks(text)
    written = [text[slice(*span)] for span in spans]
    found: dict[str, dict[str, Span]] = defaultdict(dict)
    for number, (span, word, tag) in enumerate(zip(spans, written, tagger().tag(written), strict=True)):
        kind = _CLASSES.get(tag.penn)
        if number and word[0].isupper() and word.isalpha() and kind in ("noun", "adjective"):
            kind = "name"
        if kind and word.isalnum():
            found[kind].setdefault(word.lower(), span)
    return found


def _antonyms(text: str) -> Iterator[tuple[Span, Sequence[str]]]:
    source = word_source(default_folder())
    for span, word in find_words(text, split_as_treebanks(text), tagger(), source).items():
        names = source.candidates(word, "frequent antonym")
        if names:
            yield span, names
