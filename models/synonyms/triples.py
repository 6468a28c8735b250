"""Two copies of a text, one that means the same and one that does not (CLINE, section 3.1, by the released code).

In the first copy words are replaced by synonyms, hypernyms or other inflections, in the second by antonyms or random
words. Each copy has one kind of replacement. Only nouns, verbs, adjectives and adverbs are replaced. There is no
word-sense disambiguation.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from models.synonyms.tagging import LexiconTagger, Tagger, base_form, inflect, inflections
from models.synonyms.wordnet import WordClass, WordNet
from models.words import Span, split_words

Relation = Literal["synonym", "hypernym", "inflection", "antonym", "random", "frequent synonym", "frequent antonym"]
"""The kind of words that replace others. The frequent ones leave out rare senses of the word: synonyms are of its two
most frequent senses and no opposites of any sense, antonyms are the word's own in its most frequent sense."""


@dataclass(frozen=True, kw_only=True)
class Construction:
    """Settings of the copies; `REFINED`, or `AS_RELEASED` to follow the released code."""

    synonymous_share: float
    """Largest share of a text's words that is replaced in the copy that means the same."""
    opposite_share: float
    """Largest share of a text's words that is replaced in the other copy."""
    refined: bool
    """True if candidates are chosen by the design that departs from the released code: see `WordSource`."""


REFINED = Construction(synonymous_share=0.4, opposite_share=0.2, refined=True)
AS_RELEASED = Construction(synonymous_share=0.5, opposite_share=0.5, refined=False)


@dataclass(frozen=True)
class Word:
    """A word of a text that may be replaced."""

    text: str
    base: str
    """The dictionary form, in lower case."""
    tag: str
    """The Penn tag."""
    word_class: WordClass


@dataclass(frozen=True)
class Piece:
    """A word that may be replaced, or a stretch of text between such words."""

    text: str
    """The text of the copy, with one space before a word included."""
    is_candidate: bool
    is_replaced: bool = False


Copy = tuple[Piece, ...]
"""The pieces of a text, in order."""


@dataclass(frozen=True)
class Triple:
    """The two copies of a text; with nothing replaced, both would be the text."""

    synonymous: Copy
    opposite: Copy


_FREQUENT_SENSES = 2


class WordSource:
    """Words that may replace others, from WordNet and lemminflect; sorted, so that a draw depends on nothing else.

    In the released code's form, synonyms, hypernyms and antonyms are written as in WordNet. Antonyms are those of any
    word in the word's synsets. Inflections are also made by rule. Random words are nouns, whatever the word's class.

    In the refined form, the first three take the word's own inflection, and they have capitals only if the word has
    one. Antonyms of the word itself come before those of its synonyms. An adjective that has neither takes the antonyms
    of the adjective that it is grouped with in WordNet. Inflections are those of the dictionary. Random words are
    frequent, of the same class, and no synonyms.
    """

    def __init__(self, wordnet: WordNet, *, refined: bool, nouns: Sequence[str] = ()) -> None:
        """`nouns` are the random words of the released code's form; if none are given, WordNet's frequent nouns are."""
        self._wordnet = wordnet
        self._refined = refined
        self._nouns = tuple(sorted(set(nouns))) or wordnet.frequent_words("NOUN")
        # Caches of the instance, which end with it.
        self._related = cache(self._find_related)
        self.base_form = cache(self._find_base_form)

    def candidates(self, word: Word, kind: Relation) -> tuple[str, ...]:
        """The words of this kind that may replace the word, sorted; empty if there are none."""
        if kind == "random":
            return tuple(name for name in self._random_words(word) if name not in self._not_random(word))
        return self._related(word, kind)

    def draw(self, word: Word, kind: Relation, draw: random.Random) -> str | None:
        """One of the candidates, all equally likely; None if there are none."""
        if kind != "random":
            return draw.choice(found) if (found := self._related(word, kind)) else None
        # Excluded words are drawn again. Filtering first would copy thousands of words for each that is replaced.
        pool, excluded = self._random_words(word), self._not_random(word)
        return next(name for name in iter(lambda: draw.choice(pool), None) if name not in excluded)

    def _find_base_form(self, word: str, word_class: WordClass) -> str:
        """The dictionary form of a word of this class, in lower case."""
        return base_form(word, word_class, self._wordnet)

    def _find_related(self, word: Word, kind: Relation) -> tuple[str, ...]:
        match kind:
            case "synonym":
                return self._as_written(self._wordnet.synonyms(word.text, word.word_class), word)
            case "hypernym":
                return self._as_written(self._wordnet.hypernyms(word.text, word.word_class), word)
            case "antonym":
                return self._as_written(self._antonyms(word), word)
            case "frequent synonym":
                return self._as_written(self._frequent_synonyms(word), word)
            case "frequent antonym":
                return self._as_written(self._wordnet.own_antonyms(word.text, word.word_class, senses=1), word)
            case _:
                forms = inflections(word.base, word.word_class, word.tag, by_rule=not self._refined)
                return tuple(form for form in forms if form.lower() != word.text.lower())

    def _antonyms(self, word: Word) -> frozenset[str]:
        place = word.text, word.word_class
        if not self._refined:
            return self._wordnet.antonyms(*place)
        return (
            self._wordnet.own_antonyms(*place)
            or self._wordnet.antonyms(*place)
            or self._wordnet.antonyms_of_heads(*place)
        )

    def _frequent_synonyms(self, word: Word) -> frozenset[str]:
        place = word.text, word.word_class
        opposites = self._wordnet.antonyms(*place) | self._wordnet.antonyms_of_heads(*place)
        return self._wordnet.synonyms(*place, senses=_FREQUENT_SENSES) - opposites

    def _as_written(self, found: frozenset[str], word: Word) -> tuple[str, ...]:
        own = {word.text.lower(), word.base}
        written = {name.replace("_", " ") for name in found}
        others = {name for name in written if name.lower() not in own}
        if not self._refined:
            return tuple(sorted(others))
        may_have_capitals = word.text[0].isupper()
        fitting = (name for name in others if may_have_capitals or name == name.lower())
        return tuple(sorted({inflect(name, word.word_class, word.tag) for name in fitting}))

    def _random_words(self, word: Word) -> tuple[str, ...]:
        return self._wordnet.frequent_words(word.word_class) if self._refined else self._nouns

    def _not_random(self, word: Word) -> frozenset[str]:
        return self._wordnet.synonyms(word.text, word.word_class) if self._refined else frozenset()


