"""A result as columns of a table, their names and types fixed before the first row is known."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from models.tasks.task import AnyTask, LabelScore
from service.answers.contract import ItemPosition, result_type

ERROR = "error"
"""Why a row has no answer; empty where it has one."""

PREFIX = "prediction_"

_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def column_types(task: AnyTask, labels: tuple[str, ...]) -> dict[str, pa.DataType]:
    """The columns a result of `task` is written as, in order; scores of labels become one `score_LABEL` each."""
    columns: dict[str, pa.DataType] = {}
    for name, field in result_type(task).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            columns |= {f"score_{label}": pa.float64() for label in labels}
        elif name not in ItemPosition.model_fields:
            columns[name] = arrow_type(field.annotation)
    return columns | {ERROR: pa.string()}


def as_columns(result: BaseModel) -> dict[str, Any]:
    """The values of a result under the names of `column_types`."""
    values = result.model_dump(mode="json", exclude=set(ItemPosition.model_fields))
    for name, field in type(result).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            values |= {f"score_{entry['label']}": entry["score"] for entry in values.pop(name)}
    return values


def free_names(wanted: list[str], taken: set[str]) -> dict[str, str]:
    """A name for each column; one that the file has already gets `prediction_` in front."""
    names = {}
    for name in wanted:
        free = name
        while free in taken:
            free = PREFIX + free
        names[name] = free
        taken = taken | {free}
    return names


def arrow_type(annotation: Any) -> pa.DataType:
    """How values of a pydantic field are stored in columns."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return pa.string()
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return arrow_type(inner)
    if origin in (tuple, list):
        return pa.list_(arrow_type(arguments[0]))
    assert issubclass(annotation, BaseModel), f"no column type for {annotation}"
    return pa.struct([(name, arrow_type(field.annotation)) for name, field in annotation.model_fields.items()])
