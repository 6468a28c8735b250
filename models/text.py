"""From text to token rows: ids, types and character offsets, in windows when the text is long.

Needs no torch. Training, the export checks, HTTP and file scoring all read text here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from models.words import Span

Truncation = Literal["error", "right", "window"]
"""What happens to a text longer than the model reads: refuse it, cut its end off, or read it in overlapping windows."""


class BadInput(ValueError):
    """A text the model cannot answer for; `code` is one of the HTTP contract's, `field` the request field at fault."""

    def __init__(self, code: Literal["empty_input", "input_too_long"], field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field


@dataclass(frozen=True)
class Row:
    """One line of a batch: what the model reads at once."""

    encoding: Encoding

    @cached_property
    def ids(self) -> list[int]:
        """Token ids, special tokens included."""
        ids: list[int] = self.encoding.ids
        return ids

    @cached_property
    def type_ids(self) -> list[int]:
        """Segment of each token: 0 for the first text and its special tokens, 1 for the second's."""
        type_ids: list[int] = self.encoding.type_ids
        return type_ids

    def spans(self, field: int = 0) -> list[tuple[int, Span]]:
        """Position and code-point span of each token that came from text number `field`; special tokens have none."""
        return [
            (position, Span(*offsets))
            for position, (sequence, offsets) in enumerate(
                zip(self.encoding.sequence_ids, self.encoding.offsets, strict=True)
            )
            if sequence == field
        ]

    def __len__(self) -> int:
        return len(self.encoding)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One item as the model will read it."""

    texts: tuple[str, ...]
    rows: tuple[Row, ...]
    truncated: bool
    """Whether some of the text is in no row."""

    @property
    def tokens(self) -> int:
        """Tokens computed for this item: special tokens and the overlap of windows included, padding not."""
        return sum(len(row) for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """How much text is read."""

    max_tokens: int
    """Longest row, special tokens included."""
    max_item_tokens: int = 16_384
    """Longest item in all its windows; a longer text is refused."""
    max_characters: int = 250_000
    """Longest text in code points, refused before it costs anything."""

    @property
    def window_overlap(self) -> int:
        """Tokens that neighbouring windows share: a quarter of a row."""
        return self.max_tokens // 4

    def __post_init__(self) -> None:
        if self.max_tokens < 8:
            raise ValueError(f"max_tokens must be at least 8, got {self.max_tokens}")


def pad(rows: Sequence[Row], pad_id: int) -> dict[str, npt.NDArray[np.int64]]:
    """Rows as a model's inputs by name, (rows, longest row) each; the mask is 0 on padding."""
    shape = (len(rows), max(map(len, rows)))
    ids = np.full(shape, pad_id, dtype=np.int64)
    type_ids = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
        type_ids[index, : len(row)] = row.type_ids
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids}


class Reader:
    """Turns texts into rows. Safe to share between threads: nothing in it changes after construction."""

    def __init__(self, tokenizer: Tokenizer, limits: ReadingLimits) -> None:
        """Take a copy of `tokenizer` without its own padding and truncation, which many published files carry."""
        self.limits = limits
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        # A text that spells out "[SEP]" is text, not an instruction to the model.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.enable_truncation(
            max_length=limits.max_tokens, stride=limits.window_overlap, strategy="only_first"
        )

    @classmethod
    def from_file(cls, path: Path, limits: ReadingLimits) -> Self:
        """Read a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(path)), limits)

    def read(self, text: str, *, field: str = "text", truncation: Truncation = "window") -> Encoded:
        """Rows for one text: one, or with `truncation="window"` as many as it takes.

        Raises:
            BadInput: nothing to read, or more than the limits and `truncation` allow.
        """
        if len(text) > self.limits.max_characters:
            raise BadInput(
                "input_too_long",
                field,
                f"{len(text):,} characters; at most {self.limits.max_characters:,} are read: split the text",
            )
        first = self._tokenizer.encode(text)
        if all(first.special_tokens_mask):
            raise BadInput("empty_input", field, "holds no words: it is empty or only white space and invisible signs")
        rows = (Row(first), *(Row(window) for window in first.overflowing))
        if len(rows) > 1 and truncation == "error":
            raise BadInput(
                "input_too_long",
                field,
                f"longer than {self.limits.max_tokens} tokens; shorten it, or ask for truncation 'window' or 'right'",
            )
        if truncation == "right":
            return Encoded(texts=(text,), rows=rows[:1], truncated=len(rows) > 1)
        encoded = Encoded(texts=(text,), rows=rows, truncated=False)
        if encoded.tokens > self.limits.max_item_tokens:
            raise BadInput(
                "input_too_long",
                field,
                f"{encoded.tokens:,} tokens in windows; at most {self.limits.max_item_tokens:,} are read: split it",
            )
        return encoded
