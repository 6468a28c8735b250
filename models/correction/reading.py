"""Corrects texts before they are tokenized: plain letters for look-alikes, and known words for misspelt ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

from models.correction.lookalikes import fold
from models.correction.rewriting import Change, Rewriting, rewrite_again
from models.correction.spelling import WORDS_FILE, KnownWords, could_be_name, find_words, is_shouted

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
    while True:
        # Most items have nothing to correct, and contexts may be long.
        right = cache(partial(_right_words, words, where, dict(read), fields))
        corrected = {}
        for field in fields:
            text = read[field].text
            found = words.find_corrections(text, names=where.names)
            if changes := [one for one in found if not _parts(text, one) <= right()]:
                corrected[field] = rewrite_again(texts[field], read[field], changes)
        if not corrected:
            return read | {field: folded[field] for field in _choices_made_alike(folded, read)}
        read |= corrected


def _parts(text: str, change: Change) -> set[str]:
    """The words that a change makes another of: one, or two with a space between."""
    return set(text[slice(*change.span)].lower().split())


def _right_words(
    words: KnownWords, where: CorrectedWords, read: Mapping[str, Rewriting], corrected: Collection[str]
) -> set[str]:
    """The words, in small letters, that are right wherever they stand in the texts of an item."""
    right: set[str] = set()
    for field, one in read.items():
        if field not in corrected:
            right.update(map(str.lower, find_words(one.text)))
        elif not is_shouted(one.text):
            capitals = filter(could_be_name, find_words(one.text))
            right.update(word.lower() for word in capitals if words.correct(word, names=where.names) == word)
    return right


def _choices_made_alike(folded: Mapping[str, Rewriting], read: Mapping[str, Rewriting]) -> list[str]:
    """The choices that are read as the same text as another from which they differ."""
    written: dict[str, set[str]] = {}
    for field in read:
        if "/" in field:
            written.setdefault(read[field].text.lower(), set()).add(folded[field].text.lower())
    return [field for field in read if "/" in field and len(written[read[field].text.lower()]) > 1]


def open_correction(folder: Path, kind: CorrectionKind | None, where: CorrectedWords) -> Correction | None:
    """The correction that a checkpoint or a package in `folder` was made with; raises WordListError."""
    if kind is None:
        return None
    return Correction(KnownWords.read(folder / WORDS_FILE), where) if kind == "words" else Correction()
