"""The words or tokens that explanations list, and their scores as the sums of token scores."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.tasks.task import AnswerPart
from models.text import Encoded, Row
from models.words import Span, is_blank, share_by_overlap, split_words, trim
from service.answers.explanation import ExplanationUnit
from service.answers.offsets import OffsetUnit, convert_spans

TokenScores = npt.NDArray[np.float32]
"""One number for each token of a row: how much it counts for the answer."""


class Unit(NamedTuple):
    """A word or token of a field."""

    span: Span
    """Its place in code points."""
    shown: Span
    """The same in the unit that the caller counts in."""


Units = Mapping[str, Sequence[Unit]]
"""By field in reading order, its words or tokens in the order of the text, without overlap."""


def find_units(encoded: Encoded, unit: ExplanationUnit, offset_unit: OffsetUnit) -> Units:
    """All words of an item's texts, or the tokens in which they were read; tokens that share characters are one."""
    found = {}
    for field, text in encoded.texts.items():
        spans = split_words(text) if unit == "word" else _split_tokens(encoded.rows, field, text)
        found[field] = [Unit(*pair) for pair in zip(spans, convert_spans(text, spans, offset_unit), strict=True)]
    return found


def units_of_part(units: Units, part: AnswerPart, encoded: Encoded) -> Units:
    """The words or tokens in the rows that a part of the answer came from."""
    rows = [encoded.rows[number] for number in part.rows]
    if len(rows) == len(encoded.rows):
        return {field: units[field] for field in rows[0].fields}
    return {field: _units_in(rows, field, units[field]) for field in rows[0].fields}


def sum_tokens(
    units: Units, rows: Sequence[Row], of_rows: Sequence[npt.NDArray[np.floating]]
) -> npt.NDArray[np.float64]:
    """Token scores, added up for each word or token in the order of `units`.

    Where it stands in several windows it takes the sum of the largest absolute value, of equal ones the first, because
    one of the windows may cut it in two.
    """
    return np.concatenate([_sum_in_field(field, rows, of_rows, found) for field, found in units.items()])


def _sum_in_field(
    field: str, rows: Sequence[Row], of_rows: Sequence[npt.NDArray[np.floating]], units: Sequence[Unit]
) -> npt.NDArray[np.float64]:
    spans = tuple(unit.span for unit in units)
    largest = np.zeros(len(units))
    for row, scores in zip(rows, of_rows, strict=True):
        placed, values = row.spans(field), scores.tolist()
        totals = np.array(
            share_by_overlap([span for _, span in placed], [values[position] for position, _ in placed], spans)
        )
        largest = np.where(np.abs(totals) > np.abs(largest), totals, largest)
    return largest


def _units_in(rows: Sequence[Row], field: str, units: Sequence[Unit]) -> Sequence[Unit]:
    spans = [span for row in rows for _, span in row.spans(field)]
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    # Bisected, because in a long text with many entities each entity has a window of its own.
    first = bisect.bisect_right(units, start, key=lambda unit: unit.span.end)
    return units[first : bisect.bisect_left(units, end, lo=first, key=lambda unit: unit.span.start)]


def _split_tokens(rows: Iterable[Row], field: str, text: str) -> tuple[Span, ...]:
    """The places of tokens without the blanks around them."""
    found = sorted({trim(span, text) for row in rows for _, span in row.spans(field)})
    tokens: list[Span] = []
    for span in found:
        if is_blank(text[slice(*span)]):
            continue
        if tokens and span.start < tokens[-1].end:
            tokens[-1] = Span(tokens[-1].start, max(tokens[-1].end, span.end))
        else:
            tokens.append(span)
    return tuple(tokens)