class TripleMaker:
    """Makes the copies of texts: a pure function of the text and a key, in any process and any order."""

    def __init__(self, source: WordSource, construction: Construction, tagger: Tagger | None = None) -> None:
        """The default tagger is textblob's."""
        self._source = source
        self._construction = construction
        self._tagger = tagger or LexiconTagger()

    def make(self, text: str, key: str) -> Triple:
        """The copies of `text`, drawn from the random stream named `key`."""
        spans = split_as_treebanks(text)
        words = find_words(text, spans, self._tagger, self._source)
        draw = random.Random(key)
        choice_synonymous, choice_opposite = draw.random(), draw.random()
        order_synonymous, order_opposite = (draw.sample(sorted(words), len(words)) for _ in range(2))

        def copy(kinds: Sequence[Relation], order: Sequence[Span], share: float) -> Copy:
            most = int(len(spans) * share)
            tries = (self._replace(kind, words, order, most, draw) for kind in kinds)
            return _assemble(text, words, next(filter(None, tries), {}))

        opposite = (*(("antonym",) if choice_opposite < 1 / 2 else ()), "random")
        synonymous = (
            *(("hypernym",) if choice_synonymous < 1 / 3 else ()),
            *(("synonym",) if choice_synonymous < 2 / 3 else ()),
            "inflection",
        )
        return Triple(
            synonymous=copy(synonymous, order_synonymous, self._construction.synonymous_share),
            opposite=copy(opposite, order_opposite, self._construction.opposite_share),
        )

    def substitute(self, text: str, kind: Relation, share: float, draw: random.Random) -> str:
        """The text with at most this share of its words, but at least one, replaced by words of this kind."""
        spans = split_as_treebanks(text)
        words = find_words(text, spans, self._tagger, self._source)
        replaced = self._replace(
            kind, words, draw.sample(sorted(words), len(words)), max(1, int(len(spans) * share)), draw
        )
        return "".join(piece.text for piece in _assemble(text, words, replaced))

    def _replace(
        self, kind: Relation, words: Mapping[Span, Word], order: Sequence[Span], most: int, draw: random.Random
    ) -> dict[Span, str]:
        """Up to `most` words, each with one drawn from its candidates; a draw that differs only in case is not used."""
        replaced: dict[Span, str] = {}
        for span in order:
            if len(replaced) == most:
                break
            drawn = self._source.draw(words[span], kind, draw)
            if drawn is not None and drawn.lower() != words[span].text.lower():
                replaced[span] = drawn
        return replaced


def find_words(text: str, spans: Sequence[Span], tagger: Tagger, source: WordSource) -> dict[Span, Word]:
    """The words that may be replaced, which are all letters whatever their tag is; `spans` are all words of a text."""
    written = [text[start:end] for start, end in spans]
    tags = tagger.tag([word.replace("\u2019", "'") for word in written])
    return {
        span: Word(word, source.base_form(word, tag.word_class), tag.penn, tag.word_class)
        for span, word, tag in zip(spans, written, tags, strict=True)
        if tag.word_class is not None and word.isalpha()
    }


_CONTRACTION = re.compile(r"(?i)(?:n['\u2019]t|['\u2019](?:s|m|d|re|ve|ll))$")


def split_as_treebanks(text: str) -> tuple[Span, ...]:
    """The words of a text as treebanks split them: `don't` and `film's` are two words each."""
    return tuple(part for span in split_words(text) for part in _cut_contraction(text, span))


def _cut_contraction(text: str, span: Span) -> Iterator[Span]:
    found = _CONTRACTION.search(text, *span)
    cut = found.start() if found else span.start
    if cut > span.start:
        yield Span(span.start, cut)
    yield Span(cut, span.end)


def _assemble(text: str, words: Mapping[Span, Word], replaced: Mapping[Span, str]) -> Copy:
    """The text with words replaced; between candidates it stays in one piece, so that tokenizers read it as usual."""
    pieces: list[Piece] = []
    done = 0
    for span in words:  # In the order of the text.
        start = span.start - (text[done : span.start].endswith(" "))
        pieces.append(Piece(text[done:start], is_candidate=False))
        word = replaced.get(span, text[span.start : span.end])
        pieces.append(Piece(text[start : span.start] + word, is_candidate=True, is_replaced=span in replaced))
        done = span.end
    pieces.append(Piece(text[done:], is_candidate=False))
    return tuple(piece for piece in pieces if piece.text)


def make_triples(folder: Path, construction: Construction, nouns: Path | None = None) -> TripleMaker:
    """A maker of copies from the WordNet in `folder` and, in the released code's form, a file of nouns, one a line.

    Raises:
        WordNetError: no WordNet is there.
        OSError: the file cannot be read.
    """
    given = () if nouns is None else tuple(filter(None, map(str.strip, nouns.read_text(encoding="utf-8").splitlines())))
    return TripleMaker(WordSource(WordNet(folder), refined=construction.refined, nouns=given), construction)
