"""Words replaced by synonyms from WordNet, in their own inflection.

The narrow family takes the two most frequent senses of the word's class in its sentence, and is for attacks and
certificates, whose answers must hold. The wide one takes every sense of every class, as the attacks of Ren et al. (ACL
2019) do, and needs no tagger, so that noise is made fast; it can change the meaning.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from models.edits.family import Candidates, Family, fits_article, make_candidates, match_case
from models.synonyms.tagging import TAGS, LexiconTagger, inflect
from models.synonyms.triples import Word, WordSource, find_words, split_as_treebanks
from models.synonyms.wordnet import WordNet, default_folder
from models.words import Span

_ANY_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_FUNCTION_WORDS = """
    a about above after again against all along although am among an and another any anybody anyone anything
    are as at be because been before being below beneath beside besides between beyond both but by can could
    did do does doing done down during each either else every everybody everyone everything except few for
    from had has have having he hence her here hers herself him himself his how however i if in inside into is
    it its itself just less let like many may me might mine more most much must my myself near of off on once
    one only onto or other others ought our ours ourselves out outside over own per quite rather same shall
    she should since so some somebody someone something still such than that the their theirs them themselves
    then there therefore these they this those though through throughout thus till to too toward towards two
    under unless until up upon us very via was we were what whatever when whenever where whereas wherever
    whether which whichever while who whoever whom whose why will with within would yes yet you your yours
    yourself yourselves
"""
_NEGATIONS = frozenset(
    ("not", "n't", "n’t", "no", "never", "nothing", "nobody", "none", "nor", "neither", "without", "hardly", "scarcely",
     "barely", "cannot", "non")
)  # fmt: skip
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words that hold a sentence together. WordNet has nouns that are spelt like many of them, such as `in` for indium."""

_KEPT = FUNCTION_WORDS | _NEGATIONS


def frequent_synonyms() -> Family:
    """The narrow family. Negations, and words right after one, stay, and no replacement is a negation or an antonym.

    Words that the tagger takes for names stay too, among them most words with a capital at the start of a sentence.

    Raises:
        WordNetError: WordNet is not installed here.
    """
    return _frequent(default_folder())


def any_sense_synonyms() -> Family:
    """The wide family; only function words and negations are left as they are.

    Raises:
        WordNetError: WordNet is not installed here.
    """
    return _any_sense(default_folder())


@cache
def word_source(folder: Path) -> WordSource:
    """The words of the WordNet in a folder, read once a process; raises WordNetError."""
    return WordSource(WordNet(folder), refined=True)


@cache
def tagger() -> LexiconTagger:
    """The tagger, made once a process."""
    return LexiconTagger()


@cache
def _frequent(folder: Path) -> Family:
    source = word_source(folder)

    @lru_cache(maxsize=256)
    def replaceable(text: str) -> dict[Span, Word]:
        spans = split_as_treebanks(text)
        words = find_words(text, spans, tagger(), source)
        negated = {after for before, after in itertools.pairwise(spans) if text[slice(*before)].lower() in _NEGATIONS}
        # In lower case, so that a sentence's first word gets no names.
        return {
            span: replace(word, text=word.text.lower())
            for span, word in words.items()
            if span not in negated and word.text.lower() not in _KEPT
        }

    def candidates(text: str, span: Span) -> Candidates:
        written = text[slice(*span)]
        found = source.candidates(replaceable(text)[span], "frequent synonym")
        fitting = (name for name in found if _is_one_word(name) and fits_article(name, text, span))
        return _match(fitting, written)

    return Family(
        name="synonyms",
        spans=lambda text: tuple(span for span in replaceable(text) if candidates(text, span)),
        candidates=candidates,
        counts_all_words=True,
    )


@cache
def _any_sense(folder: Path) -> Family:
    source = word_source(folder)

    @lru_cache(maxsize=1 << 16)
    def synonyms(written: str) -> Candidates:
        if not written.isalpha() or written.lower() in _KEPT:
            return ()
        names = {name for word in _readings(written.lower(), source) for name in source.candidates(word, "synonym")}
        return _match(filter(_is_one_word, names), written)

    return Family(
        name="synonyms+any-sense",
        spans=lambda text: tuple(Span(*word.span()) for word in _ANY_WORD.finditer(text) if synonyms(word[0])),
        candidates=lambda text, span: synonyms(text[slice(*span)]),
        counts_all_words=True,
    )


def count_words(text: str) -> int:
    """The number of words of any kind."""
    return sum(1 for _ in _ANY_WORD.finditer(text))


def _readings(word: str, source: WordSource) -> list[Word]:
    """A word in lower case, in every class and inflection that has this form."""
    return [
        Word(word, base, tag, word_class)
        for word_class, tags in TAGS.items()
        for base in [source.base_form(word, word_class)]
        for tag in tags
        if inflect(base, word_class, tag) == word
    ]


def _is_one_word(name: str) -> bool:
    return " " not in name and name.lower() not in _NEGATIONS


def _match(names: Iterable[str], written: str) -> Candidates:
    """The names in the case of the word as it is written, without the word itself in any case."""
    others = (name for name in names if name.lower() != written.lower())
    return make_candidates((match_case(name, written) for name in others), written)
