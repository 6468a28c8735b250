"""From token scores to word scores: why an answer is what it is, in the words of the text as it was given."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.text import Encoded
from models.words import Span, share_by_overlap, split_words
from service.offsets import OffsetUnit, convert_spans

Method = Literal["attention", "rollout"]
"""How token scores are computed; each is an output of the graph of that name."""


class ExplainedWord(BaseModel):
    """A word and its share of the answer."""

    model_config = ConfigDict(frozen=True)

    text: str
    start: int = Field(description="In the request's `offset_unit`.")
    end: int
    score: float = Field(description="Share of all words; absolute values add up to 1.")


class Explanation(BaseModel):
    """Every word of the item in order, those the model never saw with score 0."""

    model_config = ConfigDict(frozen=True)

    method: Method
    target: str = Field(description="The answer that is explained.")
    unit: Literal["word"] = "word"
    items: tuple[ExplainedWord, ...]


def explain(
    method: Method,
    target: str,
    encoded: Encoded,
    token_scores: Sequence[npt.NDArray[np.float32]],
    offset_unit: OffsetUnit,
) -> Explanation:
    """Word scores out of `token_scores`, one array a row of `encoded` with an entry a token."""
    (text,) = encoded.texts
    words = split_words(text)
    spans = convert_spans(text, words, offset_unit)
    scores = _word_scores(encoded, token_scores, words)
    return Explanation(
        method=method,
        target=target,
        items=tuple(
            ExplainedWord(text=text[slice(*word)], start=span.start, end=span.end, score=score)
            for word, span, score in zip(words, spans, scores, strict=True)
        ),
    )


def _word_scores(
    encoded: Encoded, token_scores: Sequence[npt.NDArray[np.float32]], words: tuple[Span, ...]
) -> list[float]:
    """Absolute token scores added up by word; a word in several windows takes its largest, as one may cut it in two."""
    largest = np.zeros(len(words))
    for row, scores in zip(encoded.rows, token_scores, strict=True):
        placed = row.spans()
        values = np.abs(scores).tolist()
        totals = share_by_overlap([span for _, span in placed], [values[position] for position, _ in placed], words)
        largest = np.maximum(largest, totals)
    total = largest.sum()
    # No word has any weight, so none stands out.
    shares = largest / total if total > 0 else np.full(len(words), 1 / max(len(words), 1))
    return [float(share) for share in shares]
