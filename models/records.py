"""Reads the records of csv, JSON-lines and parquet files one at a time; a bad record is reported and never fatal.

A record is one line of a data file. Names may end in `.gz` (csv and jsonl). Training and file scoring both read here.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from models.errors import UserError

_LONGEST_VALUE = 2_000_000
"""Most characters in a value of a csv file; without a limit, an unclosed quote would take in the rest of the file."""


class RecordsError(UserError):
    """A file that cannot be read as records."""


@dataclass(frozen=True)
class Record:
    """One record: its number in the file, counted from 1, and its values by column."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read, and the reason."""

    number: int
    reason: str


Records = Iterator[Record | BadRecord]

_KINDS = ".csv, .jsonl (both also .gz) or .parquet"


def read_records(path: Path) -> Records:
    """Read every record of `path`, in file order.

    Raises:
        RecordsError: the file is missing, of an unknown kind, or damaged as a whole.
    """
    _check_file(path)
    return _FORMATS[file_format(path)](path)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise RecordsError(f"{path}: is a folder; name a file in it: {_KINDS}")
    if not path.is_file():
        raise RecordsError(f"{path}: no such file")


def file_format(path: Path) -> str:
    """Tell from its name whether a file is `"csv"`, `"jsonl"` or `"parquet"`; raises RecordsError if it is none."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind not in _FORMATS or (kind == "parquet" and path.name.endswith(".gz")):
        raise RecordsError(f"{path}: not a known kind of file; name it {_KINDS}")
    return kind


def column_names(path: Path) -> tuple[str, ...] | None:
    """The columns in order, where the file names them once for all records (csv, parquet); else None.

    Raises:
        RecordsError: the file is missing, of an unknown kind, or damaged as a whole.
    """
    _check_file(path)
    match file_format(path):
        case "csv":
            return tuple(_read_header(path, _csv_reader(path)))
        case "parquet":
            try:
                names = parquet.read_schema(path).names
            except (OSError, ValueError) as error:
                raise _unreadable_parquet(path, error) from error
            _check_unique(path, names)
            return tuple(names)
        case _:
            return None


def count_records(path: Path) -> int | None:
    """Number of records, where the file says so without being read (parquet); else None."""
    return int(parquet.read_metadata(path).num_rows) if file_format(path) == "parquet" else None


class UnknownColumn(UserError):
    """A column that the data lack."""


def find_column(available: Sequence[str], known_as: Sequence[str], chosen: str | None = None) -> str:
    """Find a column: `chosen` if that is given, else the first of `known_as` that is available.

    Raises:
        UnknownColumn: it is not available; the message lists the columns that are.
    """
    wanted = [chosen] if chosen else known_as
    for name in wanted:
        if name in available:
            return name
    raise UnknownColumn(f"no column {' or '.join(map(repr, wanted))}; there are: {', '.join(map(repr, available))}")


def _open_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordsError(f"{path}: damaged gzip file ({error})") from error


def _read_jsonl(path: Path) -> Records:
    for number, line in enumerate(_open_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            yield BadRecord(number, f"not UTF-8 at byte {error.start}")
        except (ValueError, RecursionError) as error:
            yield BadRecord(number, f"not JSON: {error}")
        else:
            if not isinstance(values, dict):
                yield BadRecord(number, f"not a JSON object but a {type(values).__name__}")
            elif b"\\ud" in line.lower() and not _is_unicode(json.dumps(values, ensure_ascii=False)):
                yield BadRecord(number, "not Unicode: half of a surrogate pair")
            else:
                yield Record(number, values)


def _read_csv(path: Path) -> Records:
    reader = _csv_reader(path)
    header = _read_header(path, reader)
    number = 0
    while True:
        number += 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRecord(number, f"not csv: {error}")
            continue
        if not values:
            continue
        if len(values) != len(header):
            yield BadRecord(number, f"{len(values)} values where the first line names {len(header)} columns")
        elif any(not _is_unicode(value) for value in values):
            yield BadRecord(number, "not UTF-8")
        else:
            yield Record(number, dict(zip(header, values, strict=True)))


def _csv_reader(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_VALUE)
    lines = (
        line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")
        for number, line in enumerate(_open_lines(path))
    )
    return csv.reader(lines, strict=True)


def _read_header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise RecordsError(f"{path}: the first line is not csv ({error})") from error
    if not header:
        raise RecordsError(f"{path}: empty; the first line of a csv file names its columns")
    if not all(map(_is_unicode, header)):
        raise RecordsError(f"{path}: the first line is not UTF-8; save the file as UTF-8")
    _check_unique(path, header)
    return header


def _check_unique(path: Path, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise RecordsError(f"{path}: names a column twice: {', '.join(names)}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path) -> Records:
    column_names(path)
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in _convert(batch):
                    number += 1
                    yield Record(number, row) if isinstance(row, dict) else BadRecord(number, row)
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these two
        raise _unreadable_parquet(path, error) from error


def _convert(batch: pa.RecordBatch) -> list[dict[str, Any] | str]:
    """The values of each record, or the reason why Python cannot hold them, such as a date before the year 1."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [f"a value that cannot be held: {error}"]
    return [row for number in range(batch.num_rows) for row in _convert(batch.slice(number, 1))]


def _unreadable_parquet(path: Path, error: Exception) -> RecordsError:
    return RecordsError(f"{path}: not a parquet file that can be read ({error})")


_FORMATS: dict[str, Callable[[Path], Records]] = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
