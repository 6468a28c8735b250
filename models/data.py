"""Reads examples for training and evaluation from a folder of files or from a data hub.

A folder holds files of any kind that `models.files` reads. A part is named by its file without the ending: part
`sst2_train` is `sst2_train.jsonl.gz`. On a hub, a part is a split.
"""

import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from models.checkpoint import DataFile, DataSource
from models.errors import UserError, first_mistake
from models.files.formats import Records, read_records, stem_of
from models.files.rows import BadRecord, Record, UnknownColumn, find_column
from models.files.storage import LOCAL_DISK
from models.hub import give_up_at_first_failure
from models.tasks.task import AnyTask, Item, Outputs, read_item
from models.text import Encoded, Reader, Truncation

ONE_OF = TypeVar("ONE_OF")

Use = Literal["train", "unlabelled", "validation"]

GROUP_COLUMN = "pair_id"

TARGET_COLUMNS = {
    "label": ("label", "labels", "gold_label", "target", "class"),
    "tags": ("tags", "ner_tags"),
    "score": ("score", "similarity_score", "relatedness_score", "similarity"),
}
"""Names of the column of right answers, by the one that a task declares; the first that is there is taken."""

_LOOKED_AT = 1_000
"""Records at the beginning of a part in which its columns are looked for."""


class DataError(UserError):
    """Data that cannot be trained or measured on."""


@dataclass(frozen=True)
class Example:
    """One item as the model reads it, with its right answer."""

    encoded: Encoded
    target: Any
    """The value that the task's `read_target` returned; None for an unlabelled example."""
    group: str | None = None
    """Examples of one group are versions of each other, as in contrast sets; it is read from column `pair_id`."""
    item: Item | None = None
    """The item itself, of which noisy copies can be made; None where the example was not read from one."""


@dataclass(frozen=True)
class Part:
    """The examples of one part, and the file that they were read from."""

    examples: tuple[Example, ...]
    origin: DataFile


@dataclass(frozen=True)
class Columns:
    """The columns of a part that are read."""

    fields: Mapping[str, str]
    """The column that holds each field of the item."""
    target: str | None
    """The column of right answers; None where they are not read, or the texts themselves hold them."""


Selection = Callable[[Records], Records]
"""Picks the wanted records of a part."""


def load_part(
    data: str, name: str, use: Use, task: AnyTask, outputs: Outputs, reader: Reader, select: Selection = iter
) -> Part:
    """Read one part. Texts are cut at the model's length for training, and read in windows for validation.

    An unlabelled part may lack the column of right answers; where there is one, it is not read.

    Raises:
        DataError: the part or a column is missing, or more than one record in a hundred cannot be used.
    """
    records, digest = _open(data, name)
    records = select(records)
    examples: list[Example] = []
    bad: list[BadRecord] = []

    def read(record: Record, columns: Columns) -> Example | BadRecord:
        return _read_example(record, columns, use, task, outputs, reader)

    for found in _read_each(records, name, task, use, read):
        (bad if isinstance(found, BadRecord) else examples).append(found)  # type: ignore[arg-type]
    # Every real data set has a few bad records; if there are many, something else is wrong.
    if len(bad) > 0.01 * (len(examples) + len(bad)):
        raise _unusable(name, bad, len(bad) + len(examples))
    if not examples:
        raise DataError(f"{name}: no records")
    origin = DataFile(
        part=use,
        name=name,
        sha256=digest,
        rows=len(examples),
        bad_rows=len(bad),
    )
    return Part(tuple(examples), origin)


def load_train(
    source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader, rows: int | None = None
) -> tuple[Part, ...]:
    """Read every training part; with `rows`, only that many records, drawn from all parts together and kept in order.

    The draw depends only on the number of records in each part, so every method and seed sees the same ones. A part of
    which no record is drawn is left out.

    Raises:
        DataError: a part or a column is missing, too many records cannot be used, or there are fewer than `rows`.
    """
    selected = _select_train(source, rows)
    return tuple(load_part(source.data, name, "train", task, outputs, reader, select) for name, select in selected)


