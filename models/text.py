"""From text to token rows: ids, types and character offsets, in windows when the text is long.

Needs no torch. Training, the export checks, HTTP and file scoring all read text here.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from models.errors import UserError
from models.words import Span, is_blank, line_up

Truncation = Literal["error", "right", "window"]
"""What happens to a text longer than the model reads: refuse it, cut its end off, or read it in overlapping windows."""


LONGEST_WORD = 32
"""Characters for each token that may stand beside every window: what is longer costs more to read than it can say."""

BadInputCode = Literal["empty_input", "input_too_long", "validation"]


class BadInput(UserError):
    """A text the model cannot answer for; `code` is one of the HTTP contract's, `field` the request field at fault."""

    def __init__(self, code: BadInputCode, field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field


class Segment(NamedTuple):
    """Where a field of the item stands in one of the two texts that a row is made of."""

    field: str
    sequence: int
    """0 for the row's first text, 1 for its second."""
    start: int = 0
    end: int = sys.maxsize


@dataclass(frozen=True)
class Row:
    """One line of a batch: what the model reads at once."""

    encoding: Encoding
    segments: tuple[Segment, ...]
    group: int = 0
    """Which of the item's alternatives or parts this row reads, as its task numbers them."""
    read_at: int = 0
    """Token at which attention and rollout are read, by a graph that is asked for it."""

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

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the item that stand in this row."""
        return tuple(segment.field for segment in self.segments)

    def spans(self, field: str) -> list[tuple[int, Span]]:
        """Position of each token that came from `field`, and its code points there; special tokens have none."""
        tokens = list(zip(self.encoding.sequence_ids, self.encoding.offsets, strict=True))
        return [
            (position, Span(max(start, segment.start) - segment.start, min(end, segment.end) - segment.start))
            for segment in self.segments
            if segment.field == field
            for position, (sequence, (start, end)) in enumerate(tokens)
            if sequence == segment.sequence and start < segment.end and end > segment.start
        ]

    def __len__(self) -> int:
        return len(self.encoding)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One item as the model will read it."""

    texts: Mapping[str, str]
    """By field, in reading order."""
    rows: tuple[Row, ...]
    truncated: bool
    """Whether some of the text is in no row."""
    windows: int
    """Rows that it takes to read one thing in parts: the item, or that of its alternatives which takes the most."""
    words: tuple[Span, ...] = ()
    """Where the answer is one of each word: the words of the only text."""

    @property
    def tokens(self) -> int:
        """Tokens computed for this item: special tokens and the overlap of windows included, padding not."""
        return sum(len(row) for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """How much text is read."""

    max_tokens: int
    """Longest row, special tokens included."""
    max_item_tokens: int = 65_536
    """Longest item in all its windows; a longer one is refused. What is read beside alternatives counts for each."""
    max_characters: int = 250_000
    """Longest text in code points, refused before it costs anything."""

    def __post_init__(self) -> None:
        if self.max_tokens < 8:
            raise ValueError(f"max_tokens must be at least 8, got {self.max_tokens}")


def pad(rows: Sequence[Row], pad_id: int, width: int | None = None) -> dict[str, npt.NDArray[np.int64]]:
    """Rows as a model's inputs by name, (rows, `width`) each; the mask is 0 on padding. `read_at` is (rows,).

    The width is that of the longest row unless it is given.
    """
    shape = (len(rows), max(map(len, rows)) if width is None else width)
    ids = np.full(shape, pad_id, dtype=np.int64)
    type_ids = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
        type_ids[index, : len(row)] = row.type_ids
        mask[index, : len(row)] = 1
    read_at = np.array([row.read_at for row in rows], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids, "read_at": read_at}


class Reader:
    """Turns texts into rows. Safe to share between threads: nothing in it changes after construction.

    A text longer than a row is read in windows of which neighbours share a quarter of a row; beside another text, a
    quarter of the room that is left.
    """

    def __init__(self, tokenizer: Tokenizer, limits: ReadingLimits) -> None:
        """Take a copy of `tokenizer` without its own padding and truncation, which many published files carry."""
        self.limits = limits
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # A text that spells out "[SEP]" is text, not an instruction to the model.
        self._tokenizer.encode_special_tokens = True
        # Special tokens go around windows, not texts; and processors that move offsets must do so only once.
        self._bare = Tokenizer.from_str(self._tokenizer.to_str())
        self._bare.encode_special_tokens = True
        self._bare.post_processor = None

    @classmethod
    def from_file(cls, path: Path, limits: ReadingLimits) -> Self:
        """Read a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(path)), limits)

    def read(self, text: str, *, field: str = "text", truncation: Truncation = "window") -> Encoded:
        """Rows for one text: one, or with `truncation="window"` as many as it takes.

        Raises:
            BadInput: nothing to read, or more than the limits and `truncation` allow.
        """
        tokens = self._tokenize(text, field)
        room = self._room(pair=False)
        fits = self._check_fit(len(tokens) <= room, field, truncation)
        windows = _cut(tokens, room, truncation, shared=self.limits.max_tokens // 4)
        rows = self._rows([_Group(windows, None, (Segment(field, 0),))], field)
        return Encoded(texts={field: text}, rows=rows, truncated=not fits and truncation == "right", windows=len(rows))

    def read_pair(self, texts: Mapping[str, str], *, truncation: Truncation = "window") -> Encoded:
        """Rows for two texts read together.

        Where both do not fit, the shorter stays whole as long as it takes no more than half of the row, and the longer
        is cut off or read in windows; of two long ones each window of the one meets each window of the other. A row's
        group is the number of its window of the second text.

        Raises:
            BadInput: nothing to read in one of them, or more than the limits and `truncation` allow.
        """
        (first_field, first_text), (second_field, second_text) = texts.items()
        first, second = self._tokenize(first_text, first_field), self._tokenize(second_text, second_field)
        room = self._room(pair=True)
        longer = first_field if len(first) >= len(second) else second_field
        fits = self._check_fit(len(first) + len(second) <= room, longer, truncation)
        rooms = _share_room(len(first), len(second), room)
        windows = _cut(first, rooms[0], truncation, shared=rooms[0] // 4)
        segments = (Segment(first_field, 0), Segment(second_field, 1))
        others = _cut(second, rooms[1], truncation, shared=rooms[1] // 4).encodings
        groups = [_Group(windows, beside, segments) for beside in others]
        rows = self._rows(groups, longer)
        return Encoded(texts=texts, rows=rows, truncated=not fits and truncation == "right", windows=len(rows))

    def read_against(
        self, field: str, text: str, questions: Sequence[Mapping[str, str]], *, truncation: Truncation = "window"
    ) -> Encoded:
        """Rows for one long text beside each of several short ones, whose number is the group of its rows.

        A short text is one or more fields with spaces between, and stands whole beside every window of the long one.

        Raises:
            BadInput: nothing to read in a field, or more than the limits and `truncation` allow.
        """
        tokens = self._tokenize(text, field)
        room = self._room(pair=True)
        parts = {name: part for question in questions for name, part in question.items()}
        for name, part in parts.items():
            self._check_beside(len(part), room // 2 * LONGEST_WORD, "characters", name)
            self._tokenize(part, name)
        beside = [self._tokenize_question(question, room // 2) for question in questions]
        fits = self._check_fit(len(tokens) + max(map(len, beside)) <= room, field, truncation)
        groups = [
            _Group(_cut(tokens, left, truncation, shared=left // 4), short, (Segment(field, 0), *_segments(question)))
            for question, short in zip(questions, beside, strict=True)
            for left in (room - len(short),)
        ]
        return Encoded(
            texts={field: text, **parts},
            rows=self._rows(groups, field),
            truncated=not fits and truncation == "right",
            windows=max(len(group.windows.encodings) for group in groups),
        )

    def _tokenize(self, text: str, field: str) -> Encoding:
        """The tokens of a text, without special tokens; raises BadInput."""
        if len(text) > self.limits.max_characters:
            raise BadInput(
                "input_too_long",
                field,
                f"{len(text):,} characters; at most {self.limits.max_characters:,} are read: split the text",
            )
        tokens = self._bare.encode(text)
        # Tokenizers of bytes have tokens for blanks too.
        if not len(tokens) or is_blank(text):
            raise BadInput("empty_input", field, "holds no words: it is empty or only white space and invisible signs")
        return tokens

    def _tokenize_question(self, question: Mapping[str, str], room: int) -> Encoding:
        *_, last = question
        tokens = self._tokenize(" ".join(question.values()), last)
        self._check_beside(len(tokens), room, "tokens", last)
        return tokens

    def _check_beside(self, length: int, most: int, unit: str, field: str) -> None:
        if length > most:
            raise BadInput(
                "input_too_long", field, f"{length:,} {unit} to stand in every row; at most {most:,} can: shorten it"
            )

    def _rows(self, groups: Sequence["_Group"], field: str) -> tuple[Row, ...]:
        """The rows of all groups, counted before they are made: of two long texts there are more than memory holds."""
        special = self.limits.max_tokens - self._room(pair=groups[0].beside is not None)
        tokens = sum(group.tokens + special * len(group.windows.encodings) for group in groups)
        if tokens > self.limits.max_item_tokens:
            raise BadInput(
                "input_too_long",
                field,
                f"{tokens:,} tokens in windows; at most {self.limits.max_item_tokens:,} are read: split it",
            )
        return tuple(
            Row(self._tokenizer.post_process(window, group.beside), group.segments, number)
            for number, group in enumerate(groups)
            for window in group.windows.encodings
        )

    def _room(self, *, pair: bool) -> int:
        """Tokens of text that a row holds."""
        return self.limits.max_tokens - int(self._tokenizer.num_special_tokens_to_add(pair))

    def _check_fit(self, fits: bool, field: str, truncation: Truncation) -> bool:
        if not fits and truncation == "error":
            raise BadInput(
                "input_too_long",
                field,
                f"longer than {self.limits.max_tokens} tokens; shorten it, or ask for truncation 'window' or 'right'",
            )
        return fits


@dataclass(frozen=True)
class _Windows:
    """A text in parts, and how many tokens they have together."""

    encodings: list[Encoding]
    tokens: int


@dataclass(frozen=True)
class _Group:
    """Windows of one text, each to stand beside the same other text."""

    windows: _Windows
    beside: Encoding | None
    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """Of all rows, special tokens left out."""
        return self.windows.tokens + len(self.windows.encodings) * (len(self.beside) if self.beside else 0)


def _cut(tokens: Encoding, room: int, truncation: Truncation, *, shared: int) -> _Windows:
    windows = _windows(tokens, room, shared)
    kept = windows[:1] if truncation == "right" else windows
    return _Windows(kept, sum(map(len, kept)))


def _windows(tokens: Encoding, room: int, shared: int) -> list[Encoding]:
    """Windows of `room` tokens, each but the first beginning with the last `shared` of the one before."""
    if len(tokens) <= room:
        return [tokens]
    line = Encoding.merge([tokens], False)  # a copy: what follows works in place
    # The first of what truncate makes carries the others inside it, and all is done to them again that is done to it.
    # So let that be one too many, a step ahead of the text.
    line.pad(room - shared + len(tokens), direction="left")
    line.truncate(room, stride=shared)
    windows: list[Encoding] = line.overflowing
    return windows


def _share_room(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts stand in a row: all of the shorter up to half of the row, the rest of the longer."""
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first < second else (room - shorter, shorter)


def _segments(question: Mapping[str, str]) -> Iterator[Segment]:
    """Where the fields of a question stand in a row's second text."""
    for field, (start, end) in zip(question, line_up(question.values()), strict=True):
        yield Segment(field, 1, start, end)
