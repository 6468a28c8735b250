"""Turns a result into columns of a table, whose names and types are fixed before the first result is known."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from models.tasks.task import AnyTask, LabelScore
from service.answers.contract import ItemPosition, Options, WithCertificate, result_type
from service.answers.explanation import ExplainedUnit, Explanation

ERROR = "error"
"""Name of the column that says why a record has no answer; the column is empty where there is an answer."""

EXPLANATION = "explanation"
"""Name of the column with the words, or tokens, of an explanation and their scores."""

PREFIX = "prediction_"
"""Put before the name of a column that the input has already."""

_METHOD, _TARGET, _REST = (f"{EXPLANATION}_{name}" for name in ("method", "target", "rest"))

_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def column_types(
    task: AnyTask, labels: tuple[str, ...], options: Options, *, has_corrections: bool = False
) -> dict[str, pa.DataType]:
    """The columns of a result of `task`, in order; those of explanations and certificates only where asked for.

    The scores of labels become one column `score_LABEL` each. An explanation becomes a list of its words, and
    `explanation_method`, `explanation_target` and `explanation_rest`. Where each part of an answer is explained, all
    but the method are lists with an entry for each part. Only a package that corrects texts has a column for that.
    """
    left_out = {
        *ItemPosition.model_fields,
        *(() if options.certify else WithCertificate.model_fields),
        *(() if has_corrections else ("corrections",)),
    }
    columns: dict[str, pa.DataType] = {}
    for name, field in result_type(task).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            columns |= {f"score_{label}": pa.float64() for label in labels}
        elif name == EXPLANATION:
            columns |= _explanation_types(several=task.explains_each) if options.explain else {}
        elif name not in left_out:
            columns[name] = arrow_type(field.annotation)
    return columns | {ERROR: pa.string()}


def as_columns(result: BaseModel) -> dict[str, Any]:
    """The values of a result, by the column names that `column_types` gives; none for what the result lacks."""
    lacking = {name for name in WithCertificate.model_fields if getattr(result, name) is None}
    values = result.model_dump(mode="json", exclude={*ItemPosition.model_fields, EXPLANATION, *lacking})
    for name, field in type(result).model_fields.items():
        if field.annotation == tuple[LabelScore, ...]:
            values |= {f"score_{entry['label']}": entry["score"] for entry in values.pop(name)}
    return values | _explanation_values(getattr(result, EXPLANATION))


def _explanation_types(*, several: bool) -> dict[str, pa.DataType]:
    of_part = {EXPLANATION: arrow_type(tuple[ExplainedUnit, ...]), _TARGET: pa.string(), _REST: pa.float64()}
    types = {name: pa.list_(kind) for name, kind in of_part.items()} if several else of_part
    return {EXPLANATION: types[EXPLANATION], _METHOD: pa.string(), _TARGET: types[_TARGET], _REST: types[_REST]}


def _explanation_values(given: Explanation | tuple[Explanation, ...] | None) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Explanation):
        return {_METHOD: given.method, **_values_of_part(given)}
    parts = [_values_of_part(one) for one in given]
    method = {_METHOD: given[0].method} if given else {}
    return method | {name: [part[name] for part in parts] for name in (EXPLANATION, _TARGET, _REST)}


def _values_of_part(explanation: Explanation) -> dict[str, Any]:
    words = [word.model_dump(mode="json") for word in explanation.items]
    return {EXPLANATION: words, _TARGET: explanation.target, _REST: explanation.rest}


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
