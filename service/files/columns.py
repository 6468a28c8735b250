"""Turns a result into columns of a table, whose names and types are fixed before the first result is known."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from models.tasks.task import AnyTask, LabelScore
from service.answers.contract import ItemPosition, result_type

ERROR = "error"
"""Name of the column that says why a record has no answer; the column is empty where there is an answer."""

PREFIX = "prediction_"
"""Put before the name of a column that the input has already."""

_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def column_types(task: AnyTask, labels: tuple[str, ...]) -> dict[str, pa.DataType]:
    """The columns of a result of `task`, in order; the scores of labels become one column `score_LABEL` each."""
    columns: dict[str, pa.DataType] = {}
    for name, field in result_type(task).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            columns |= {f"score_{label}": pa.float64() for label in labels}
        elif name not in ItemPosition.model_fields:
            columns[name] = arrow_type(field.annotation)
    return columns | {ERROR: pa.string()}


def as_columns(result: BaseModel) -> dict[str, Any]:
    """The values of a result, by the column names that `column_types` gives."""
    values = result.model_dump(mode="json", exclude=set(ItemPosition.model_fields))
    for name, field in type(result).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            values |= {f"score_{entry['label']}": entry["score"] for entry in values.pop(name)}
    return values


def free_names(wanted: list[str], taken: set[str]) -> dict[str, str]:
    """A name for each wanted column; `prediction_` is put before names that are taken."""
    names = {}
    for name in wanted:
        free = name
        while free in taken:
            free = PREFIX + free
        names[name] = free
        taken = taken | {free}
    return names


def arrow_type(annotation: Any) -> pa.DataType:
    """The column type that stores values of a pydantic field.

    Raises:
        TypeError: there is none, so that an answer with such a field cannot be scored to a file.
    """
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return pa.string()
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        if len(inner) == 1:
            return arrow_type(inner[0])
    if origin in (tuple, list):
        return pa.list_(arrow_type(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct([(name, arrow_type(field.annotation)) for name, field in annotation.model_fields.items()])
    raise TypeError(f"no column type for {annotation}")
