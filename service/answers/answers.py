"""The answers to items that are handed in together: while they are computed, and when they are there."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from models.tasks.task import AnyTask
from service.answers.batch import BatchPrediction, EncodedItem, ItemPrediction, RejectedItem
from service.answers.contract import Options, result_type
from service.answers.explanation import explain
from service.answers.offsets import convert_spans


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """The time that each stage took, in seconds; the stages follow one another."""

    tokenize_s: float
    queue_s: float
    """Time from the texts being read until the first row was taken up."""
    infer_s: float
    """Time from then until the last row was done."""
    render_s: float
    """Time to make results out of predictions, explanations included."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The outcome for items that were handed in together."""

    results: list[Any]
    """A result of the type `result_type(task)` for each item that was answered, in the order of the items."""
    rejected: Sequence[RejectedItem]
    """The other items; empty unless the options say `"on_error": "report"`."""
    tokens: int
    """Tokens of the answered items, special tokens and the overlap of windows included."""
    times: StageTimes


@dataclass(frozen=True, kw_only=True)
class PendingAnswers:
    """Items that were read and queued, and what becomes of them."""

    task: AnyTask
    items: Sequence[EncodedItem]
    rejected: Sequence[RejectedItem]
    options: Options
    began: float
    """The time at which reading began, by `time.perf_counter`."""
    tokenize_s: float
    future: Future[BatchPrediction]
    """The predictions of `items`. Cancelling it takes the rows that still wait out of the queue."""

    @property
    def tokens(self) -> int:
        """Tokens of the items that were queued."""
        return sum(item.encoded.tokens for item in self.items)

    @property
    def characters_to_explain(self) -> int:
        """Length of the texts, counted once for each explanation of them; waits for the predictions."""
        return sum(
            len(predicted.token_scores) * sum(map(len, item.encoded.texts.values()))
            for item, predicted in zip(self.items, self.future.result().predictions, strict=True)
        )

    def result(self) -> Answers:
        """Wait for the predictions, then make results of them in this thread.

        Raises:
            BrokenModel: an output is not a finite number.
            NotOffered: there are more answers to explain than can be explained.
            DeadlineExceeded, EngineClosed, CancelledError: the rows were not computed.
        """
        batch = self.future.result()
        predicted = time.perf_counter()
        results = [
            make_result(self.task, item, prediction, self.options)
            for item, prediction in zip(self.items, batch.predictions, strict=True)
        ]
        times = StageTimes(
            tokenize_s=self.tokenize_s,
            queue_s=batch.queue_s,
            infer_s=batch.infer_s,
            render_s=time.perf_counter() - predicted,
        )
        return Answers(results=results, rejected=self.rejected, tokens=self.tokens, times=times)


def make_result(task: AnyTask, item: EncodedItem, predicted: ItemPrediction, options: Options) -> BaseModel:
    """The result of one item, as HTTP, `predict` and `score` give it."""
    encoded, prediction, unit = item.encoded, predicted.prediction, options.offset_unit
    answer = prediction.answer.moved(lambda field, spans: convert_spans(encoded.texts[field], spans, unit))
    fields = dict(answer)
    if "scores" in fields:
        fields["scores"] = fields["scores"][: options.top_k]
    explanation: Any = None
    if options.explain:
        explanations = explain(options.explain, prediction.parts, encoded, predicted.token_scores, unit)
        explanation = tuple(explanations) if task.explains_each else explanations[0]
    return result_type(task)(
        **fields,
        index=item.index,
        id=item.item.id,
        tokens=encoded.tokens,
        truncated=encoded.truncated,
        windows=encoded.windows,
        explanation=explanation,
    )
