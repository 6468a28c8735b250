"""Signs that look like others or like nothing: what they are exchanged for in attacks, and what they are read as.

Readers notice none of them, while a tokenizer splits such a word into other tokens or knows none of them (Boucher et
al., IEEE S&P 2022).
"""

import unicodedata
from collections.abc import Iterator
from itertools import accumulate, pairwise

import regex

from models.correction.rewriting import Change, Rewriting, rewrite_again
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

_LATIN = {ord(other): letter for letter, others in CONFUSABLES.items() for other in others}
_LIKE_LATIN = "".join(map(chr, _LATIN))
# Every pattern takes a run whole and none begins inside one, so that no text costs more than its length.
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_IS_LIKE_LATIN = regex.compile(rf"[{_LIKE_LATIN}]")
_HAS_LATIN = regex.compile(rf"(?V1)[\p{{Latin}}--[{_LIKE_LATIN}]]")
_OTHER_ALPHABET = regex.compile(rf"(?V1)[[\p{{L}}&&[\p{{Cyrillic}}\p{{Greek}}\p{{Armenian}}]]--[{_LIKE_LATIN}]]")
_UNSEEN = regex.compile(r"\p{Cf}+")
_BESIDE_LATIN = regex.compile(r"[\x00-\x7f\p{Latin}]")
_NO_JOINER = regex.compile(r"[^\u200c\u200d]+")
STAY = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾₀₁₂₃₄₅₆₇₈₉₊₍₎¼½¾⅓⅔™"
"""Raised and lowered digits, fractions and a mark of trade, which would run into what stands before them. They are
those that tokenizers know beside a word."""

_NOT_ASCII = regex.compile(rf"[\x00-\x7f]?[^\x00-\x7f{STAY}]+")
_SIGN = regex.compile(r"(?s).[\p{M}\p{Cf}\uff9e\uff9f]*")


def fold(text: str) -> Rewriting:
    """The text as it looks, in plain letters; folding again changes nothing.

    Unseen format characters are dropped, compatibility forms read as what they stand for (NFKC: full-width letters,
    ligatures, a no-break space), and in words that mix alphabets, or hold nothing but look-alikes, look-alikes are read
    as Latin letters. Words of other alphabets stay as they are, and so do the signs of `STAY`; other numbers and
    symbols that stand for several letters are read apart from the words beside them.
    """
    folded = Rewriting(text)
    if text.isascii():
        return folded
    while True:
        before = folded
        # Look-alikes before NFKC, which reads a Greek lunate sigma, a look-alike of c, as another sigma.
        for find in (_find_unseen, _find_lookalikes, _find_compatible):
            folded = rewrite_again(text, folded, find(folded.text))
        if folded.text == before.text:
            return folded


def _find_unseen(text: str) -> Iterator[Change]:
    # Joiners also hold emoji together and shape letters of other scripts, so they go beside Latin letters alone.
    for run in _UNSEEN.finditer(text):
        beside = text[max(run.start() - 1, 0) : run.start()] + text[run.end() : run.end() + 1]
        dropped = (run,) if _BESIDE_LATIN.search(beside) else _NO_JOINER.finditer(text, run.start(), run.end())
        yield from (Change(Span(*one.span()), "") for one in dropped)


def _find_compatible(text: str) -> Iterator[Change]:
    if unicodedata.is_normalized("NFKC", text):
        return
    for run in _NOT_ASCII.finditer(text):
        signs = [sign[0] for sign in _SIGN.finditer(run[0])]
        normal = [unicodedata.normalize("NFKC", sign) for sign in signs]
        if "".join(normal) == unicodedata.normalize("NFKC", run[0]):
            edges = accumulate(map(len, signs), initial=run.start())
            for span, to in zip(pairwise(edges), normal, strict=True):
                yield Change(Span(*span), _apart(text, Span(*span), to))
        else:
            # The signs of some scripts, such as the letters of a Korean syllable, are composed across signs.
            yield Change(Span(*run.span()), unicodedata.normalize("NFKC", run[0]))


def _apart(text: str, span: Span, to: str) -> str:
    """The reading of a sign, with a space to a word beside it where the sign is no letter: `2⅛` as `2 1⁄8`."""
    sign = text[slice(*span)]
    if sign == to or unicodedata.category(sign[0]) not in ("No", "So"):
        return to
    before, after = text[max(span.start - 1, 0) : span.start], text[span.end : span.end + 1]
    return f"{' ' * before.isalnum()}{to}{' ' * after.isalnum()}"


def _find_lookalikes(text: str) -> Iterator[Change]:
    has_other = _OTHER_ALPHABET.search(text) is not None
    for word in _WORD.finditer(text):
        if not _IS_LIKE_LATIN.search(word[0]):
            continue
        is_mixed = _HAS_LATIN.search(word[0]) is not None
        if is_mixed or (len(word[0]) > 1 and not has_other):
            for place, sign in enumerate(word[0], start=word.start()):
                if ord(sign) in _LATIN:
                    yield Change(Span(place, place + 1), _LATIN[ord(sign)])
