"""Letters exchanged for others that look like them, and signs put into words that nobody sees.

Readers notice none of it, while a tokenizer splits such a word into other tokens or knows none of them (Boucher et al.,
IEEE S&P 2022).
"""

import re
import unicodedata
from functools import lru_cache

from models.edits.family import Candidates, Family, make_candidates
from models.words import Span

CONFUSABLES: dict[str, str] = {
    "a": "\u0430\u0251", "c": "\u0441\u03f2", "d": "\u0501", "e": "\u0435", "g": "\u0261", "h": "\u04bb",
    "i": "\u0456", "j": "\u0458\u03f3", "k": "\u03ba", "l": "\u04cf", "n": "\u0578", "o": "\u043e\u03bf",
    "p": "\u0440\u03c1", "q": "\u051b", "s": "\u0455", "u": "\u057d", "v": "\u03bd\u0475", "w": "\u051d",
    "x": "\u0445", "y": "\u0443",
    "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421\u03f9", "E": "\u0415\u0395", "H": "\u041d\u0397",
    "I": "\u0406\u0399", "J": "\u0408", "K": "\u041a\u039a", "M": "\u041c\u039c", "N": "\u039d", "O": "\u041e\u039f",
    "P": "\u0420\u03a1", "S": "\u0405", "T": "\u0422\u03a4", "V": "\u0474", "W": "\u051c", "X": "\u0425\u03a7",
    "Y": "\u04ae\u03a5", "Z": "\u0396",
}  # fmt: skip
"""For a Latin letter, the Cyrillic, Greek, Armenian and phonetic letters that look like it in most fonts."""

INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
"""Soft hyphen, zero-width space, non-joiner, joiner, word joiner, and the byte order mark."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_FULL_WIDTH = 0xFEE0
"""Distance from a printable ASCII sign to its full-width form."""


@lru_cache(maxsize=1 << 14)
def _kinds(word: str) -> tuple[Candidates, ...]:
    letters = [(place, letter) for place, letter in enumerate(word) if letter.isascii()]
    like = [
        word[:place] + other + word[place + 1 :] for place, letter in letters for other in CONFUSABLES.get(letter, "")
    ]
    unseen = [word[:place] + sign + word[place:] for place in range(1, len(word)) for sign in INVISIBLE]
    wide = [word[:place] + _widen(letter) + word[place + 1 :] for place, letter in letters]
    wide.append("".join(_widen(letter) if letter.isascii() else letter for letter in word))
    return tuple(make_candidates(kind, word) for kind in (like, unseen, wide))


def _widen(letter: str) -> str:
    wide = chr(ord(letter) + _FULL_WIDTH)
    assert unicodedata.normalize("NFKC", wide) == letter
    return wide


@lru_cache(maxsize=1 << 14)
def _candidates(word: str) -> Candidates:
    return make_candidates((one for kind in _kinds(word) for one in kind), word)


LOOKALIKES = Family(
    name="unicode",
    spans=lambda text: tuple(Span(*match.span()) for match in _WORD.finditer(text)),
    candidates=lambda text, span: _candidates(text[slice(*span)]),
    kinds=lambda text, span: _kinds(text[slice(*span)]),
)
"""One letter exchanged for a look-alike or its full-width form, the word in full width, or an unseen sign put in."""
