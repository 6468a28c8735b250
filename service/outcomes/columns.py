"""Turns a result into columns of a table, whose names and types are fixed before the first result is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from models.errors import UserError
from models.tasks.task import AnyTask, LabelScore
from service.answers.contract import ItemPosition, Options, WithCertificate, result_type
from service.answers.explanation import ExplainedUnit, Explanation

ERROR = "error"
"""Name of the column that says why a record has no answer; the column is empty where there is an answer."""

EXPLANATION = "explanation"
"""Name of the column with the words, or tokens, of an explanation and their scores."""

REVIEW = "review"
"""Name of the column that says whether a person should look at the record."""

PREFIX = "prediction_"
"""Put before the name of a column that the input has already."""

_METHOD, _TARGET, _REST = (f"{EXPLANATION}_{name}" for name in ("method", "target", "rest"))


class NoConfidence(UserError):
    """A share was asked for that no answer can have, or of answers that have none."""


@dataclass(frozen=True, kw_only=True)
class WantedColumns:
    """The columns wanted beside those that each answer has."""

    options: Options = field(default_factory=Options)
    """Those of the request; explanations and certificates have columns where they are asked for."""
    scores: bool = True
    """Whether there are columns for the scores of all labels, choices or spans."""
    min_confidence: float | None = None
    """From this probability on an answer needs no review; None for no column that says so."""

    def __post_init__(self) -> None:
        if self.min_confidence is not None and not 0 < self.min_confidence <= 1:
            raise NoConfidence(
                f"a confidence of {self.min_confidence:g}: it is a probability, more than 0 and at most 1, such as 0.8"
            )


def column_types(
    task: AnyTask, labels: tuple[str, ...], wanted: WantedColumns, *, has_corrections: bool = False
) -> dict[str, Any]:
    """The columns of a result of `task` in order, each with the type of its values in Python.

    The scores of labels become one column `score_LABEL` each. An explanation becomes a list of its words, and
    `explanation_method`, `explanation_target` and `explanation_rest`. Where each part of an answer is explained, all
    but the method are lists with an entry for each part. Only a package that corrects texts has a column for that.

    Raises:
        NoConfidence: a review is wanted by the confidence of answers that have none.
    """
    review = {} if wanted.min_confidence is None else {REVIEW: bool}
    if review and task.outputs.score_range is not None:
        raise NoConfidence(f"{task.name} gives a number, which has no confidence; leave the least confidence out")
    left_out = {
        *ItemPosition.model_fields,
        *(() if wanted.options.certify else WithCertificate.model_fields),
        *(() if has_corrections else ("corrections",)),
    }
    columns: dict[str, Any] = {}
    for name, known in result_type(task).model_fields.items():
        if _holds_scores(known.annotation):
            columns |= _score_types(name, known.annotation, labels) if wanted.scores else {}
        elif name == EXPLANATION:
            columns |= _explanation_types(several=task.explains_each) if wanted.options.explain else {}
        elif name not in left_out:
            columns[name] = known.annotation
    return columns | review | {ERROR: str}


def as_columns(result: BaseModel, *, scores: bool = True) -> dict[str, Any]:
    """The values of a result, by the column names that `column_types` gives; none for what the result lacks."""
    lacking = {name for name in WithCertificate.model_fields if getattr(result, name) is None}
    fields = type(result).model_fields
    unwanted = set() if scores else {name for name, known in fields.items() if _holds_scores(known.annotation)}
    left_out = {*ItemPosition.model_fields, EXPLANATION, *lacking, *unwanted}
    values = result.model_dump(mode="json", exclude=left_out)
    for name, known in fields.items():
        if scores and known.annotation == tuple[LabelScore, ...]:
            values |= {f"score_{entry['label']}": entry["score"] for entry in values.pop(name)}
    return values | _explanation_values(getattr(result, EXPLANATION))


def _holds_scores(annotation: Any) -> bool:
    inner = get_args(annotation)[0] if get_origin(annotation) is tuple else None
    return isinstance(inner, type) and issubclass(inner, LabelScore)


def _score_types(name: str, annotation: Any, labels: tuple[str, ...]) -> Mapping[str, Any]:
    """A column for each label; where the labels are texts of the record, one column that lists them."""
    if annotation == tuple[LabelScore, ...]:
        return {f"score_{label}": float for label in labels}
    return {name: annotation}


def _explanation_types(*, several: bool) -> dict[str, Any]:
    of_part: dict[str, Any] = {EXPLANATION: tuple[ExplainedUnit, ...], _TARGET: str, _REST: float}
    if several:
        of_part = {name: GenericAlias(tuple, (kind, ...)) for name, kind in of_part.items()}
    return {EXPLANATION: of_part[EXPLANATION], _METHOD: str, _TARGET: of_part[_TARGET], _REST: of_part[_REST]}


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
