"""WordNet from its own database files (wndb(5WN)): synonyms, hypernyms and antonyms of English words.

Fellbaum (ed.), WordNet: An Electronic Lexical Database, MIT Press 1998. Only `index.*`, `data.*`,
`*.exc` and `cntlist.rev` are read.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from models.errors import UserError

WordClass = Literal["NOUN", "VERB", "ADJ", "ADV"]

_ENDINGS: Mapping[WordClass, str] = {"NOUN": "noun", "VERB": "verb", "ADJ": "adj", "ADV": "adv"}
_CLASS_OF_SIGN: Mapping[str, WordClass] = {"n": "NOUN", "v": "VERB", "a": "ADJ", "s": "ADJ", "r": "ADV"}
_CLASS_OF_NUMBER: Mapping[str, WordClass] = {"1": "NOUN", "2": "VERB", "3": "ADJ", "4": "ADV", "5": "ADJ"}
_HYPERNYM, _ANTONYM, _SIMILAR, _USED_FOR = "@", "!", "&", "-u"
_SLIGHTS = ("disparagement", "ethnic_slur")

# Suffixes and what they become, in morphy(7WN)'s order.
_SUFFIXES: Mapping[WordClass, Sequence[tuple[str, str]]] = {
    "NOUN": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
        ("men", "man"), ("ies", "y"),
    ),
    "VERB": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "ADJ": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "ADV": (),
}  # fmt: skip


class WordNetError(UserError):
    """A WordNet that cannot be read."""


def default_folder() -> Path:
    """The default folder of WordNet: the one in the variable WNSEARCHDIR, or Debian's."""
    return Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet"))


class Pointer(NamedTuple):
    """A relation to another synset, or between two words of the synsets if their numbers, from 1, are not 0."""

    symbol: str
    word_class: WordClass
    offset: int
    source: int
    target: int


@dataclass(frozen=True)
class Synset:
    """Words that mean the same."""

    words: tuple[str, ...]
    """The words as WordNet writes them, with `_` for spaces."""
    pointers: tuple[Pointer, ...]
    is_satellite: bool
    """True for an adjective grouped around another of like meaning, its head, which has the antonym."""


class _Entry(NamedTuple):
    """A line of an index."""

    offsets: tuple[int, ...]
    """Places of the synsets in the data file, the most frequent sense first."""
    tagged: int
    """Number of senses that annotated texts use."""


