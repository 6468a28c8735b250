"""Rows written as csv, JSON lines or parquet; what is read from one kind can be written as another."""

import base64
import csv
import gzip
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from models.records import Record, column_names, count_records, file_format, read_records

BATCH_ROWS = 1_024
"""Rows of a file that are held at once."""

Columns = Mapping[str, pa.DataType]
"""Names and types, in order."""

T = TypeVar("T")


def survey(path: Path) -> tuple[int, Columns]:
    """How many rows a file holds, unreadable ones included, and all columns that occur; reads it to the end.

    Raises:
        RecordsError: it cannot be read as rows.
    """
    names = column_names(path)
    if names is None:
        return _survey_jsonl(path)
    rows = count_records(path)
    if rows is None:
        return sum(1 for _ in read_records(path)), dict.fromkeys(names, pa.string())
    schema = parquet.read_schema(path)
    return rows, dict(zip(schema.names, schema.types, strict=True))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    """Write `rows`, of the kind that the name of `path` says; a column that a row lacks is empty there."""
    _WRITERS[file_format(path)](path, rows, columns)


def _survey_jsonl(path: Path) -> tuple[int, Columns]:
    count = 0
    columns: dict[str, pa.DataType] = {}
    for batch in _batches(read_records(path)):
        count += len(batch)
        records = [row.values for row in batch if isinstance(row, Record)]
        for name in dict.fromkeys(name for values in records for name in values):
            columns[name] = _join(columns.get(name, pa.null()), _kind([values.get(name) for values in records]))
    return count, {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in columns.items()}


def _kind(values: list[Any]) -> pa.DataType:
    """The type that holds all values; text, holding JSON, where they are nested or of several kinds."""
    try:
        kind = pa.array(values).type
    except (pa.ArrowException, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_nested(kind) else kind


def _join(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    schemas = [pa.schema([("", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    with _open_text(path) as file:
        write = csv.writer(file, lineterminator="\n").writerow
        # Python 3.11 sets no quotes around a lone carriage return, and then no reader takes it.
        write_quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
        write(columns)
        for row in rows:
            cells = [_as_cell(row.get(name)) for name in columns]
            has_return = any("\r" in cell for cell in cells if isinstance(cell, str))
            (write_quoted if has_return else write)(cells)


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]], _: Columns) -> None:
    with _open_text(path) as file:
        for row in rows:
            file.write(_as_json(dict(row)) + "\n")


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    schema = pa.schema(list(columns.items()))
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows):
            arrays = [
                pa.array([_as_stored(row.get(name), kind) for row in batch], type=kind)
                for name, kind in columns.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


_WRITERS: dict[str, Callable[[Path, Iterable[Mapping[str, Any]], Columns], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


def _open_text(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8", newline=""))
    return path.open("w", encoding="utf-8", newline="")


def _as_cell(value: Any) -> Any:
    """What csv writes as it is, else text."""
    return value if value is None or type(value) in (str, int, float) else _as_text(value)


def _as_text(value: Any) -> str:
    """JSON for what JSON knows, so that truth values and lists read back as what they are; dates and such plainly."""
    return _as_json(value) if isinstance(value, bool | int | float | list | tuple | dict) else _spell(value)


def _as_json(value: Any) -> str:
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=_spell)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN, which data frames write for a number that is missing."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _spell(value: Any) -> str:
    """Dates, times, decimals and UUIDs as they are commonly written; bytes in base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _as_stored(value: Any, kind: pa.DataType) -> Any:
    if value is not None and pa.types.is_string(kind):
        return _as_text(value)
    # Arrow refuses whole numbers that a float cannot hold to the last digit.
    return float(value) if isinstance(value, int) and pa.types.is_floating(kind) else value


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch
