"""Writes records as csv, JSON lines or parquet, whichever kind of file they were read from."""

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

BATCH_RECORDS = 1_024
"""Records of a file that are held in memory at once."""

Columns = Mapping[str, pa.DataType]
"""The names and types of columns, in order."""

T = TypeVar("T")


def survey(path: Path) -> tuple[int, Columns]:
    """The number of records in a file, unreadable ones included, and all columns that occur; reads it to the end.

    Raises:
        RecordsError: it cannot be read as records.
    """
    names = column_names(path)
    if names is None:
        return _survey_jsonl(path)
    records = count_records(path)
    if records is None:
        return sum(1 for _ in read_records(path)), dict.fromkeys(names, pa.string())
    schema = parquet.read_schema(path)
    return records, dict(zip(schema.names, schema.types, strict=True))


def write_records(path: Path, records: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    """Write a file of the kind that the name of `path` says; a column that a record lacks stays empty there."""
    _WRITERS[file_format(path)](path, records, columns)


def _survey_jsonl(path: Path) -> tuple[int, Columns]:
    count = 0
    columns: dict[str, pa.DataType] = {}
    for batch in _batches(read_records(path)):
        count += len(batch)
        records = [record.values for record in batch if isinstance(record, Record)]
        for name in dict.fromkeys(name for values in records for name in values):
            columns[name] = _join(columns.get(name, pa.null()), _kind([values.get(name) for values in records]))
    return count, {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in columns.items()}


def _kind(values: list[Any]) -> pa.DataType:
    """The type that holds all values; text with JSON in it, where values are nested or of several kinds."""
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


def _write_csv(path: Path, records: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    with _open_text(path) as file:
        write = csv.writer(file, lineterminator="\n").writerow
        # Python 3.11 sets no quotes around a lone carriage return, and then no reader takes it.
        write_quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
        write(columns)
        for record in records:
            cells = [_as_cell(record.get(name)) for name in columns]
            has_return = any("\r" in cell for cell in cells if isinstance(cell, str))
            (write_quoted if has_return else write)(cells)


def _write_jsonl(path: Path, records: Iterable[Mapping[str, Any]], _: Columns) -> None:
    with _open_text(path) as file:
        for record in records:
            file.write(_as_json(dict(record)) + "\n")


def _write_parquet(path: Path, records: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    schema = pa.schema(list(columns.items()))
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in _batches(records):
            arrays = [
                pa.array([_as_stored(record.get(name), kind) for record in batch], type=kind)
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
    """The value as it is if csv can write it, else as text."""
    return value if value is None or type(value) in (str, int, float) else _as_text(value)


def _as_text(value: Any) -> str:
    """JSON for values that JSON knows, so that they can be read back; plain text for others, such as dates."""
    return _as_json(value) if isinstance(value, bool | int | float | list | tuple | dict) else _spell(value)


def _as_json(value: Any) -> str:
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=_spell)


def _without_nan(value: Any) -> Any:
    """The value with null for NaN, which JSON does not have and data frames write for a missing number."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _spell(value: Any) -> str:
    """Dates, times, decimals and UUIDs as they are usually written; bytes in base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _as_stored(value: Any, kind: pa.DataType) -> Any:
    if value is not None and pa.types.is_string(kind):
        return _as_text(value)
    # Arrow refuses integers that a float cannot hold to the last digit.
    return float(value) if isinstance(value, int) and pa.types.is_floating(kind) else value


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_RECORDS)):
        yield batch