class WordNet:
    """The database in a folder; synsets that were looked up stay in memory."""

    def __init__(self, folder: Path) -> None:
        """Read the indices.

        Raises:
            WordNetError: a file is not there, or not of this format.
        """
        wanted = [f"{kind}.{ending}" for ending in _ENDINGS.values() for kind in ("index", "data")]
        missing = [name for name in wanted if not (folder / name).is_file()]
        if missing:
            raise WordNetError(
                f"{folder}: no WordNet here, {missing[0]} is missing; install the Debian package wordnet-base, or take "
                "the database files from https://wordnet.princeton.edu and name their folder in WNSEARCHDIR "
                "or, for a training, in the setting 'wordnet'"
            )
        self._folder = folder
        self._index = {word_class: _read_index(folder / f"index.{end}") for word_class, end in _ENDINGS.items()}
        self._data = {word_class: (folder / f"data.{end}").read_bytes() for word_class, end in _ENDINGS.items()}
        self._exceptions = {word_class: _read_exceptions(folder / f"{end}.exc") for word_class, end in _ENDINGS.items()}
        # Caches of the instance, which end with it.
        self.synset = cache(self._read_synset)
        self.synsets = cache(self._find_synsets)

    def base_forms(self, word: str, word_class: WordClass) -> tuple[str, ...]:
        """The word and the forms that it may be an inflection of, as far as they are in the index.

        If the exception list has the word, its forms there replace those of the suffix rules.
        """
        word = word.lower().replace(" ", "_")
        exceptions = self._exceptions[word_class].get(word)
        forms = _without_suffix(word, word_class) if exceptions is None else exceptions
        return tuple(form for form in dict.fromkeys([word, *forms]) if form in self._index[word_class])

    def synonyms(self, word: str, word_class: WordClass, senses: int | None = None) -> frozenset[str]:
        """All words of the word's synsets, the word itself included; with `senses`, of so many of the most frequent."""
        return frozenset(other for synset in self.synsets(word, word_class)[:senses] for other in synset.words)

    def hypernyms(self, word: str, word_class: WordClass) -> frozenset[str]:
        """The words of the synsets directly above the word's own; adjectives and adverbs have none."""
        found = (self._follow(synset, _HYPERNYM) for synset in self.synsets(word, word_class))
        return frozenset(other for synsets in found for synset in synsets for other in synset.words)

    def antonyms(self, word: str, word_class: WordClass) -> frozenset[str]:
        """The opposites of all words of the word's synsets."""
        synsets = self.synsets(word, word_class)
        return frozenset(opposite for synset in synsets for _, opposite in self._opposites(synset))

    def own_antonyms(self, word: str, word_class: WordClass, senses: int | None = None) -> frozenset[str]:
        """The opposites of the word itself, in its base forms; with `senses`, in so many of the most frequent."""
        forms, synsets = self.base_forms(word, word_class), self.synsets(word, word_class)[:senses]
        pairs = (pair for synset in synsets for pair in self._opposites(synset))
        return frozenset(opposite for own, opposite in pairs if own.lower() in forms)

    def antonyms_of_heads(self, word: str, word_class: WordClass) -> frozenset[str]:
        """The opposites of the adjectives that the word is grouped around; `unsatisfying` has only these."""
        satellites = (synset for synset in self.synsets(word, word_class) if synset.is_satellite)
        heads = (head for synset in satellites for head in self._follow(synset, _SIMILAR))
        return frozenset(opposite for head in heads for _, opposite in self._opposites(head))

    def slights(self) -> frozenset[str]:
        """Words that WordNet marks as a slur or another slight in the most frequent sense of a class.

        Only words without a capital: the others are names too.
        """
        uses = (synset for slight in _SLIGHTS for synset in self.synsets(slight, "NOUN"))
        pointers = [pointer for synset in uses for pointer in synset.pointers if pointer.symbol == _USED_FOR]
        return frozenset(
            word
            for _, kind, offset, _, target in pointers
            for number, word in enumerate(self.synset(kind, offset).words, start=1)
            if target in {0, number} and word in self._index[kind] and self._index[kind][word].offsets[0] == offset
        )

    def lemmas(self, word_class: WordClass) -> Collection[str]:
        """All words of a class in small letters, with `_` for the spaces of compounds."""
        return self._index[word_class].keys()

    def frequent_words(self, word_class: WordClass) -> tuple[str, ...]:
        """Single words in lower case that annotated texts use in their first sense of this class, sorted."""
        return self._frequent_words[word_class]

    def frequency(self, word: str, word_class: WordClass) -> int:
        """How often annotated texts use a base form in its most frequent sense; 0 without WordNet's counts."""
        return self._frequencies.get((word, word_class), 0)

    @cached_property
    def _frequencies(self) -> dict[tuple[str, WordClass], int]:
        return _read_frequencies(self._folder / "cntlist.rev")

    @cached_property
    def _frequent_words(self) -> dict[WordClass, tuple[str, ...]]:
        return {
            word_class: tuple(
                word
                for word, entry in sorted(self._index[word_class].items())
                # Indices are in lower case; the synset has the word's own spelling.
                if entry.tagged and word.isalpha() and word in self.synset(word_class, entry.offsets[0]).words
            )
            for word_class in get_args(WordClass)
        }

    def _find_synsets(self, word: str, word_class: WordClass) -> tuple[Synset, ...]:
        """The synsets of all senses of all base forms."""
        entries = (self._index[word_class][form] for form in self.base_forms(word, word_class))
        return tuple(self.synset(word_class, offset) for entry in entries for offset in entry.offsets)

    def _opposites(self, synset: Synset) -> Iterator[tuple[str, str]]:
        """Each word of the synset that has an opposite, with that opposite."""
        for pointer in synset.pointers:
            if pointer.symbol == _ANTONYM:
                other = self.synset(pointer.word_class, pointer.offset)
                yield synset.words[pointer.source - 1], other.words[pointer.target - 1]

    def _follow(self, synset: Synset, symbol: str) -> Iterator[Synset]:
        return (self.synset(to.word_class, to.offset) for to in synset.pointers if to.symbol == symbol)

    def _read_synset(self, word_class: WordClass, offset: int) -> Synset:
        data = self._data[word_class]
        line = data[offset : data.find(b"\n", offset)]
        try:
            return _parse_synset(line.decode(), offset)
        except (ValueError, IndexError, KeyError) as error:
            file = self._folder / f"data.{_ENDINGS[word_class]}"
            raise WordNetError(
                f"{file}: no synset at byte {offset}; the file is damaged, or its index is another version's"
            ) from error


