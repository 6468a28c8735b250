"""Blocks of records as batches of Arrow: copied to the bit where they were, and made of Python's values elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from models.files.rows import BadRecord, Block, Record
from models.files.spelling import as_text


@dataclass(frozen=True)
class ArrowBlock:
    """Records that Arrow holds, in columns."""

    first: int
    batch: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def records(self) -> Iterator[Record | BadRecord]:
        """The records; a value that Python cannot hold, such as a nanosecond or a year 10,000, is written as text."""
        names = self.batch.schema.names
        columns = [_values(column) for column in self.batch.columns]
        rows = zip(*columns, strict=True) if columns else iter([()] * len(self))
        for number, row in enumerate(rows, start=self.first):
            yield Record(number, dict(zip(names, row, strict=True)))

    def cut(self, start: int, stop: int) -> "ArrowBlock":
        """The records from place `start` up to `stop` of this block, without a copy."""
        return ArrowBlock(self.first + start, self.batch.slice(start, stop - start))


def as_batch(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """The block with the columns of `schema`; a column that it lacks is empty."""
    if isinstance(block, ArrowBlock):
        return pa.RecordBatch.from_arrays([_column(block.batch, field) for field in schema], schema=schema)
    return make_batch([record.values for record in block.records()], schema)


def make_batch(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A batch of Python's values; a column that a record lacks is empty there."""
    arrays = [
        pa.array([_as_stored(record.get(field.name), field.type) for record in records], type=field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def join_kinds(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both; text, where no other does."""
    schemas = [pa.schema([("", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def kind_of(values: Sequence[Any]) -> pa.DataType:
    """The type that holds all values of JSON; text with JSON in it, where values are nested or of several kinds."""
    try:
        kind = pa.array(values).type
    except (pa.ArrowException, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_nested(kind) else kind


def kinds_of(block: Block) -> dict[str, pa.DataType]:
    """The type of each column of a block whose values came from JSON."""
    records = [record.values for record in block.records()]
    names = dict.fromkeys(name for values in records for name in values)
    return {name: kind_of([values.get(name) for values in records]) for name in names}


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    place = batch.schema.get_field_index(field.name)
    if place < 0:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(place)
    return column if column.type == field.type else column.cast(field.type)


def _as_stored(value: Any, kind: pa.DataType) -> Any:
    if value is not None and pa.types.is_string(kind):
        return as_text(value)
    # Arrow refuses integers that a float cannot hold to the last digit.
    return float(value) if isinstance(value, int) and pa.types.is_floating(kind) else value


def _values(column: pa.Array) -> list[Any]:
    if not _needs_spelling(column.type):
        try:
            return list(column.to_pylist())
        except (ValueError, OverflowError):
            pass
    return [_value(scalar) for scalar in column]


def _needs_spelling(kind: pa.DataType) -> bool:
    """Whether Python's own types cannot hold all that the type can: then it depends on pandas what becomes of it."""
    if pa.types.is_nested(kind) and kind.num_fields:
        return any(_needs_spelling(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _needs_spelling(kind.value_type)
    is_time = pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)
    return bool(is_time and kind.unit == "ns")


def _value(scalar: pa.Scalar) -> Any:
    """The value for Python; as text where Python cannot hold it."""
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(scalar[name]) for name in scalar}
    if isinstance(scalar, pa.MapScalar):
        return [(_value(entry["key"]), _value(entry["value"])) for entry in scalar.values]
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        return [_value(inner) for inner in scalar.values]
    if not _needs_spelling(kind):
        try:
            return scalar.as_py()
        except (ValueError, OverflowError):
            pass
    shown = None if pa.types.is_duration(kind) else _cast(scalar)
    # Arrow writes "<value out of range: ...>" for years that nobody lives to see.
    return f"{scalar.value} {kind.unit}" if shown is None or shown.startswith("<") else shown


def _cast(scalar: pa.Scalar) -> str | None:
    try:
        return str(scalar.cast(pa.string()).as_py())
    except pa.ArrowException:
        return None
