"""Reads examples for training and evaluation from a folder of files or from a data hub.

`models.files.parts` finds the parts of a data set, and a `Layout` says which of their columns are read.
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
from models.errors import tell_mistakes
from models.files.formats import Records
from models.files.labelled.reading import read_annotations
from models.files.layout import USUAL_LAYOUT, Columns, Layout, find_columns
from models.files.parts import (
    DataError,
    OpenPart,
    check_usable,
    class_names,
    fetch_part,
    mistakes,
    open_part,
    read_part,
    unusable,
)
from models.files.rows import BadRecord, LeftOutRecord, Record, UnknownColumn
from models.tasks.labels.matching import LabelError, match_classes
from models.tasks.task import AnyTask, Item, Outputs, read_item
from models.text import Encoded, Reader, Truncation

ONE_OF = TypeVar("ONE_OF")

Use = Literal["train", "unlabelled", "validation"]

GROUP_COLUMN = "pair_id"

_LEFT_OUT = object()
"""In place of the target of a record that the label map leaves out."""

_LOOKED_AT = 1_000
"""Records at the beginning of a part in which its columns are looked for."""


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


Selection = Callable[[Records], Records]
"""Picks the wanted records of a part."""


def load_part(
    data: str,
    name: str,
    use: Use,
    task: AnyTask,
    outputs: Outputs,
    reader: Reader,
    select: Selection = iter,
    layout: Layout = USUAL_LAYOUT,
) -> Part:
    """Read one part. Texts are cut at the model's length for training, and read in windows for validation.

    An unlabelled part may lack the column of right answers; where there is one, it is not read.

    Raises:
        DataError: the part or a column is missing, or more than one record in a hundred cannot be used.
    """
    part = open_part(data, name)
    records = select(part.records)
    if use != "unlabelled":
        layout = _with_classes(layout, part, name, task, outputs)
    examples: list[Example] = []
    bad: list[BadRecord] = []

    def read(record: Record, columns: Columns) -> Example | BadRecord:
        return _read_example(record, columns, use, task, outputs, reader, layout)

    for found in _read_each(records, name, task, use, read, layout):
        (bad if isinstance(found, BadRecord) else examples).append(found)  # type: ignore[arg-type]
    check_usable(name, bad, len(examples))
    wrong = mistakes(bad)
    origin = DataFile(
        part=use,
        name=name,
        sha256=part.digest,
        rows=len(examples),
        bad_rows=len(wrong),
        left_out_rows=len(bad) - len(wrong),
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
    return tuple(
        load_part(source.data, name, "train", task, outputs, reader, select, source.layout) for name, select in selected
    )


def load_unlabelled(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> tuple[Part, ...]:
    """Read every part to learn from without right answers; raises DataError."""
    return tuple(
        load_part(source.data, name, "unlabelled", task, outputs, reader, layout=source.layout)
        for name in source.unlabelled
    )


def load_validation(source: DataSource, task: AnyTask, outputs: Outputs, reader: Reader) -> Part:
    """Read the validation part; raises DataError."""
    return load_part(source.data, source.validation, "validation", task, outputs, reader, layout=source.layout)


def load_items(
    data: str, name: str, task: AnyTask, most: int | None = None, layout: Layout = USUAL_LAYOUT
) -> Sequence[Item]:
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
            return BadRecord(record.number, tell_mistakes(error))

    for found in _read_each(read_part(data, name), name, task, "unlabelled", read, layout):
        (bad if isinstance(found, BadRecord) else items).append(found)  # type: ignore[arg-type]
    if not items:
        raise unusable(name, bad, len(bad))
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
    target_column: str | None = None
    """The column of the right answer; None where it was not read."""


def load_answered(
    data: str,
    name: str,
    task: AnyTask,
    outputs: Outputs,
    reader: Reader,
    most: int | None = None,
    layout: Layout = USUAL_LAYOUT,
) -> list[AnsweredRecord]:
    """Read the records of one part, or the first `most` of them; bad records are left out.

    Raises:
        DataError: the part or a column is missing, or more than one record in a hundred cannot be used.
    """
    answered: list[AnsweredRecord] = []
    bad: list[BadRecord] = []
    for found in read_answered(data, name, task, outputs, reader, layout):
        (bad if isinstance(found, BadRecord) else answered).append(found)  # type: ignore[arg-type]
        if len(answered) == most:
            break
    check_usable(name, bad, len(answered))
    return answered


def read_answered(
    data: str, name: str, task: AnyTask, outputs: Outputs, reader: Reader, layout: Layout = USUAL_LAYOUT
) -> Iterator[AnsweredRecord | BadRecord]:
    """Read the records of one part one by one; texts are read in windows.

    Raises:
        DataError: the part or a column is missing.
    """

    def read(record: Record, columns: Columns) -> AnsweredRecord | BadRecord:
        return _read_answered(record, columns, "window", task, outputs, reader, layout)

    part = open_part(data, name)
    layout = _with_classes(layout, part, name, task, outputs)
    return _read_each(part.records, name, task, "validation", read, layout)


def check_columns(data: str, name: str, task: AnyTask, layout: Layout = USUAL_LAYOUT) -> None:
    """Refuse a part that lacks a column with texts of the task; it is read up to the first record that has them.

    Raises:
        DataError: the part or a column is missing.
    """
    found = _read_each(read_part(data, name), name, task, "unlabelled", lambda record, _: record, layout)
    next((one for one in found if isinstance(one, Record)), None)


def draw_rows(rows: Sequence[ONE_OF], most: int | None, groups: Sequence[str | None] | None = None) -> Sequence[ONE_OF]:
    """Draw at most `most` rows, in order and groups whole; where every group is larger, the smallest of them.

    The draw depends only on the groups and their sizes.
    """
    if most is None or len(rows) <= most:
        return rows
    together: dict[str, list[int]] = {}
    for place, group in enumerate(groups or [None] * len(rows)):
        together.setdefault(f"alone {place}" if group is None else f"group {group}", []).append(place)
    drawn: list[int] = []
    for places in random.Random(0).sample(list(together.values()), len(together)):
        if len(drawn) + len(places) <= most:
            drawn.extend(places)
    drawn = drawn or min(together.values(), key=len)
    return [rows[place] for place in sorted(drawn)]


def read_texts(source: DataSource, task: AnyTask, rows: int | None = None) -> Iterator[tuple[str, ...]]:
    """The raw texts of every record that `load_train` reads, to make a vocabulary of.

    Raises:
        DataError: a part or a column is missing, or there are fewer records than `rows`.
    """
    for name, select in _select_train(source, rows):
        records = select(read_part(source.data, name))
        for texts in _read_each(records, name, task, "train", _texts_of, source.layout):
            if not isinstance(texts, BadRecord):
                yield texts


def read_answers(source: DataSource, task: AnyTask) -> Iterator[Any]:
    """The right answers of all records of the training parts, by their mapped names.

    Bad records, and those whose texts cannot be read, are left out: no example has their answers.

    Raises:
        DataError: a part or a column is missing.
    """
    for name in source.train:
        read = partial(_usable_answer, task=task)
        answers = _read_each(read_part(source.data, name), name, task, "train", read, source.layout)
        yield from (
            source.layout.rename_answer(answer, task) for answer in answers if not isinstance(answer, BadRecord)
        )


def declared_labels(source: DataSource, task: AnyTask) -> tuple[str, ...] | None:
    """The names that a hub's data set has for the numbers of its labels, mapped, in their order; None without any.

    Raises:
        DataError: the data set cannot be fetched, or a column is missing.
    """
    if Path(source.data).is_dir():
        return None
    name = source.train[0]
    features = fetch_part(source.data, name).features
    target = _find_columns(Record(1, dict(features)), name, task, "train", source.layout).target
    return tuple(dict.fromkeys(map(source.layout.rename, class_names(features, target) or ()))) or None


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
    layout: Layout,
) -> Iterator[ONE_OF | BadRecord]:
    """Read every record by the columns of the first that has them all; a bad record stays as it is.

    Annotations are in columns that the task reads by then.

    Raises:
        DataError: no record has all columns, or none of the first `_LOOKED_AT`.
    """
    columns: Columns | None = None
    missing: DataError | None = None
    for number, record in enumerate(records):
        if isinstance(record, Record):
            record = read_annotations(record, task, layout)
        if isinstance(record, BadRecord):
            yield record
            continue
        if columns is None:
            try:
                columns = _find_columns(record, name, task, use, layout)
            except DataError as error:
                missing = missing or error
                if number >= _LOOKED_AT:
                    raise missing from None
                yield BadRecord(record.number, str(error).removeprefix(f"{name}: "))
                continue
        yield read(record, columns)
    if columns is None and missing is not None:
        raise missing


def _find_columns(record: Record, name: str, task: AnyTask, use: Use, layout: Layout) -> Columns:
    try:
        return find_columns(list(record.values), task, layout, has_answers=use != "unlabelled")
    except UnknownColumn as error:
        raise DataError(f"{name}: {error}") from error


def _with_classes(layout: Layout, part: OpenPart, name: str, task: AnyTask, outputs: Outputs) -> Layout:
    """The layout that also reads the numbers of a hub's classes by their names, where the model's labels have these.

    Raises:
        DataError: a column is missing, or some of the names are those of labels in other places.
    """
    if not part.features:
        return layout
    target = _find_columns(Record(1, dict(part.features)), name, task, "validation", layout).target
    names = class_names(part.features, target) or ()
    # In a list, as they stand in records, tags are renamed by their kinds.
    renamed = layout.rename(names) if task.target_column == "tags" else [layout.rename(one) for one in names]
    if any(layout.rename(number) != number for number in range(len(names))):
        return layout
    try:
        labels = match_classes(task, outputs.labels, renamed)
    except LabelError as error:
        raise DataError(f"{name}: {error}") from error
    return layout.over(Layout(label_map={str(number): label for number, label in enumerate(labels or ())}))


def _texts_of(record: Record, columns: Columns) -> tuple[str, ...]:
    return tuple(value for value in columns.values(record.values).values() if isinstance(value, str))


def _answer_of(record: Record, columns: Columns) -> Any:
    return columns.answer(record.values)


def _usable_answer(record: Record, columns: Columns, *, task: AnyTask) -> Any:
    try:
        _read_item(record, columns, task)
    except ValidationError as error:
        return BadRecord(record.number, tell_mistakes(error))
    return _answer_of(record, columns)


def _read_item(record: Record, columns: Columns, task: AnyTask) -> Item:
    item: Item = read_item(task.example or task.item, columns.values(record.values))
    return item


def _read_example(
    record: Record, columns: Columns, use: Use, task: AnyTask, outputs: Outputs, reader: Reader, layout: Layout
) -> Example | BadRecord:
    truncation: Truncation = "window" if use == "validation" else "right"
    read = _read_answered(record, columns, truncation, task, outputs, reader, layout, is_labelled=use != "unlabelled")
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
    layout: Layout,
    *,
    is_labelled: bool = True,
) -> AnsweredRecord | BadRecord:
    """The item of a record, and its right answer unless it is to be read without."""
    try:
        item = _read_item(record, columns, task)
        encoded = task.encode(item, reader, truncation)
        target = _read_target(_answer_of(record, columns), encoded, task, outputs, layout) if is_labelled else None
        if target is _LEFT_OUT:
            return LeftOutRecord(record.number, "the label map leaves its label out")
        return AnsweredRecord(record, columns.fields, item, encoded, target, columns.target)
    except ValidationError as error:
        return BadRecord(record.number, tell_mistakes(error))
    except ValueError as error:  # BadInput among them
        return BadRecord(record.number, str(error))


def _read_target(answer: Any, encoded: Encoded, task: AnyTask, outputs: Outputs, layout: Layout) -> Any:
    """The target of a right answer, or `_LEFT_OUT`; raises ValueError, which says what the label map did."""
    renamed = layout.rename_answer(answer, task)
    if renamed == "" and answer != "":
        return _LEFT_OUT
    try:
        return task.read_target(renamed, encoded, outputs)
    except ValueError as error:
        if not layout.label_map:
            raise
        names = ", ".join(map(repr, layout.label_map))
        how = f"the label map makes it of {answer!r:.80}" if renamed != answer else f"the label map has: {names}"
        raise ValueError(f"{error}; {how}") from error