def _parse_synset(line: str, offset: int) -> Synset:
    """`offset lexfile type n_words(hex) (word lex_id)* n_pointers (symbol offset class source/target)* ... | gloss`."""
    fields = line.partition(" | ")[0].split()
    if int(fields[0]) != offset:
        raise ValueError(f"offset {fields[0]}")
    count = int(fields[3], 16)
    words = fields[4 : 4 + 2 * count : 2]
    first = 5 + 2 * count
    pointers = (fields[start : start + 4] for start in range(first, first + 4 * int(fields[first - 1]), 4))
    return Synset(
        words=tuple(word.partition("(")[0] for word in words),  # Without an adjective's (a), (p) or (ip).
        pointers=tuple(
            Pointer(symbol, _CLASS_OF_SIGN[sign], int(to), int(ends[:2], 16), int(ends[2:], 16))
            for symbol, to, sign, ends in pointers
        ),
        is_satellite=fields[2] == "s",
    )


def _read_index(path: Path) -> dict[str, _Entry]:
    """`lemma class n_synsets n_pointers symbol* n_senses n_tagged offset*`; lines of the licence begin with spaces."""
    index = {}
    for number, line in enumerate(_read_lines(path), start=1):
        if line.startswith(" "):
            continue
        fields = line.split()
        try:
            tagged = 5 + int(fields[3])
            index[fields[0]] = _Entry(tuple(map(int, fields[tagged + 1 :])), int(fields[tagged]))
        except (ValueError, IndexError) as error:
            raise WordNetError(f"{path}: line {number} is not one of a WordNet index") from error
    return index


def _read_exceptions(path: Path) -> dict[str, list[str]]:
    """`inflected base*`; a class without a list has no exceptions."""
    if not path.is_file():
        return {}
    lines = (line.split() for line in _read_lines(path))
    exceptions: dict[str, list[str]] = {}
    for inflected, *bases in filter(None, lines):
        exceptions.setdefault(inflected, []).extend(bases)
    return exceptions


def _read_frequencies(path: Path) -> dict[tuple[str, WordClass], int]:
    """`lemma%class:file:number:head:head_number sense count`; the largest count of a lemma in a class is kept."""
    found: dict[tuple[str, WordClass], int] = {}
    if not path.is_file():
        return found
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            sense, _, count = line.split()
            lemma, rest = sense.rsplit("%", 1)
            place = lemma, _CLASS_OF_NUMBER[rest[:1]]
            found[place] = max(found.get(place, 0), int(count))
        except (ValueError, KeyError) as error:
            raise WordNetError(f"{path}: line {number} is not one of WordNet's counts") from error
    return found


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise WordNetError(f"{path}: not a text in UTF-8, as WordNet's files are; install WordNet anew") from error


def _without_suffix(word: str, word_class: WordClass) -> list[str]:
    return [word.removesuffix(end) + instead for end, instead in _SUFFIXES[word_class] if word.endswith(end)]
