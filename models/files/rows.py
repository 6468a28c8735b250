"""Rows of data files, one by one and in blocks, and the columns that hold a wanted value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.errors import UserError


class RecordsError(UserError):
    """A file that cannot be read as records."""


class DamagedFile(RecordsError):
    """A file that could be read up to some place, and no farther."""


class UnknownColumn(UserError):
    """A column that the data lack."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its number in the file, counted from 1, and its values by column."""

    number: int
    values: Mapping[str, Any]
    line: int | None = field(default=None, compare=False)
    """The line of the file on which it begins, counted from 1; None where the file has no lines."""
    raw: str = field(default="", compare=False, repr=False)
    """The record as the file has it, where it is an object of JSON."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that could not be read, and the reason."""

    number: int
    reason: str
    line: int | None = field(default=None, compare=False)
    values: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The columns that could be read in spite of it."""
    raw: str = field(default="", compare=False, repr=False)
    """The record as the file has it; bytes that are no text are written as `\\xff`."""


@dataclass(frozen=True, slots=True)
class LeftOutRecord(BadRecord):
    """A record that is left out because somebody said so, such as one that annotators skipped. It is no mistake."""


class Block(Protocol):
    """Consecutive records of one file, in order."""

    @property
    def first(self) -> int:
        """The number of its first record in the file, counted from 1."""

    def __len__(self) -> int:
        """The number of its records."""

    def records(self) -> Iterator[Record | BadRecord]:
        """Its records with values that Python knows."""

    def cut(self, start: int, stop: int) -> "Block":
        """The records from place `start` up to `stop` of this block."""


@dataclass(frozen=True)
class RecordBlock:
    """Records whose values Python holds, because their file is text."""

    first: int
    rows: Sequence[Record | BadRecord]

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> Iterator[Record | BadRecord]:
        """The records."""
        return iter(self.rows)

    def cut(self, start: int, stop: int) -> "RecordBlock":
        """The records from place `start` up to `stop` of this block."""
        return RecordBlock(self.first + start, self.rows[start:stop])


BLOCK_RECORDS = 1_024
"""Most records of a file that are held in memory at once."""

BLOCK_CHARACTERS = 4_000_000
"""The size from which on a block takes no more records."""


def in_blocks(records: Iterator[tuple[Record | BadRecord, int]]) -> Iterator[RecordBlock]:
    """Put records, each with its size in characters, into blocks that bound memory."""
    rows: list[Record | BadRecord] = []
    held = 0
    for record, size in records:
        rows.append(record)
        held += size
        if len(rows) >= BLOCK_RECORDS or held >= BLOCK_CHARACTERS:
            yield RecordBlock(rows[0].number, rows)
            rows, held = [], 0
    if rows:
        yield RecordBlock(rows[0].number, rows)


def look_up(values: Mapping[str, Any], name: str) -> Any:
    """The value of a column; where no column has the whole name, its dots lead into nested fields."""
    if name in values:
        return values[name]
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def root_of(available: Sequence[str], name: str) -> str:
    """The column that holds the value that `look_up` finds under a name."""
    return name if name in available else name.partition(".")[0]


def find_column(available: Sequence[str], known_as: Sequence[str], chosen: str | None = None) -> str:
    """Find a column: `chosen` if that is given, else the first of `known_as` that is available.

    A known name may be written in other case, where no column has it as it is. A chosen name with dots may lead into
    the fields of a column.

    Raises:
        UnknownColumn: it is not available; the message lists the columns that are.
    """
    wanted = [chosen] if chosen else known_as
    for name in wanted:
        if name in available or (chosen and "." in name and name.partition(".")[0] in available):
            return name
    folded = {name.casefold(): name for name in reversed(available)}
    for name in () if chosen else known_as:
        if name.casefold() in folded:
            return folded[name.casefold()]
    raise UnknownColumn(
        f"no column {' or '.join(map(repr, wanted))}; there are: {', '.join(map(repr, available)) or 'none at all'}"
    )


def check_unique(name: str, columns: Sequence[str]) -> None:
    """Refuse a file that names a column twice; raises RecordsError."""
    if len(set(columns)) < len(columns):
        twice = sorted({column for column in columns if columns.count(column) > 1})
        raise RecordsError(
            f"{name}: names a column twice: {', '.join(map(repr, twice))}; give each column a name of its own"
        )


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which stands for a byte that was not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def show_bytes(text: str) -> str:
    """The text with each byte that was not UTF-8 written as `\\xff`, and other halves of pairs as `\\ud800`."""
    if is_unicode(text):
        return text
    return "".join(_show(sign) if "\ud800" <= sign <= "\udfff" else sign for sign in text)


def _show(half: str) -> str:
    return f"\\x{ord(half) - 0xDC00:02x}" if "\udc80" <= half <= "\udcff" else f"\\u{ord(half):04x}"
