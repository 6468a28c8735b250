"""The types of Arrow in which the columns of outcomes are stored. Only files that have types need them, and pyarrow."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def arrow_schema(columns: Mapping[str, Any]) -> pa.Schema:
    """The types that store columns, whose values have these types in Python; raises TypeError where one has none."""
    return pa.schema([(name, arrow_type(annotation)) for name, annotation in columns.items()])


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
        return pa.struct([(name, arrow_type(known.annotation)) for name, known in annotation.model_fields.items()])
    raise TypeError(f"no column type for {annotation}")
