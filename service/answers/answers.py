"""The answers to items that are handed in together: while they are computed, and when they are there."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from models.tasks.task import AnyTask
from models.text import Encoded
from service.answers.batch import (
    BatchPrediction,
    EncodedItem,
    ItemPrediction,
    RejectedItem,
    UncertifiedItem,
    UnexplainedItem,
)
from service.answers.certificate import Certificate, CertificateTooLong, Counterexample
from service.answers.contract import CorrectedPiece, Options, result_type
from service.answers.explanation import ExplanationTooLong
from service.answers.offsets import OffsetUnit, convert_spans
from service.answers.rendering import ExplanationStyle, explain


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
    unexplained: Sequence[UnexplainedItem]
    """Answered items whose result has no explanation although one was asked for."""
    uncertified: Sequence[UncertifiedItem]
    """Answered items whose result has no certificate although one was asked for."""
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
    style: ExplanationStyle | None
    """How the answers are explained; None where no explanation is asked for."""
    began: float
    """The time at which reading began, by `time.perf_counter`."""
    tokenize_s: float
    future: Future[BatchPrediction]
    """The predictions of `items`. Cancelling it takes the rows that still wait out of the queue."""

    @cached_property
    def tokens(self) -> int:
        """Tokens of the items that were queued."""
        return sum(item.encoded.tokens for item in self.items)

    @property
    def characters_to_explain(self) -> int:
        """Length of the texts, counted once for each explanation of them; waits for the predictions."""
        return sum(
            len(predicted.scores) * sum(map(len, item.encoded.texts.values()))
            for item, predicted in zip(self.items, self.future.result().predictions, strict=True)
            if predicted.scores is not None and not isinstance(predicted.scores, ExplanationTooLong)
        )

    def result(self) -> Answers:
        """Wait for the predictions, then make results of them in this thread.

        Raises:
            BrokenModel: an output is not a finite number.
            DeadlineExceeded, EngineClosed, CancelledError: the rows were not computed.
        """
        batch = self.future.result()
        predicted = time.perf_counter()
        results = [
            make_result(self.task, item, prediction, self.options, self.style)
            for item, prediction in zip(self.items, batch.predictions, strict=True)
        ]
        unexplained = [
            UnexplainedItem(item.index, prediction.scores)
            for item, prediction in zip(self.items, batch.predictions, strict=True)
            if isinstance(prediction.scores, ExplanationTooLong)
        ]
        uncertified = [
            UncertifiedItem(item.index, prediction.trials)
            for item, prediction in zip(self.items, batch.predictions, strict=True)
            if isinstance(prediction.trials, CertificateTooLong)
        ]
        times = StageTimes(
            tokenize_s=self.tokenize_s,
            queue_s=batch.queue_s,
            infer_s=batch.infer_s,
            render_s=time.perf_counter() - predicted,
        )
        return Answers(
            results=results,
            rejected=self.rejected,
            unexplained=unexplained,
            uncertified=uncertified,
            tokens=self.tokens,
            times=times,
        )


def make_result(
    task: AnyTask, item: EncodedItem, predicted: ItemPrediction, options: Options, style: ExplanationStyle | None
) -> BaseModel:
    """The result of one item, as HTTP, `predict` and `score` give it."""
    encoded, prediction = item.encoded, predicted.prediction
    answer = prediction.answer.moved(
        lambda field, spans: convert_spans(encoded.texts[field], spans, options.offset_unit)
    )
    fields = dict(answer)
    if "scores" in fields:
        # The scores of labels that were given stay, however few are asked for.
        least = len(fields.get("labels", ()))
        fields["scores"] = fields["scores"][: options.top_k and max(options.top_k, least)]
    explanation: Any = None
    if style is not None and predicted.scores is not None and not isinstance(predicted.scores, ExplanationTooLong):
        explanations = explain(style, prediction.parts, encoded, predicted.scores)
        explanation = tuple(explanations) if task.explains_each else explanations[0]
    # Nothing is checked again: the answer was checked when it was made.
    return result_type(task).model_construct(
        **fields,
        index=item.index,
        id=item.item.id,
        tokens=encoded.tokens,
        truncated=encoded.truncated,
        windows=encoded.windows,
        unknown_share=item.unknown_share,
        certificate=_certificate(item, predicted, options),
        corrections=_corrections(encoded, options.offset_unit),
        explanation=explanation,
    )


def _certificate(item: EncodedItem, predicted: ItemPrediction, options: Options) -> Certificate | None:
    trials = predicted.trials
    if options.certify is None or trials is None or isinstance(trials, CertificateTooLong):
        return None
    counterexample = None
    if trials.changing:
        edit, answer = trials.changing
        text = item.encoded.texts[edit.field]
        (shown,) = convert_spans(text, [edit.span], options.offset_unit)
        counterexample = Counterexample(
            field=edit.field,
            text=text[slice(*edit.span)],
            start=shown.start,
            end=shown.end,
            replacement=edit.replacement,
            answer="; ".join(answer.headlines()),
        )
    return Certificate(
        family=options.certify,
        edits=trials.edits,
        tried=trials.tried,
        holds=trials.tried == trials.edits and trials.changing is None,
        counterexample=counterexample,
    )


def _corrections(encoded: Encoded, unit: OffsetUnit) -> tuple[CorrectedPiece, ...]:
    """The pieces that were not read as they are written, in the caller's offsets."""
    return tuple(
        CorrectedPiece(field=field, start=span.start, end=span.end, to=change.to)
        for field, changes in encoded.corrections.items()
        for change, span in zip(
            changes,
            convert_spans(encoded.texts[field], [change.span for change in changes], unit),
            strict=True,
        )
    )
