"""From text to token rows: ids, types and character offsets, in windows when the text is long.

Needs no torch. Training, the export checks, HTTP and file scoring all read text here.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from models.correction.reading import Correction
from models.correction.rewriting import Change, Rewriting
from models.errors import UserError
from models.tokenizer import ReadingTokenizer, open_tokenizer
from models.words import Span, is_blank, line_up

Truncation = Literal["error", "right", "window"]
"""How to treat a text longer than the model reads: refuse it, cut its end off, or read it in overlapping windows."""

LONGEST_WORD = 32
"""Characters allowed for each token of a text that stands beside every window. A longer text is refused unread, because
reading it would cost more than it can say."""

LONG_TEXT = 4_096
"""Code points from which other threads run while a text is tokenized: 250,000 of them take an eighth of a second."""

Target = Mapping[tuple[int, ...], float]
"""A weighted sum of a row's logits, as the weight of each logit that counts: {(1,): 1.0, (0,): -1.0}, or by token and
label {(7, 3): 1.0}."""

BadInputCode = Literal["empty_input", "input_too_long", "unknown_words", "validation"]


class BadInput(UserError):
    """A text that the model cannot read; `code` is one of the HTTP contract's, `field` the request field at fault.

    `field` is empty where the whole item is.
    """

    def __init__(self, code: BadInputCode, field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field


class Segment(NamedTuple):
    """The place of an item's field in one of the two texts that a row is made of."""

    field: str
    sequence: int
    """0 for the row's first text, 1 for its second."""
    start: int = 0
    end: int = sys.maxsize
    rewriting: Rewriting | None = None
    """How the field is read, where that is not as it was written; then the place is that of the text that is read."""


@dataclass(frozen=True)
class Row:
    """One token sequence of a batch, read by the model at once."""

    encoding: Encoding
    segments: tuple[Segment, ...]
    group: int = 0
    """Number of the alternative, or of the part of the item, that this row reads; the task numbers them."""
    read_at: int = 0
    """Position of the token at which attention and rollout are read, by a graph that takes it as an input."""
    target: Target | None = None
    """The sum of logits that a decomposition explains; None for the graph's own choice, the predicted label."""

    @cached_property
    def ids(self) -> list[int]:
        """Token ids, special tokens included."""
        ids: list[int] = self.encoding.ids
        return ids

    @cached_property
    def type_ids(self) -> list[int]:
        """Segment of each token: 0 for the first text and its special tokens, 1 for the second text and its own."""
        type_ids: list[int] = self.encoding.type_ids
        return type_ids

    @property
    def fields(self) -> tuple[str, ...]:
        """The item's fields that stand in this row."""
        return tuple(segment.field for segment in self.segments)

    def spans(self, field: str) -> list[tuple[int, Span]]:
        """Position of each token that came from `field`, with its code points there; special tokens have none.

        Tokens that were read in place of other code points share the place of those.
        """
        tokens = list(zip(self.encoding.sequence_ids, self.encoding.offsets, strict=True))
        return [
            (position, _written(segment, max(start, segment.start), min(end, segment.end)))
            for segment in self.segments
            if segment.field == field
            for position, (sequence, (start, end)) in enumerate(tokens)
            if sequence == segment.sequence and start < segment.end and end > segment.start
        ]

    def __len__(self) -> int:
        return len(self.encoding)


