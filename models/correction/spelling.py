"""Words read as the known ones that were most likely meant, before a text is tokenized.

Of all words one typing error away (Damerau, CACM 1964), the one is taken that is most frequent by how likely the error
is: a noisy channel (Kernighan, Church and Gale, COLING 1990). How frequent a word is follows from its rank (Zipf). A
defence of this kind needs no training and holds for every model (Pruthi et al., ACL 2019, correct by a recurrent
network instead).
"""

import gzip
import math
import string
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

from models.atomic import atomic_write
from models.correction.errors import SPLIT, error_chance, one_error_away
from models.correction.rewriting import Change
from models.errors import UserError
from models.words import Span

WORDS_FILE = "words.txt.gz"
"""The known words in the folder of a checkpoint or a package."""

SHORTEST = 3
"""Fewest letters of a word that is read as another."""

LONGEST = 24
"""Most letters of a word that is corrected; longer ones are seldom words, and trying them is costly."""

RARE_SHARE = 3e-7
"""The share of the words of texts that a rare word is taken to be.

This and the next two are guesses that were tried on SST-2's sentences; ten times as much or as little puts nearly the
same misspellings right there.
"""

UNKNOWN_SHARE = 5e-10
"""The share that an unknown word is taken to be. That of short ones is larger: they are often abbreviations."""

NAME_SHARE = 2e-8
"""The share that an unknown word with a capital is taken to be, which is often a name."""

# fmt: off
_NEGATED = (
    "ai", "are", "ca", "could", "did", "do", "does", "had", "has", "have", "is", "might", "must", "need", "should",
    "was", "were", "wo", "would",
)
# fmt: on

# fmt: off
CONTRACTIONS = frozenset(f"{verb}nt" for verb in _NEGATED) | {
    "heres", "hes", "hows", "ill", "im", "ive", "lets", "shes", "thats", "theres", "theyd", "theyll", "theyre",
    "theyve", "tis", "twas", "weve", "whats", "whos", "youd", "youll", "youre", "youve",
}
# fmt: on
"""Contractions without their apostrophe. They stay: a model knows them, and another word may turn the meaning."""

_HALVES = frozenset(f"{verb}n" for verb in _NEGATED)
"""Pieces of contractions that lists of words hold, and that nobody means by a word of their own."""

_LETTERS = string.ascii_lowercase.encode() + b"\n"

_TO_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_ZIPF_SHIFT = 3
"""Added to a rank, from 0, of which the share of its word is the inverse (Mandelbrot 1953)."""

_KEPT = 1 << 16
"""Most words whose correction is remembered."""

# Whole words: no parts of names of users, topics, files and hosts, of contractions but `'s`, or of words with digits or
# other letters.
_WORD = regex.compile(
    rf"(?<![\w\p{{M}}@#/\\:=~%+&_])(?<![\w][.'\u2019])[A-Za-z]{{1,{LONGEST}}}"
    r"(?![\w\p{M}@/\\=~%+&_]|[.:]\w|['\u2019](?!s\b)\w)"
)


SHOUTED_WORDS = 3
"""Fewest words of a text without small letters whose capitals say nothing; fewer are often acronyms."""

SHOUTED_LETTERS = 6
"""Fewest letters of a word in capitals that counts as one with a capital; shorter ones are often acronyms."""


class WordListError(UserError):
    """A list of words that cannot be read."""


class KnownWords:
    """The words that texts may hold. Threads may share it: but for a cache, nothing in it changes."""

    def __init__(self, frequent: Sequence[str], rare: Iterable[str] | bytes = ()) -> None:
        """Take the words that others are read as, most frequent first, and those that are only known.

        As bytes, the latter are lines, and none of them is among the former.
        """
        # Packages of one tokenizer have most words in common, and share their text.
        self._ranks = {sys.intern(word): rank for rank, word in enumerate(frequent)}
        if not isinstance(rare, bytes):
            rare = b"".join(b"%b\n" % word.encode("ascii") for word in rare if word not in self._ranks)
        self._rare = _by_length(rare)
        self._total = math.log(len(self._ranks) + 1) + 1
        self._kept = lru_cache(_KEPT)(self._correct)

    @classmethod
    def read(cls, path: Path) -> "KnownWords":
        """Read the list that `write` wrote; raises WordListError."""
        try:
            lines = gzip.decompress(path.read_bytes())
            if not lines.endswith(b"\n"):
                raise ValueError("its end is missing" if lines else "it is empty")
            if lines.translate(None, _LETTERS):
                raise ValueError("it has other signs than lines of letters a to z")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise WordListError(f"{path}: cannot be read ({error}); copy the folder again, or make it again") from error
        frequent, _, rare = lines.partition(b"\n\n")
        return cls(frequent.decode().split(), rare)

    def write(self, path: Path) -> None:
        """Write the words, one a line: the frequent ones, an empty line, and the rare ones in order.

        Equal lists are equal files.
        """
        lines = "".join(f"{word}\n" for word in (*self._ranks, "", *self._rare_words()))
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let processes hand the words on, without the cache."""
        return KnownWords, (list(self._ranks), self._rare_words())

    def __len__(self) -> int:
        return len(self._ranks) + sum(map(len, self._rare.values()))

    def __contains__(self, word: str) -> bool:
        if word in self._ranks:
            return True
        words = self._rare.get(len(word))
        if words is None or not word.isascii():
            return False
        place = words.searchsorted(word.encode())
        return bool(place < len(words) and words[place] == word.encode())

    def share(self, word: str) -> float:
        """The share of the words of texts that a word in small letters is taken to be: by its rank, if it has one."""
        rank = self._ranks.get(word)
        if rank is not None:
            return 1 / ((rank + _ZIPF_SHIFT) * self._total)
        return RARE_SHARE if word in self else _unknown_share(word)

    def find_corrections(self, text: str, *, names: bool = False) -> Iterator[Change]:
        """The changes that put words that were meant in place of those that are written, in order.

        Only whole words of letters a to z are looked at, and two with a space between that may be one. Correcting a
        corrected text again may change more, until nothing is left to change. A word with a capital is often a name
        that no list has, and stays more often than others do. Where `names` are asked for, it does not, and no two
        words are read as one, for each has an answer of its own. A text in capitals is corrected as in small letters.
        """
        if is_shouted(text):
            for change in self.find_corrections(text.translate(_TO_SMALL), names=names):
                yield Change(change.span, change.to.upper())
            return
        last: regex.Match[str] | None = None
        for found in _WORD.finditer(text):
            if last is not None:
                if not names and self._are_one(text, last, found):
                    yield Change(Span(last.start(), found.end()), last[0] + found[0])
                    last = None
                    continue
                yield from self._reread(last, names)
            last = found
        if last is not None:
            yield from self._reread(last, names)

    def correct(self, word: str, *, names: bool = False) -> str:
        """Read an unknown word as the frequent one, a typing error away, that was most likely meant, if any was.

        A capital does not count, wherever it stands. Words with several stay, but long ones that are all in capitals.
        The first letter stays a capital, and so does the whole of such a word.
        """
        return self._kept(word, names)

    def _reread(self, found: "regex.Match[str]", names: bool) -> Iterator[Change]:
        word = found[0]
        if word in self._ranks or len(word) < SHORTEST:
            return
        if (meant := self.correct(word, names=names)) != word:
            yield Change(Span(*found.span()), meant)

    def _are_one(self, text: str, left: "regex.Match[str]", right: "regex.Match[str]") -> bool:
        """Whether two words were more likely meant as one with a space put in."""
        one, other = left[0].lower(), right[0]
        if not other.islower():
            return False
        whole = one + other
        if not SHORTEST < len(whole) <= LONGEST or text[left.end() : right.start()] != " ":
            return False
        are_known = one in self and other in self
        if whole not in self._ranks and (are_known or whole not in self):
            return False
        # No ends of contractions, such as the `d` of `he 'd`.
        if text[left.start() - 1 : left.start()] in {"'", "\u2019"}:
            return False
        return self.share(whole) * SPLIT > self.share(one) * self.share(other)

    def _correct(self, word: str, names: bool) -> str:
        small = word.lower()
        is_stressed = word.isupper() and len(word) >= SHOUTED_LETTERS
        # Of several capitals are acronyms, their plurals and names such as `JavaScript`.
        if small in self or small in CONTRACTIONS or (sum(map(str.isupper, word)) > 1 and not is_stressed):
            return word
        near = (one_error_away(small) & self._ranks.keys()) - _HALVES
        likely = [(self.share(other) * error_chance(other, small), other) for other in near]
        chance, meant = max(likely, default=(0.0, small))
        is_capital = word[0].isupper()
        if chance <= max(_unknown_share(small), NAME_SHARE if is_capital and not names else 0):
            return word
        return meant.upper() if is_stressed else meant.capitalize() if is_capital else meant

    def _rare_words(self) -> list[str]:
        return sorted(word.decode() for words in self._rare.values() for word in words.tolist())


def is_shouted(text: str) -> bool:
    """Whether a text is so long, and all in capitals, that these say nothing."""
    return text.isupper() and len(_WORD.findall(text)) >= SHOUTED_WORDS


def find_words(text: str) -> list[str]:
    """The words that are looked at, in order."""
    return _WORD.findall(text)


def could_be_name(word: str) -> bool:
    """Whether a word has a capital, and not only because it is stressed; short words in capitals often are."""
    return not word.islower() and (not word.isupper() or len(word) >= SHOUTED_LETTERS)


def _by_length(lines: bytes) -> dict[int, npt.NDArray[np.bytes_]]:
    """The words of lines in order, in a block of bytes for each length, in place of some hundred thousand objects."""
    signs = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    sizes = ends - starts
    blocks = {}
    for size in np.unique(sizes[sizes > 0]).tolist():
        words = signs[starts[sizes == size, None] + np.arange(size)].view(f"S{size}").ravel()
        # Sorting sorted words takes longer than all else here.
        blocks[size] = words if (words[:-1] < words[1:]).all() else np.unique(words)
    return blocks


def _unknown_share(word: str) -> float:
    return max(10.0 ** (-2 * len(word)), UNKNOWN_SHARE)
