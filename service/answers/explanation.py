"""From token scores to word scores: an answer explained by the words of the text as the caller wrote it."""

import bisect
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from export.package import ShareOutput
from models.tasks.task import AnswerPart
from models.text import Encoded, Row
from models.words import Span, share_by_overlap, split_words
from service.answers.offsets import OffsetUnit, convert_spans

ExplanationMethod = Literal[ShareOutput]
"""The name of a way to compute token scores; `service.answers.explainers` has the way. A share that the graph gives is
called as its output."""

TokenScores = npt.NDArray[np.float32]
"""One number for each token of a row: how much it counts for the answer."""


class ExplainedWord(BaseModel):
    """A word and its share in the explanation."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="The field of the input that it stands in, `choices/2` for the third of `choices`.")
    text: str
    start: int = Field(description="In that field, in the request's `offset_unit`.")
    end: int
    score: float = Field(description="Share of all words; absolute values add up to 1.")


class Explanation(BaseModel):
    """The words that the answer rests on, in the order of the text.

    Words that were cut off, so that the model never saw them, have score 0.
    """

    model_config = ConfigDict(frozen=True)

    method: ExplanationMethod
    target: str = Field(description="The answer that is explained.")
    unit: Literal["word"] = "word"
    items: tuple[ExplainedWord, ...]


def explain(
    method: ExplanationMethod,
    parts: Sequence[AnswerPart],
    encoded: Encoded,
    token_scores: Sequence[Sequence[TokenScores]],
    offset_unit: OffsetUnit,
) -> list[Explanation]:
    """One explanation for each part of an answer, made from the token scores of the part's rows.

    Where only some of the item's rows led to a part, only the words in those rows are listed.
    """
    words = {field: _split(text, offset_unit) for field, text in encoded.texts.items()}
    explanations = []
    for part, of_rows in zip(parts, token_scores, strict=True):
        rows = [encoded.rows[number] for number in part.rows]
        is_whole = len(rows) == len(encoded.rows)
        seen = {field: words[field] if is_whole else _words_in(rows, field, words[field]) for field in rows[0].fields}
        scores = [_word_scores(field, rows, of_rows, tuple(word for word, _ in seen[field])) for field in seen]
        values = iter(_normalize(np.concatenate(scores)))
        items = [
            ExplainedWord(
                field=field,
                text=encoded.texts[field][slice(*word)],
                start=place.start,
                end=place.end,
                score=next(values),
            )
            for field, found in seen.items()
            for word, place in found
        ]
        explanations.append(Explanation(method=method, target=part.name, items=tuple(items)))
    return explanations


def _split(text: str, offset_unit: OffsetUnit) -> list[tuple[Span, Span]]:
    """Each word's span in code points, and the same span in the unit asked for."""
    words = split_words(text)
    return list(zip(words, convert_spans(text, words, offset_unit), strict=True))


def _words_in(rows: Sequence[Row], field: str, words: list[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
    """The words that stand in these rows."""
    spans = [span for row in rows for _, span in row.spans(field)]
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    # Bisected, because in a long text with many entities each entity has a window of its own.
    first = bisect.bisect_right(words, start, key=lambda word: word[0].end)
    return words[first : bisect.bisect_left(words, end, lo=first, key=lambda word: word[0].start)]


def _word_scores(
    field: str, rows: Sequence[Row], of_rows: Sequence[TokenScores], words: tuple[Span, ...]
) -> npt.NDArray[np.float64]:
    """Absolute token scores, added up for each word.

    A word that stands in several windows takes its largest sum, because one of the windows may cut it in two.
    """
    largest = np.zeros(len(words))
    for row, scores in zip(rows, of_rows, strict=True):
        placed = row.spans(field)
        values = np.abs(scores).tolist()
        totals = share_by_overlap([span for _, span in placed], [values[position] for position, _ in placed], words)
        largest = np.maximum(largest, totals)
    return largest


def _normalize(scores: npt.NDArray[np.float64]) -> list[float]:
    """Scores divided by their sum; where all are 0, every word gets the same score."""
    total = scores.sum()
    shares = scores / total if total > 0 else np.full(len(scores), 1 / max(len(scores), 1))
    return [float(share) for share in shares]
