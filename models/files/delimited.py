"""Reads and writes csv: values between delimiters, where a value with a delimiter or a line end stands in quotes."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.files.opening import DataFile
from models.files.rows import (
    BadRecord,
    Block,
    DamagedFile,
    Record,
    RecordBlock,
    RecordsError,
    check_unique,
    in_blocks,
    is_unicode,
    show_bytes,
)
from models.files.spelling import as_text
from models.files.text import opened_text

LONGEST_VALUE = 100_000_000
"""Most characters of a value; without a limit, a quote that is never closed would take in the rest of a large file."""

DELIMITERS = ",\t;|"
"""Signs that are looked for in the first line, in the order in which they are preferred."""

_NAMED_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n?')
"""The first line by which Excel says what the delimiter is."""


class OpenQuote(DamagedFile):
    """A quote that is never closed, so that nobody can tell where records end."""


def read(file: DataFile) -> Iterator[RecordBlock]:
    """Read the records of a csv file; raises RecordsError."""
    with opened_text(file) as text:
        yield from in_blocks(_read(file, text))


def read_header(file: DataFile) -> list[str]:
    """The columns, which the first line names; raises RecordsError."""
    with opened_text(file) as text:
        return _Table(file, text).header


class _Lines:
    """The lines of a text for `csv.reader`, of which some can be given back to be read again."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._again: list[str] = []
        self.taken: list[str] = []
        """The lines since `begin`."""
        self.number = 0
        """The number of lines that were read."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._text)
        self.taken.append(line)
        self.number += 1
        return line

    def begin(self) -> int:
        """Forget the lines that were taken; returns the number of the line that comes next."""
        self.taken = []
        return self.number + 1

    def give_back(self, count: int) -> None:
        """Put the last lines back."""
        if count:
            self._again += reversed(self.taken[-count:])
            del self.taken[-count:]
            self.number -= count


class _Table:
    """A csv file whose first line was read."""

    def __init__(self, file: DataFile, text: io.TextIOWrapper) -> None:
        csv.field_size_limit(LONGEST_VALUE)
        self.file = file
        self.lines = _Lines(text)
        self.delimiter = file.dialect.delimiter or self._find_delimiter()
        self.restart()
        self.header = self._read_header()

    def restart(self) -> None:
        """Read on at the next line, wherever the reader thought to be."""
        self.reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)

    def _find_delimiter(self) -> str:
        first = next(self.lines, "")
        if named := _NAMED_DELIMITER.fullmatch(first):
            return named[1]
        self.lines.give_back(1 if first else 0)
        unquoted = re.sub(r'"[^"]*"', "", first)
        # `max` takes the first of those that occur equally often.
        return max(DELIMITERS, key=unquoted.count)

    def _read_header(self) -> list[str]:
        name = self.file.name
        try:
            header = next(self.reader, None)
        except csv.Error as error:
            raise RecordsError(f"{name}: the first line is not csv ({error})") from error
        if not header:
            raise RecordsError(f"{name}: empty; the first line of a csv file names its columns")
        if not all(map(is_unicode, header)) or any("\0" in column for column in header):
            raise RecordsError(f"{name}: the first line is not UTF-8; save the file as UTF-8")
        check_unique(name, header)
        return header


def _read(file: DataFile, text: io.TextIOWrapper) -> Iterator[tuple[Record | BadRecord, int]]:
    table = _Table(file, text)
    lines, number = table.lines, 1
    while True:
        line = lines.begin()
        try:
            cells = next(table.reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _answer_error(table, error, number, line), sum(map(len, lines.taken))
            number += 1
            continue
        if cells:
            yield _make(table, cells, number, line), sum(map(len, lines.taken))
            number += 1


def _make(table: _Table, cells: list[str], number: int, line: int) -> Record | BadRecord:
    header, lines = table.header, table.lines
    if len(cells) == len(header) and all(map(is_unicode, cells)):
        return Record(number, dict(zip(header, cells, strict=True)), line)
    if len(cells) == len(header):
        column = next(column for column, cell in zip(header, cells, strict=True) if not is_unicode(cell))
        reason = f"the column {column!r} is not UTF-8 (line {line}); save the file as UTF-8"
    else:
        values = "1 value" if len(cells) == 1 else f"{len(cells)} values"
        span = f"line {line}" if lines.number == line else f"lines {line} to {lines.number}"
        reason = f"{values} where the first line names {len(header)} columns ({span})"
    kept = {column: show_bytes(cell) for column, cell in zip(header, cells, strict=False)}
    return BadRecord(number, reason, line, kept, _raw(lines.taken))


def _answer_error(table: _Table, error: csv.Error, number: int, line: int) -> BadRecord:
    """The bad record of a line that is not csv.

    Raises:
        OpenQuote: the error lies in a later line than the quote that opens before it, and nobody asked to skip that.
    """
    lines, name = table.lines, table.file.name
    opened = _find_open_quote(lines.taken, table.delimiter)
    at = line + opened
    if at == lines.number and "end of data" not in str(error):
        table.restart()
        return BadRecord(number, f"not csv: {error} (line {at})", line, {}, _raw(lines.taken))
    if not table.file.dialect.skips_open_quotes:
        raise OpenQuote(
            f"{name}: line {at}: a quote opens there that is not closed as csv wants it ({error}), so that the records "
            "after it cannot be told apart; close it, or go on behind that line with --on-bad-lines skip"
        )
    lines.give_back(lines.number - at)
    table.restart()
    return BadRecord(number, f"a quote opens in line {at} that is not closed", line, {}, _raw(lines.taken))


def _find_open_quote(lines: Sequence[str], delimiter: str) -> int:
    """The place of the line in which the last quote opens, up to where the lines break the rules of csv."""
    opened, is_open, closed_at = 0, False, (-1, -1)
    for place, line in enumerate(lines):
        for found in re.finditer('"', line):
            at = found.start()
            if is_open:
                is_open, closed_at = False, (place, at)
                if line[at + 1 : at + 2] not in ("", '"', delimiter, "\r", "\n"):
                    return opened
            elif closed_at == (place, at - 1):
                is_open = True  # Two quotes stand for one, and the value goes on.
            elif at == 0 or line[at - 1] == delimiter:
                is_open, opened = True, place
    return opened


def _raw(lines: Sequence[str]) -> str:
    return show_bytes("".join(lines)).rstrip("\r\n")


class CsvWriter:
    """Writes records as lines of csv, under a first line with the columns."""

    def __init__(self, file: io.TextIOBase, columns: Sequence[str], delimiter: str = ",") -> None:
        """Write the first line."""
        self._columns = columns
        self._write = csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow
        # Python 3.11 sets no quotes around a lone carriage return, and then no reader takes it.
        self._write_quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
        self._write(columns)

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a block with the values that are added; a column that one lacks stays empty there."""
        for record, more in zip(block.records(), added, strict=True):
            values = {**record.values, **more}
            cells = [as_cell(values.get(name)) for name in self._columns]
            has_return = any("\r" in cell for cell in cells if isinstance(cell, str))
            (self._write_quoted if has_return else self._write)(cells)

    def close(self) -> None:
        """Csv has no end of its own."""


def as_cell(value: Any) -> Any:
    """The value as it is if csv can write it, else as text."""
    return value if value is None or type(value) in (str, int, float) else as_text(value)
