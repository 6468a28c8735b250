"""Corrects texts before they are tokenized: plain letters for look-alikes, and known words for misspelt ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.correction.lookalikes import fold
from models.correction.rewriting import Rewriting, rewrite_again
from models.correction.spelling import WORDS_FILE, KnownWords

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

    def read(self, field: str, text: str) -> Rewriting:
        """The text of a field as it is read. Correcting that again changes nothing."""
        read = fold(text)
        if self.words is None or field.partition("/")[0] not in self.where.fields:
            return read
        while changes := [*self.words.find_corrections(read.text, names=self.where.names)]:
            read = rewrite_again(text, read, changes)
        return read

    def write(self, folder: Path) -> None:
        """Write what `open_correction` needs beside the kind, if anything, to a checkpoint or a package."""
        if self.words is not None:
            self.words.write(folder / WORDS_FILE)


def open_correction(folder: Path, kind: CorrectionKind | None, where: CorrectedWords) -> Correction | None:
    """The correction that a checkpoint or a package in `folder` was made with; raises WordListError."""
    if kind is None:
        return None
    return Correction(KnownWords.read(folder / WORDS_FILE), where) if kind == "words" else Correction()
