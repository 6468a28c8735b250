"""Examples for training and evaluation, from a folder of files or a data hub.

A folder holds csv, jsonl or parquet files and a part is named by its file, without the ending: part `sst2_train` is
`sst2_train.jsonl.gz`. On a hub, a part is a split.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from models.checkpoint import DataFile, DataSource
from models.records import BadRecord, Record, Rows, UnknownColumn, find_column, read_records
from models.tasks.task import AnyTask, Outputs, read_item
from models.text import Encoded, Reader

Use = Literal["train", "validation"]


class DataError(ValueError):
    """Data that cannot be trained or measured on."""


@dataclass(frozen=True)
class Example:
    """One item as the model reads it, with its right answer."""

    encoded: Encoded
    target: Any
    """As the task's `read_target` gives it."""


@dataclass(frozen=True)
class Part:
    """The examples of one part, and where they came from."""

    examples: tuple[Example, ...]
    origin: DataFile


def load_part(data: str, name: str, use: Use, task: AnyTask, outputs: Outputs, reader: Reader) -> Part:
    """One part: texts cut at the model's length for training, in windows as the service reads them otherwise.

    Raises:
        DataError: the part or a column is not there, or more than one row in a hundred cannot be used.
    """
    rows, digest = _open(data, name)
    examples: list[Example] = []
    bad: list[BadRecord] = []
    columns: dict[str, str] | None = None
    for row in rows:
        if isinstance(row, Record):
            columns = columns or _find_columns(row, name, task)
            read = _read_example(row, columns, use, task, outputs, reader)
        else:
            read = row
        (bad if isinstance(read, BadRecord) else examples).append(read)  # type: ignore[arg-type]
    # A few bad rows are in every data set of the wild; when they are many, something else is wrong.
    if len(bad) > 0.01 * (len(examples) + len(bad)):
        raise DataError(
            f"{name}: {len(bad)} of {len(bad) + len(examples)} rows cannot be used; "
            f"the first is row {bad[0].number}: {bad[0].reason}"
        )
    if not examples:
        raise DataError(f"{name}: no rows")
    origin = DataFile(
        part=use,
        name=name,
        sha256=digest,
        rows=len(examples),
        bad_rows=len(bad),
    )
    return Part(tuple(examples), origin)


def load_train(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> tuple[Part, ...]:
    """Every training part."""
    return tuple(load_part(source.data, name, "train", task, outputs, reader) for name in source.train)


def load_validation(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> Part:
    """The validation part."""
    return load_part(source.data, source.validation, "validation", task, outputs, reader)


def read_texts(source: DataSource, task: AnyTask) -> Iterator[tuple[str, ...]]:
    """The texts of every training row that has any, as they are: what a vocabulary is made of.

    Raises:
        DataError: a part or a column is not there.
    """
    for name in source.train:
        rows, _ = _open(source.data, name)
        columns: dict[str, str] | None = None
        for row in rows:
            if isinstance(row, Record):
                columns = columns or _find_columns(row, name, task)
                values = (row.values.get(column) for column in columns.values())
                yield tuple(value for value in values if isinstance(value, str))


def _read_example(
    row: Record, columns: Mapping[str, str], use: Use, task: AnyTask, outputs: Outputs, reader: Reader
) -> Example | BadRecord:
    try:
        item = read_item(task.example or task.item, {name: row.values.get(column) for name, column in columns.items()})
        encoded = task.encode(item, reader, "right" if use == "train" else "window")
        return Example(encoded, task.read_target(row.values.get(task.target_column), encoded, outputs))
    except ValidationError as error:
        first = error.errors()[0]
        return BadRecord(row.number, f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}")
    except ValueError as error:  # BadInput among them
        return BadRecord(row.number, str(error))


def _find_columns(row: Record, name: str, task: AnyTask) -> dict[str, str]:
    available = list(row.values)
    columns = task.example_columns or task.columns
    try:
        find_column(available, (task.target_column,))
        return {field: find_column(available, known_as) for field, known_as in columns.items()}
    except UnknownColumn as error:
        raise DataError(f"{name}: {error}") from error


def _open(data: str, name: str) -> tuple[Rows, str | None]:
    folder = Path(data)
    if not folder.is_dir():
        return _open_hub(data, name), None
    endings = (".jsonl.gz", ".jsonl", ".csv.gz", ".csv", ".parquet")
    found = [path for path in (folder / f"{name}{ending}" for ending in endings) if path.is_file()]
    if not found:
        there = sorted({path.name.split(".")[0] for path in folder.iterdir() if path.name.endswith(endings)})
        raise DataError(f"{folder}: no part {name!r}; there are: {', '.join(there) or 'no data files at all'}")
    if len(found) > 1:
        raise DataError(f"{folder}: part {name!r} is there twice: {', '.join(path.name for path in found)}")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    return read_records(found[0]), digest


def _open_hub(data: str, name: str) -> Iterator[Record]:
    # Here, not at the top: importing it takes a second, and folders need none of it.
    import datasets

    identifier, _, configuration = data.partition(":")
    try:
        rows = datasets.load_dataset(identifier, configuration or None, split=name)
    except Exception as error:
        # The library raises a dozen unrelated classes: not found, no such split, no network, a broken script.
        raise DataError(f"{data!r} is neither a folder here nor a data set that could be fetched: {error}") from error
    for number, values in enumerate(rows, start=1):
        yield Record(number, values)
