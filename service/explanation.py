"""From token scores to word scores: why an answer is what it is, in the words of the text as it was given."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.tasks.task import Target
from models.text import Encoded, Row
from models.words import Span, share_by_overlap, split_words
from service.offsets import OffsetUnit, convert_spans

Method = Literal["attention", "rollout"]
"""How token scores are computed; each is an output of the graph of that name."""


Shares = npt.NDArray[np.float32]
"""What each token of a row counts for."""


class ExplainedWord(BaseModel):
    """A word and its share of the answer."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="The field of the input that it stands in, `choices/2` for the third of `choices`.")
    text: str
    start: int = Field(description="In that field, in the request's `offset_unit`.")
    end: int
    score: float = Field(description="Share of all words; absolute values add up to 1.")


class Explanation(BaseModel):
    """Every word of the fields that the answer rests on, in order, those the model never saw with score 0."""

    model_config = ConfigDict(frozen=True)

    method: Method
    target: str = Field(description="The answer that is explained.")
    unit: Literal["word"] = "word"
    items: tuple[ExplainedWord, ...]


def explain(
    method: Method,
    target: Target,
    encoded: Encoded,
    token_scores: Sequence[Shares],
    offset_unit: OffsetUnit,
) -> Explanation:
    """Word scores out of `token_scores`, one array for each row of `target` with an entry a token."""
    rows = [encoded.rows[number] for number in target.rows]
    words = {field: split_words(encoded.texts[field]) for field in rows[0].fields}
    scores = [_word_scores(field, rows, token_scores, words[field]) for field in words]
    shares = iter(_share_out(np.concatenate(scores)))
    items = []
    for field, spans in words.items():
        text = encoded.texts[field]
        for word, span in zip(spans, convert_spans(text, spans, offset_unit), strict=True):
            share = next(shares)
            items.append(
                ExplainedWord(field=field, text=text[slice(*word)], start=span.start, end=span.end, score=share)
            )
    return Explanation(method=method, target=target.name, items=tuple(items))


def _word_scores(
    field: str, rows: Sequence[Row], token_scores: Sequence[Shares], words: tuple[Span, ...]
) -> npt.NDArray[np.float64]:
    """Absolute token scores added up by word; a word in several windows takes its largest, as one may cut it in two."""
    largest = np.zeros(len(words))
    for row, scores in zip(rows, token_scores, strict=True):
        placed = row.spans(field)
        values = np.abs(scores).tolist()
        totals = share_by_overlap([span for _, span in placed], [values[position] for position, _ in placed], words)
        largest = np.maximum(largest, totals)
    return largest


def _share_out(scores: npt.NDArray[np.float64]) -> list[float]:
    total = scores.sum()
    # Where no word has any weight, none stands out.
    shares = scores / total if total > 0 else np.full(len(scores), 1 / max(len(scores), 1))
    return [float(share) for share in shares]
