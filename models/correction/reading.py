"""Corrects texts before they are tokenized: plain letters for look-alikes, and known words for misspelt ones."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import regex

from models.correction.lookalikes import fold
from models.correction.rewriting import Rewriting, rewrite_again
from models.correction.spelling import LONGEST, WORDS_FILE, KnownWords

CorrectionKind = Literal["letters", "words"]
"""How much is corrected: look-alikes and unseen signs alone, or words as well."""


@dataclass(frozen=True)
class CorrectedWords:
    """Which words of a task's items are corrected. Letters are read alike in all of them."""

    fields: tuple[str, ...] = ()
    """The fields in which words may be read as others."""
    names: bool = False
    """Whether names are asked for, so that each word has an answer of its own: words with a capital are read as others
    as readily as those without, and two words never as one."""


NO_WORDS = CorrectedWords()

_WORD = regex.compile(rf"(?<!\w)[A-Za-z]{{1,{LONGEST}}}(?!\w)")


@dataclass(frozen=True)
class Correction:
    """The changes that are made in texts before they are tokenized."""

    words: KnownWords | None = None
    """The words that others are read as; None where words are read as they are spelt."""
    where: CorrectedWords = NO_WORDS

    @property
    def kind(self) -> CorrectionKind:
        """The kind, as checkpoints and packages record it."""
        return "letters" if self.words is None else "words"

    def read(self, texts: Mapping[str, str]) -> dict[str, Rewriting]:
        """The texts of an item, by field, as they are read. Correcting those again changes nothing.

        Words that stand in a text whose words are not corrected, such as a context, are right in the others, and so are
        those that stay somewhere as names, with a capital. Choices that differ are not read alike.
        """
        folded = {field: fold(text) for field, text in texts.items()}
        if self.words is None:
            return folded
        return _read_words(self.words, self.where, texts, folded)

    def write(self, folder: Path) -> None:
        """Write what `open_correction` needs beside the kind, if anything, to a checkpoint or a package."""
        if self.words is not None:
            self.words.write(folder / WORDS_FILE)


def _read_words(
    words: KnownWords, where: CorrectedWords, texts: Mapping[str, str], folded: Mapping[str, Rewriting]
) -> dict[str, Rewriting]:
    read = dict(folded)
    fields = [field for field in folded if field.partition("/")[0] in where.fields]
    # Most items have nothing to correct, and contexts may be long.
    right = cache(lambda: frozenset(_right_words(words, where, folded, fields)))
    for field in fields:
        while changes := [
            change
            for change in words.find_corrections(read[field].text, names=where.names)
            if read[field].text[slice(*change.span)].lower() not in right()
        ]:
            read[field] = rewrite_again(texts[field], read[field], changes)
    return read | {field: folded[field] for field in _read_alike(read)}


def _right_words(
    words: KnownWords, where: CorrectedWords, folded: Mapping[str, Rewriting], corrected: Collection[str]
) -> Iterator[str]:
    """The words, in small letters, that are right wherever they stand in the texts of an item."""
    for field, one in folded.items():
        if field not in corrected:
            yield from _WORD.findall(one.text.lower())
        elif not one.text.isupper():
            capitals = (word for word in _WORD.findall(one.text) if not word.islower())
            yield from (word.lower() for word in capitals if words.correct(word, names=where.names) == word)


def _read_alike(read: Mapping[str, Rewriting]) -> list[str]:
    """The fields of choices of which another is read as the same text."""
    choices = {field: one.text.lower() for field, one in read.items() if "/" in field}
    often = Counter(choices.values())
    return [field for field, text in choices.items() if often[text] > 1]


def open_correction(folder: Path, kind: CorrectionKind | None, where: CorrectedWords) -> Correction | None:
    """The correction that a checkpoint or a package in `folder` was made with; raises WordListError."""
    if kind is None:
        return None
    return Correction(KnownWords.read(folder / WORDS_FILE), where) if kind == "words" else Correction()
