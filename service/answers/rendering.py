"""Explanations made of scores, in the words of the text as the caller wrote it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.package import Faithfulness
from models.tasks.task import AnswerPart
from models.text import Encoded
from service.answers.batch import ItemScores, RowScores, UnitScores
from service.answers.explanation import ExplainedUnit, Explanation, ExplanationMethod, ExplanationUnit
from service.answers.offsets import OffsetUnit
from service.answers.units import Units, find_units, sum_tokens, units_of_part


@dataclass(frozen=True, kw_only=True)
class ExplanationStyle:
    """The method of the explanations of one request, and how they are shown."""

    method: ExplanationMethod
    unit: ExplanationUnit = "word"
    top_k: int | None = None
    offset_unit: OffsetUnit = "codepoint"
    faithfulness: Faithfulness | None = None
    """The method's, as it was measured for the package that answers."""


def explain(
    style: ExplanationStyle, parts: Sequence[AnswerPart], encoded: Encoded, scores: ItemScores
) -> list[Explanation]:
    """One explanation for each part of an answer, made from its scores.

    Where only some of the item's rows led to a part, only the words in those rows are listed.
    """
    units = find_units(encoded, style.unit, style.offset_unit)
    return [
        _explain_part(style, part, encoded, units_of_part(units, part, encoded), of_part)
        for part, of_part in zip(parts, scores, strict=True)
    ]


def _explain_part(
    style: ExplanationStyle, part: AnswerPart, encoded: Encoded, units: Units, scores: RowScores | UnitScores
) -> Explanation:
    values = _values(part, encoded, units, scores)
    rest = None if scores.y is None else scores.y - float(values.sum())
    kept = _largest(values, style.top_k)
    listed = [(field, unit) for field, found in units.items() for unit in found]
    items = [
        ExplainedUnit(
            field=field,
            text=encoded.texts[field][slice(*unit.span)],
            start=unit.shown.start,
            end=unit.shown.end,
            score=score,
        )
        for (field, unit), score, is_kept in zip(listed, values.tolist(), kept, strict=True)
        if is_kept
    ]
    return Explanation(
        method=style.method,
        target=part.name,
        unit=style.unit,
        rest=rest,
        faithfulness=style.faithfulness,
        items=tuple(items),
    )


def _values(
    part: AnswerPart, encoded: Encoded, units: Units, scores: RowScores | UnitScores
) -> npt.NDArray[np.float64]:
    """One score for each word or token that is listed."""
    if isinstance(scores, UnitScores):
        return scores.values
    rows = [encoded.rows[number] for number in part.rows]
    if scores.y is not None:
        return sum_tokens(units, rows, scores.of_rows)
    return _normalize(sum_tokens(units, rows, [np.abs(one) for one in scores.of_rows]))


def _normalize(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores divided by their sum; where all are 0, every word gets the same score."""
    total = scores.sum()
    return np.asarray(scores / total if total > 0 else np.full(len(scores), 1 / max(len(scores), 1)))


def _largest(values: npt.NDArray[np.float64], top_k: int | None) -> npt.NDArray[np.bool_]:
    """Whether each value is among the `top_k` of the largest absolute values; of equal ones the first are."""
    kept = np.ones(len(values), dtype=bool)
    if top_k is not None:
        kept[np.argsort(-np.abs(values), kind="stable")[top_k:]] = False
    return kept
