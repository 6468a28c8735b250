"""Unknown words read as known ones that are one typing error away (Damerau, CACM 1964), before a text is tokenized.

A defence of this kind needs no training and holds for every model (Pruthi et al., ACL 2019, correct by a recurrent
network instead).
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import regex

from models.atomic import atomic_write
from models.correction.rewriting import Change
from models.errors import UserError
from models.words import Span

WORDS_FILE = "words.txt.gz"
"""The known words in the folder of a checkpoint or a package."""

LONGEST = 24
"""Most letters of a word that is corrected; longer ones are seldom words, and trying them is costly."""

_KEPT = 1 << 16
"""Most words whose correction is remembered."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Whole words in small letters: no parts of names of users, topics, files and hosts, of contractions but `'s`, or of
# words with digits or other letters.
_WORD = regex.compile(
    rf"(?<![\w\p{{M}}@#/\\:=~%+&_])(?<![\w][.'\u2019])[a-z]{{3,{LONGEST}}}"
    r"(?![\w\p{M}@/\\=~%+&_]|[.:]\w|['\u2019](?!s\b)\w)"
)


class WordListError(UserError):
    """A list of words that cannot be read."""


class KnownWords:
    """The words that stay as they are. Threads may share it: but for a cache, nothing in it changes."""

    def __init__(self, frequent: Sequence[str], rare: Iterable[str] = ()) -> None:
        """Take the words that others are read as, most frequent first, and those that are only known."""
        self._ranks = {word: rank for rank, word in enumerate(frequent)}
        # One text in place of a hundred thousand objects; it is searched only for words that the cache has not.
        self._rare = "\n".join(["", *sorted({*rare} - self._ranks.keys()), ""])
        self.correct = lru_cache(_KEPT)(self._correct)
        """Read a word as a known one: the word itself, a known one at distance 1, or the word if there is none."""

    @classmethod
    def read(cls, path: Path) -> "KnownWords":
        """Read the list that `write` wrote; raises WordListError."""
        try:
            lines = gzip.decompress(path.read_bytes()).decode()
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise WordListError(f"{path}: cannot be read ({error}); copy the folder again, or make it again") from error
        if not lines:
            raise WordListError(f"{path}: cannot be read (it is empty); copy the folder again, or make it again")
        frequent, _, rare = lines.partition("\n\n")
        return cls(frequent.split(), rare.split())

    def write(self, path: Path) -> None:
        """Write the words, one a line: those that others are read as, an empty line, and the others in order.

        Equal lists are equal files.
        """
        lines = "\n".join(self._ranks) + "\n" + self._rare
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let processes hand the words on, without the cache."""
        return KnownWords, (list(self._ranks), self._rare.split())

    def __len__(self) -> int:
        return len(self._ranks) + self._rare.count("\n") - 1

    def __contains__(self, word: str) -> bool:
        return word in self._ranks or self._is_rare(word)

    def find_corrections(self, text: str) -> Iterator[Change]:
        """The changes that put known words in place of unknown ones.

        Only whole words of at least three small letters of a to z are looked at.
        """
        ranks = self._ranks
        for found in _WORD.finditer(text):
            word = found[0]
            if word not in ranks:
                known = self.correct(word)
                if known != word:
                    yield Change(Span(*found.span()), known)

    def _correct(self, word: str) -> str:
        if word in self:
            return word
        ranks = self._ranks
        near = [other for other in _one_error_away(word) if other in ranks]
        ends = (word[0], word[-1])
        return min(near, key=lambda other: ((other[0], other[-1]) != ends, ranks[other]), default=word)

    def _is_rare(self, word: str) -> bool:
        low, high = 0, len(self._rare) - 1
        while low < high:
            start = self._rare.rfind("\n", 0, (low + high) // 2 + 1)
            end = self._rare.find("\n", start + 1)
            found = self._rare[start + 1 : end]
            if found == word:
                return True
            low, high = (end, high) if found < word else (low, start)
        return False


def _one_error_away(word: str) -> set[str]:
    """All words at Damerau distance 1: a letter dropped, exchanged or put in, or two neighbours swapped."""
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    return {
        *(left + right[1:] for left, right in halves[:-1]),
        *(left + right[1] + right[0] + right[2:] for left, right in halves[:-2]),
        *(left + letter + right[1:] for left, right in halves[:-1] for letter in _LETTERS),
        *(left + letter + right for left, right in halves for letter in _LETTERS),
    } - {word}