def _written(segment: Segment, start: int, end: int) -> Span:
    span = Span(start - segment.start, end - segment.start)
    return span if segment.rewriting is None else segment.rewriting.written(span)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One item, tokenized as the model will read it."""

    texts: Mapping[str, str]
    """The item's texts by field, in reading order."""
    rows: tuple[Row, ...]
    truncated: bool
    """Whether some of the text is in no row, because it was cut off."""
    windows: int
    """Rows needed to read the item; of an item with alternatives, the most rows that one of them needs."""
    words: tuple[Span, ...] = ()
    """The words of the only text, for tasks that answer for each word; else empty."""
    corrections: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    """By field, what was read as something else than was written; fields that were read as written are not there."""

    @cached_property
    def tokens(self) -> int:
        """Tokens computed for this item, with special tokens and the overlap of windows, without padding."""
        return sum(len(row) for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """How much text a reader takes."""

    max_tokens: int
    """Most tokens in a row, special tokens included."""
    max_item_tokens: int = 65_536
    """Most tokens in all windows of an item; a longer item is refused. A text that is read beside several alternatives
    counts once for each."""
    max_characters: int = 250_000
    """Most code points in a text; a longer text is refused before it costs anything."""

    def __post_init__(self) -> None:
        if self.max_tokens < 8:
            raise ValueError(f"max_tokens must be at least 8, got {self.max_tokens}")


def pad(rows: Sequence[Row], pad_id: int, width: int | None = None) -> dict[str, npt.NDArray[np.int64]]:
    """Pad rows to one width and return the model's inputs by name.

    Each input is (rows, `width`), and the mask is 0 on padding; `read_at` is (rows,). The width defaults to that of the
    longest row.
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


def pad_targets(rows: Sequence[Row], sizes: Sequence[int]) -> npt.NDArray[np.float32]:
    """The targets of rows as (rows, *sizes), where sizes are those of a row's padded logits; 0 where a row has none."""
    targets = np.zeros((len(rows), *sizes), dtype=np.float32)
    for number, row in enumerate(rows):
        for place, weight in (row.target or {}).items():
            targets[number, *place] = weight
    return targets


class Reader:
    """Turns texts into rows. Threads may share a reader: nothing in it changes after construction.

    A text longer than a row is read in overlapping windows. Neighbouring windows share a quarter of a row, or a quarter
    of the room that a text beside them leaves.
    """

    def __init__(
        self, tokenizer: Tokenizer | ReadingTokenizer, limits: ReadingLimits, correction: Correction | None = None
    ) -> None:
        """Read by copies of `tokenizer` without its own padding and truncation; texts are corrected before it."""
        self.limits = limits
        self._correction = correction
        self._tokenizers = tokenizer if isinstance(tokenizer, ReadingTokenizer) else ReadingTokenizer.of(tokenizer)
        self._tokenizer = self._tokenizers.whole
        self._bare = self._tokenizers.bare

    @classmethod
    def from_file(cls, path: Path, limits: ReadingLimits, correction: Correction | None = None) -> Self:
        """Read a `tokenizer.json`; readers of equal files share what it says."""
        return cls(open_tokenizer(path), limits, correction)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, for looking up; it must not be changed."""
        return self._tokenizer

    def token_id(self, token: str) -> int | None:
        """The id of a token, special or not; None where the vocabulary has no such token."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def token(self, number: int) -> str | None:
        """The token of an id, special or not; None where the vocabulary has none."""
        found: str | None = self._tokenizer.id_to_token(number)
        return found

    def read(self, text: str, *, field: str = "text", truncation: Truncation = "window") -> Encoded:
        """Make the rows of one text: a single row, or as many windows as it takes with `truncation="window"`.

        Raises:
            BadInput: the text holds no words, or more than the limits and `truncation` allow.
        """
        taken = self._take({field: text})[field]
        room = self._room(pair=False)
        fits = self._check_fit(len(taken.tokens), room, field, truncation)
        windows = _cut(taken.tokens, room, truncation, shared=self.limits.max_tokens // 4)
        rows = self._rows([_Group(windows, None, (taken.segment(field, 0),))], field)
        return Encoded(
            texts={field: text},
            rows=rows,
            truncated=not fits and truncation == "right",
            windows=len(rows),
            corrections=_corrections({field: taken}),
        )

    def read_pair(self, texts: Mapping[str, str], *, truncation: Truncation = "window") -> Encoded:
        """Make the rows of two texts that are read together.

        Where both do not fit in a row, the longer one is cut off or read in windows. The shorter one stays whole as
        long as it takes no more than half of the row. Where both are longer, each window of the one meets each window
        of the other. A row's group is the number of its window of the second text.

        Raises:
            BadInput: one of them holds no words, or they hold more than the limits and `truncation` allow.
        """
        first_field, second_field = texts
        taken = self._take(texts)
        first, second = taken[first_field].tokens, taken[second_field].tokens
        room = self._room(pair=True)
        longer = first_field if len(first) >= len(second) else second_field
        fits = self._check_fit(len(first) + len(second), room, longer, truncation)
        rooms = _share_room(len(first), len(second), room)
        windows = _cut(first, rooms[0], truncation, shared=rooms[0] // 4)
        segments = tuple(one.segment(name, number) for number, (name, one) in enumerate(taken.items()))
        others = _cut(second, rooms[1], truncation, shared=rooms[1] // 4).encodings
        groups = [_Group(windows, beside, segments) for beside in others]
        rows = self._rows(groups, longer)
        return Encoded(
            texts=texts,
            rows=rows,
            truncated=not fits and truncation == "right",
            windows=len(rows),
            corrections=_corrections(taken),
        )

    def read_against(
        self, field: str, text: str, questions: Sequence[Mapping[str, str]], *, truncation: Truncation = "window"
    ) -> Encoded:
        """Make the rows of one long text beside each of several short ones.

        A short text is one or more fields joined by spaces. It stands whole beside every window of the long text, and
        its number is the group of these rows.

        Raises:
            BadInput: a field holds no words, or they hold more than the limits and `truncation` allow.
        """
        room = self._room(pair=True)
        parts = {name: part for question in questions for name, part in question.items()}
        for name, part in parts.items():
            self._check_beside(len(part), room // 2 * LONGEST_WORD, "characters", name)
        taken = self._take({field: text, **parts})
        tokens = taken[field].tokens
        beside = [
            self._tokenize_question({name: taken[name].read for name in question}, room // 2) for question in questions
        ]
        fits = self._check_fit(len(tokens) + max(map(len, beside)), room, field, truncation)
        groups = [
            _Group(
                _cut(tokens, left, truncation, shared=left // 4),
                short,
                (taken[field].segment(field, 0), *_segments({name: taken[name] for name in question})),
            )
            for question, short in zip(questions, beside, strict=True)
            for left in (room - len(short),)
        ]
        return Encoded(
            texts={field: text, **parts},
            rows=self._rows(groups, field),
            truncated=not fits and truncation == "right",
            windows=max(len(group.windows.encodings) for group in groups),
            corrections=_corrections(taken),
        )

    def _take(self, texts: Mapping[str, str]) -> dict[str, "_Taken"]:
        """Correct the texts of an item together, and tokenize each; raises BadInput."""
        for name, text in texts.items():
            if len(text) > self.limits.max_characters:
                raise BadInput(
                    "input_too_long",
                    name,
                    f"{len(text):,} characters; at most {self.limits.max_characters:,} are read: split the text",
                )
        if self._correction is None:
            return {name: self._tokenize(Rewriting(text), name) for name, text in texts.items()}
        return {name: self._tokenize(one, name) for name, one in self._correction.read(texts).items()}

    def _tokenize(self, rewriting: Rewriting, field: str) -> "_Taken":
        """Tokenize a text as it is read, without special tokens; raises BadInput."""
        # `encode` keeps Python's global lock to its end; a batch gives the same tokens and lets other threads run.
        is_long = len(rewriting.text) >= LONG_TEXT
        tokens = self._bare.encode_batch([rewriting.text])[0] if is_long else self._bare.encode(rewriting.text)
        # Tokenizers that work on bytes have tokens for blanks too.
        if not len(tokens) or is_blank(rewriting.text):
            raise BadInput("empty_input", field, "holds no words: it is empty or only white space and invisible signs")
        return _Taken(tokens, rewriting)

    def _tokenize_question(self, question: Mapping[str, str], room: int) -> Encoding:
        """Tokenize the parts of a question, as they are read, in one text."""
        *_, last = question
        tokens = self._bare.encode(" ".join(question.values()))
        self._check_beside(len(tokens), room, "tokens", last)
        return tokens

    def _check_beside(self, length: int, most: int, unit: str, field: str) -> None:
        if length > most:
            raise BadInput(
                "input_too_long", field, f"{length:,} {unit} to stand in every row; at most {most:,} can: shorten it"
            )

    def _rows(self, groups: Sequence["_Group"], field: str) -> tuple[Row, ...]:
        """Make the rows of all groups. Tokens are counted first: two long texts can need more rows than memory has."""
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
        """Number of tokens that a row has room for beside its special tokens."""
        return self.limits.max_tokens - int(self._tokenizer.num_special_tokens_to_add(pair))

    def _check_fit(self, length: int, room: int, field: str, truncation: Truncation) -> bool:
        """Whether so many tokens fit in a row; raises BadInput where they may not be cut, or no windows would do."""
        most, fits = self.limits.max_item_tokens, length <= room
        if truncation == "window" and length > most:
            # Windows have more, and to cut them takes long.
            raise BadInput("input_too_long", field, f"{length:,} tokens; at most {most:,} are read: split it")
        if not fits and truncation == "error":
            raise BadInput(
                "input_too_long",
                field,
                f"longer than {self.limits.max_tokens} tokens; shorten it, or ask for truncation 'window' or 'right'",
            )
        return fits


@dataclass(frozen=True)
class _Taken:
    """The tokens of one text, and how it is read."""

    tokens: Encoding
    rewriting: Rewriting

    @property
    def read(self) -> str:
        """The text that is read."""
        return self.rewriting.text

    def segment(self, field: str, sequence: int, place: tuple[int, int] = (0, sys.maxsize)) -> Segment:
        """The place of the text in rows."""
        return Segment(field, sequence, *place, self.rewriting if self.rewriting.changes else None)


@dataclass(frozen=True)
class _Windows:
    """The windows of one text, and the number of tokens in all of them."""

    encodings: list[Encoding]
    tokens: int


@dataclass(frozen=True)
class _Group:
    """Windows of one text, all of which stand beside the same other text."""

    windows: _Windows
    beside: Encoding | None
    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens in all rows of the group, without special tokens."""
        return self.windows.tokens + len(self.windows.encodings) * (len(self.beside) if self.beside else 0)


def _cut(tokens: Encoding, room: int, truncation: Truncation, *, shared: int) -> _Windows:
    windows = _windows(tokens, room, shared)
    kept = windows[:1] if truncation == "right" else windows
    return _Windows(kept, sum(map(len, kept)))


def _windows(tokens: Encoding, room: int, shared: int) -> list[Encoding]:
    """Cut a text into windows of `room` tokens, each beginning with the last `shared` tokens of the one before."""
    if len(tokens) <= room:
        return [tokens]
    line = Encoding.merge([tokens], False)  # a copy, because padding and truncating work in place
    # `truncate` returns one encoding with the overflowing ones nested in it, and later steps apply to all of them. So
    # padding puts one window too many ahead of the text: that one carries the others, and is dropped.
    line.pad(room - shared + len(tokens), direction="left")
    line.truncate(room, stride=shared)
    windows: list[Encoding] = line.overflowing
    return windows


def _share_room(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens of two texts in a row: the shorter gets what it needs, up to half of the row, and the longer the rest."""
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first < second else (room - shorter, shorter)


def _segments(question: Mapping[str, _Taken]) -> Iterator[Segment]:
    """The places of a question's fields in a row's second text."""
    for (name, taken), place in zip(question.items(), line_up(one.read for one in question.values()), strict=True):
        yield taken.segment(name, 1, place)


def _corrections(taken: Mapping[str, _Taken]) -> dict[str, tuple[Change, ...]]:
    return {name: one.rewriting.changes for name, one in taken.items() if one.rewriting.changes}
