"""Tables as Python programs have them: pandas' DataFrames and Arrow's tables, with the columns of answers added."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import pyarrow as pa

from models.files.rows import UnknownColumn, find_column, look_up, root_of
from models.tasks.task import AnyTask
from service.answers.predictor import Predictor
from service.outcomes.columns import WantedColumns, column_types, free_names
from service.outcomes.engines.local import compute
from service.outcomes.outcome import Outcome
from service.outcomes.schema import arrow_schema
from service.python.inputs import TableT, UnknownInputs

BATCH_RECORDS = 1_024
"""Records whose texts are Python's at once."""


def score_table(predictor: Predictor, table: TableT, chosen: Mapping[str, str], wanted: WantedColumns) -> TableT:
    """The table with the columns of the answers; `chosen` are the columns of fields that are not called as usual.

    Raises:
        UnknownInputs, UnknownColumn, NoConfidence: before anything is computed.
    """
    _check(table)
    manifest, task = predictor.package.manifest, predictor.task
    types = column_types(task, manifest.labels, wanted, has_corrections=manifest.correction is not None)
    available = _column_names(table)
    texts = _find_texts(task, available, chosen)
    names = free_names(list(types), set(available))
    schema = arrow_schema({names[name]: kind for name, kind in types.items()})
    batches = _batches(compute(predictor, _read_values(table, texts), wanted), names, schema)
    return _with_columns(table, pa.Table.from_batches(batches, schema))


def _check(inputs: object) -> None:
    """Refuse tables of other libraries; raises UnknownInputs."""
    if not isinstance(inputs, pa.Table) and not _is_frame(inputs):
        kind = f"{type(inputs).__module__.partition('.')[0]}.{type(inputs).__name__}"
        raise UnknownInputs(f"a {kind}: score takes a list, a pandas DataFrame or a pyarrow Table; see its to_arrow()")


def _column_names(table: Any) -> list[str]:
    """The names of a table's columns."""
    return [str(name) for name in (table.columns if _is_frame(table) else table.column_names)]


def _find_texts(task: AnyTask, available: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The column that holds each field of an item; raises UnknownColumn."""
    for field in chosen:
        if field not in task.columns:
            raise UnknownColumn(f"{task.name} has no {field}; its inputs have: {', '.join(task.columns)}")
    found = {}
    for field, known_as in task.columns.items():
        try:
            found[field] = find_column(available, known_as, chosen.get(field))
        except UnknownColumn as error:
            raise UnknownColumn(f"{error}; name it in columns, such as columns={{{field!r}: 'NAME'}}") from error
        column = root_of(available, found[field])
        if available.count(column) > 1:
            raise UnknownColumn(f"several columns are called {column!r}; rename all but one")
    return found


def _read_values(table: Any, texts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The values of each record by field, in order."""
    available = _column_names(table)
    roots = list(dict.fromkeys(root_of(available, column) for column in texts.values()))
    for values in _rows(table, [available.index(root) for root in roots]):
        record = dict(zip(roots, values, strict=True))
        yield {field: look_up(record, column) for field, column in texts.items()}


def _rows(table: Any, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """The values of each record in the columns at these places: a name need not be a text in pandas."""
    if _is_frame(table):
        yield from zip(*(table.iloc[:, place].tolist() for place in places), strict=True)
        return
    for batch in table.select(list(places)).to_batches(max_chunksize=BATCH_RECORDS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _with_columns(table: TableT, added: pa.Table) -> TableT:
    """The table with columns added, which have a value for each of its records; a DataFrame keeps its index."""
    if _is_frame(table):
        return cast(TableT, _with_series(table, added))
    whole: Any = table
    for name in added.column_names:
        whole = whole.append_column(added.field(name), added.column(name))
    return cast(TableT, whole)


def _with_series(frame: Any, added: pa.Table) -> Any:
    pandas = sys.modules["pandas"]
    # Records without an answer have none of the numbers, and pandas' own whole numbers and booleans cannot say so.
    kinds = {pa.int64(): pandas.Int64Dtype(), pa.bool_(): pandas.BooleanDtype()}
    series = added.to_pandas(types_mapper=kinds.get)
    series.index = frame.index
    return pandas.concat([frame, series], axis=1)


def _is_frame(inputs: object) -> bool:
    # Who has a DataFrame has imported pandas; nobody else needs it.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(inputs, pandas.DataFrame)


def _batches(computed: Iterator[Outcome], names: Mapping[str, str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The columns of outcomes under their names in the table, a batch at a time."""
    outcomes = (outcome.columns for outcome in computed)
    while batch := list(islice(outcomes, BATCH_RECORDS)):
        columns = [
            pa.array([outcome.get(name) for outcome in batch], type=schema.field(free).type)
            for name, free in names.items()
        ]
        yield pa.record_batch(columns, schema=schema)