def load_unlabelled(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> tuple[Part, ...]:
    """Read every part to learn from without right answers; raises DataError."""
    return tuple(load_part(source.data, name, "unlabelled", task, outputs, reader) for name in source.unlabelled)


def load_validation(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> Part:
    """Read the validation part; raises DataError."""
    return load_part(source.data, source.validation, "validation", task, outputs, reader)


def load_items(data: str, name: str, task: AnyTask, most: int | None = None) -> Sequence[Item]:
    """Read the texts of one part, or `most` of them drawn always alike, as callers send them; bad records are left out.

    Raises:
        DataError: the part or a column is missing, or no record can be used.
    """
    items: list[Item] = []
    bad: list[BadRecord] = []

    def read(record: Record, columns: Columns) -> Item | BadRecord:
        try:
            return _read_item(record, columns, task).as_request()
        except ValidationError as error:
            return BadRecord(record.number, str(first_mistake(error)))

    for found in _read_each(read_part(data, name), name, task, "unlabelled", read):
        (bad if isinstance(found, BadRecord) else items).append(found)  # type: ignore[arg-type]
    if not items:
        raise _unusable(name, bad, len(bad))
    return draw_rows(items, most)


@dataclass(frozen=True)
class AnsweredRecord:
    """A record of a data file as an item with its right answer."""

    record: Record
    columns: Mapping[str, str]
    """The column that holds each field of the item."""
    item: Item
    encoded: Encoded
    target: Any
    """The value that the task's `read_target` returned."""


def load_answered(
    data: str, name: str, task: AnyTask, outputs: Outputs, reader: Reader, most: int | None = None
) -> list[AnsweredRecord]:
    """Read the records of one part, or the first `most` of them; bad records are left out.

    Raises:
        DataError: the part or a column is missing, or no record can be used.
    """
    answered: list[AnsweredRecord] = []
    bad: list[BadRecord] = []

    def read(record: Record, columns: Columns) -> AnsweredRecord | BadRecord:
        return _read_answered(record, columns, "window", task, outputs, reader)

    for found in _read_each(read_part(data, name), name, task, "validation", read):
        (bad if isinstance(found, BadRecord) else answered).append(found)  # type: ignore[arg-type]
        if len(answered) == most:
            break
    if not answered:
        raise _unusable(name, bad, len(bad))
    return answered


def check_columns(data: str, name: str, task: AnyTask) -> None:
    """Refuse a part that lacks a column with texts of the task; it is read up to the first record that has them.

    Raises:
        DataError: the part or a column is missing.
    """
    found = _read_each(read_part(data, name), name, task, "unlabelled", lambda record, _: record)
    next((one for one in found if isinstance(one, Record)), None)


def draw_rows(rows: Sequence[ONE_OF], most: int | None, groups: Sequence[str | None] | None = None) -> Sequence[ONE_OF]:
    """Draw at most `most` rows, in order and groups whole. The draw depends only on the groups and their sizes."""
    if most is None or len(rows) <= most:
        return rows
    together: dict[str, list[int]] = {}
    for place, group in enumerate(groups or [None] * len(rows)):
        together.setdefault(f"alone {place}" if group is None else f"group {group}", []).append(place)
    drawn: list[int] = []
    for places in random.Random(0).sample(list(together.values()), len(together)):
        if len(drawn) + len(places) <= most:
            drawn.extend(places)
    return [rows[place] for place in sorted(drawn)]


def read_texts(source: DataSource, task: AnyTask, rows: int | None = None) -> Iterator[tuple[str, ...]]:
    """The raw texts of every record that `load_train` reads, to make a vocabulary of.

    Raises:
        DataError: a part or a column is missing, or there are fewer records than `rows`.
    """
    for name, select in _select_train(source, rows):
        for texts in _read_each(select(read_part(source.data, name)), name, task, "train", _texts_of):
            if not isinstance(texts, BadRecord):
                yield texts


def read_answers(source: DataSource, task: AnyTask) -> Iterator[Any]:
    """The right answers of all records of the training parts, as the files have them.

    Bad records, and those whose texts cannot be read, are left out: no example has their answers.

    Raises:
        DataError: a part or a column is missing.
    """
    for name in source.train:
        answers = _read_each(read_part(source.data, name), name, task, "train", partial(_usable_answer, task=task))
        yield from (answer for answer in answers if not isinstance(answer, BadRecord))


def declared_labels(source: DataSource, task: AnyTask) -> tuple[str, ...] | None:
    """The names that a hub's data set has for the numbers of its labels, in their order; None where it has none.

    Raises:
        DataError: the data set cannot be fetched, or a column is missing.
    """
    if Path(source.data).is_dir():
        return None
    name = source.train[0]
    features = _fetch(source.data, name).features
    target = _find_columns(Record(1, dict(features)), name, task, "train").target
    return class_names(features, target)


def class_names(features: Mapping[str, Any], column: str | None) -> tuple[str, ...] | None:
    """The names of the classes of a column, by the features of a data set; None for a column without classes."""
    names = getattr(features.get(column or ""), "names", None)
    return tuple(names) if names else None


def read_part(data: str, name: str) -> Records:
    """Read the records of one part as its file has them; raises DataError."""
    return _open(data, name)[0]


def has_part(data: str, name: str) -> bool:
    """Whether `data` is a folder with that part. Hubs are not asked."""
    return Path(data).is_dir() and bool(_part_files(Path(data), name))


def _select_train(source: DataSource, rows: int | None) -> list[tuple[str, Selection]]:
    if rows is None:
        return [(name, iter) for name in source.train]
    counts = [sum(1 for _ in read_part(source.data, name)) for name in source.train]
    if rows > sum(counts):
        raise DataError(f"rows: {rows} are wanted, and {', '.join(source.train)} hold {sum(counts)}")
    drawn = random.Random(0).sample(range(sum(counts)), rows)
    selected: list[tuple[str, Selection]] = []
    for name, count, before in zip(source.train, counts, itertools.accumulate(counts, initial=0), strict=False):
        if places := frozenset(place - before for place in drawn if before <= place < before + count):
            selected.append((name, partial(_take, places)))
    return selected


def _take(places: Collection[int], records: Records) -> Records:
    return (record for place, record in enumerate(records) if place in places)


def _read_each(
    records: Records,
    name: str,
    task: AnyTask,
    use: Use,
    read: Callable[[Record, Columns], ONE_OF | BadRecord],
) -> Iterator[ONE_OF | BadRecord]:
    """Read every record by the columns of the first that has them all; a bad record stays as it is.

    Raises:
        DataError: no record has all columns, or none of the first `_LOOKED_AT`.
    """
    columns: Columns | None = None
    missing: DataError | None = None
    for number, record in enumerate(records):
        if isinstance(record, BadRecord):
            yield record
            continue
        if columns is None:
            try:
                columns = _find_columns(record, name, task, use)
            except DataError as error:
                missing = missing or error
                if number >= _LOOKED_AT:
                    raise missing from None
                yield BadRecord(record.number, str(error).removeprefix(f"{name}: "))
                continue
        yield read(record, columns)
    if columns is None and missing is not None:
        raise missing


def _texts_of(record: Record, columns: Columns) -> tuple[str, ...]:
    values = (record.values.get(column) for column in columns.fields.values())
    return tuple(value for value in values if isinstance(value, str))


def _answer_of(record: Record, columns: Columns) -> Any:
    return None if columns.target is None else record.values.get(columns.target)


def _usable_answer(record: Record, columns: Columns, *, task: AnyTask) -> Any:
    try:
        _read_item(record, columns, task)
    except ValidationError as error:
        return BadRecord(record.number, str(first_mistake(error)))
    return _answer_of(record, columns)


def _read_item(record: Record, columns: Columns, task: AnyTask) -> Item:
    values = {field: record.values.get(column) for field, column in columns.fields.items()}
    item: Item = read_item(task.example or task.item, values)
    return item


def _read_example(
    record: Record, columns: Columns, use: Use, task: AnyTask, outputs: Outputs, reader: Reader
) -> Example | BadRecord:
    truncation: Truncation = "window" if use == "validation" else "right"
    read = _read_answered(record, columns, truncation, task, outputs, reader, is_labelled=use != "unlabelled")
    if isinstance(read, BadRecord):
        return read
    group = record.values.get(GROUP_COLUMN)
    return Example(read.encoded, read.target, None if group is None else str(group), read.item)


def _read_answered(
    record: Record,
    columns: Columns,
    truncation: Truncation,
    task: AnyTask,
    outputs: Outputs,
    reader: Reader,
    *,
    is_labelled: bool = True,
) -> AnsweredRecord | BadRecord:
    """The item of a record, and its right answer unless it is to be read without."""
    try:
        item = _read_item(record, columns, task)
        encoded = task.encode(item, reader, truncation)
        target = task.read_target(_answer_of(record, columns), encoded, outputs) if is_labelled else None
        return AnsweredRecord(record, columns.fields, item, encoded, target)
    except ValidationError as error:
        return BadRecord(record.number, str(first_mistake(error)))
    except ValueError as error:  # BadInput among them
        return BadRecord(record.number, str(error))


def _unusable(name: str, bad: Sequence[BadRecord], count: int) -> DataError:
    """The error that says how many of the records of a part cannot be used, and why the first of them cannot."""
    if not bad:
        return DataError(f"{name}: no records")
    first = bad[0]
    return DataError(
        f"{name}: {len(bad)} of {count} records cannot be used; the first is record {first.number}: {first.reason}"
    )


def _find_columns(record: Record, name: str, task: AnyTask, use: Use) -> Columns:
    available = list(record.values)
    columns = task.example_columns or task.columns
    try:
        fields = {field: find_column(available, known_as) for field, known_as in columns.items()}
        if use == "unlabelled" or task.target_column is None:
            return Columns(fields, None)
        names = TARGET_COLUMNS.get(task.target_column, (task.target_column,))
        return Columns(fields, find_column(available, names))
    except UnknownColumn as error:
        raise DataError(f"{name}: {error}") from error


def _open(data: str, name: str) -> tuple[Records, str | None]:
    folder = Path(data)
    if not folder.is_dir():
        return _open_hub(data, name), None
    found = _part_files(folder, name)
    if not found:
        there = sorted({stem for path in folder.iterdir() if (stem := stem_of(path.name))})
        raise DataError(f"{folder}: no part {name!r}; there are: {', '.join(there) or 'no data files at all'}")
    if len(found) > 1:
        raise DataError(f"{folder}: part {name!r} is there twice: {', '.join(path.name for path in found)}")
    digest = LOCAL_DISK.digest(str(found[0]))
    return read_records(found[0]), digest


def _part_files(folder: Path, name: str) -> list[Path]:
    wanted = folder / name
    if not wanted.parent.is_dir():
        return []
    return [path for path in sorted(wanted.parent.iterdir()) if stem_of(path.name) == wanted.name and path.is_file()]


def _open_hub(data: str, name: str) -> Iterator[Record]:
    for number, values in enumerate(_fetch(data, name), start=1):
        yield Record(number, values)


def _fetch(data: str, name: str) -> Any:
    """A part of a hub's data set, as `datasets` gives it; raises DataError."""
    # Here, not at the top: importing it takes a second, and folders need none of it.
    import datasets

    give_up_at_first_failure()
    identifier, _, configuration = data.partition(":")
    try:
        return datasets.load_dataset(identifier, configuration or None, split=name)
    except Exception as error:
        # The library raises a dozen unrelated classes: not found, no such split, no network, a broken script.
        raise DataError(f"{data!r} is neither a folder here nor a data set that could be fetched: {error}") from error
