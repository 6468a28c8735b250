"""The share of an input's tokens for which a model has no word: where it is high, the answer rests on next to nothing.

A tokenizer takes any text. What it has no word for becomes its unknown token, or falls apart into single letters.
"""

import threading
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from tokenizers import Tokenizer
from tokenizers.models import Model, WordPiece

from models.text import Encoded

WORD_STARTS = ("\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", "\N{LOWER ONE EIGHTH BLOCK}")
"""The signs with which byte-level BPE and SentencePiece begin a token that begins a word."""

KNOWN_SCRIPT_SHARE = 0.05
"""A script is known if so large a share of the tokens is written in it,"""
KNOWN_SCRIPT_TOKENS = 100
"""or so many tokens of two letters or more."""

_LOOKING = threading.Lock()
"""Models that are loaded at once and share a tokenizer wait for the first of them."""


class UnknownWords:
    """The tokens of one model that stand for no word that it knows. Threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Look through the vocabulary, unless that of the same tokenizer was looked through lately."""
        with _LOOKING:
            self.ids = unknown_ids(tokenizer)
        self._special = [int(tokenizer.num_special_tokens_to_add(is_pair)) for is_pair in (False, True)]

    def share(self, encoded: Encoded) -> float:
        """The share of such tokens among all tokens read, special tokens aside and the overlap of windows included."""
        unknown = sum(
            sum(map(self.ids.__contains__, row.ids)) for row in encoded.rows if not self.ids.isdisjoint(row.ids)
        )
        if not unknown:
            return 0.0
        special = sum(self._special[any(segment.sequence for segment in row.segments)] for row in encoded.rows)
        return unknown / (encoded.tokens - special)


@lru_cache(maxsize=2)
def unknown_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of tokens without a known word.

    They are the unknown token, a single letter that continues a word, and a single letter of a script that the
    vocabulary hardly knows: that of BERT holds some hundred Chinese signs, which say nothing to an English model.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    pieces = {token: _piece(token, tokenizer.model, vocabulary) for token in vocabulary}
    known = _known_scripts([piece.text for piece in pieces.values()])
    unknown = {
        vocabulary[token]
        for token, piece in pieces.items()
        if len(piece.text) == 1 and piece.text.isalpha() and (piece.continues or _script(piece.text) not in known)
    }
    spelt = getattr(tokenizer.model, "unk_token", None) or "<unk>"
    number = tokenizer.token_to_id(spelt)
    return frozenset(unknown if number is None else unknown | {number})


class _Piece(NamedTuple):
    """A token as text, and whether it continues a word."""

    text: str
    continues: bool


def _piece(token: str, model: Model, vocabulary: Container[str]) -> _Piece:
    if isinstance(model, WordPiece):
        prefix = model.continuing_subword_prefix
        return _Piece(token.removeprefix(prefix), token.startswith(prefix))
    if token[:1] in WORD_STARTS:
        return _Piece(token[1:], continues=False)
    # Where a letter is also a token that begins a word, the bare one stands inside words.
    return _Piece(token, any(start + token in vocabulary for start in WORD_STARTS))


def _known_scripts(texts: Iterable[str]) -> frozenset[str]:
    tokens, longer = Counter[str](), Counter[str]()
    for text in texts:
        if text[:1].isalpha():
            script = _script(text[0])
            tokens[script] += 1
            longer[script] += len(text) > 1
    least = KNOWN_SCRIPT_SHARE * tokens.total()
    return frozenset(script for script in tokens if tokens[script] >= least or longer[script] >= KNOWN_SCRIPT_TOKENS)


@cache
def _script(letter: str) -> str:
    """The script of a letter: the first word of its name in Unicode."""
    return unicodedata.name(letter, "").partition(" ")[0]
