"""Letters exchanged for others that look like them, and signs put into words that nobody sees.

Readers notice none of it, while a tokenizer splits such a word into other tokens or knows none of them (Boucher et al.,
IEEE S&P 2022).
"""

import re
import unicodedata
from functools import lru_cache

from models.correction.lookalikes import CONFUSABLES, INVISIBLE
from models.edits.family import LONGEST, Candidates, Family, make_candidates
from models.words import Span

_WORD = re.compile(rf"(?<![^\W\d_])[^\W\d_]{{2,{LONGEST}}}(?![^\W\d_])")
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
