"""Answers to a stream of items, in their order. All cores stay busy, and memory stays flat."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from models.tasks.task import Item
from models.text import BadInputCode
from service.answers.answers import Answers, PendingAnswers
from service.answers.contract import Options
from service.answers.errors import BrokenModel, ItemsRejected, UnknownTarget
from service.answers.predictor import Predictor

WINDOW_RECORDS = 2_048
"""Items under way at once. Among so many the engine finds rows of similar length for its batches."""

WINDOW_CERTIFIED = 32
"""Items under way at once where edits of each are tried, because these are many rows."""

WINDOW_TOKENS = 262_144
"""Tokens of the items under way, which bound memory when texts are long."""

FailureCode = (
    BadInputCode
    | Literal["unreadable_record", "unknown_target", "broken_model", "explanation_too_long", "certificate_too_long"]
)
"""The kind of a failure. Those that HTTP has too are called so there."""


@dataclass(frozen=True)
class Failure:
    """The reason why there is no answer, or an answer without the explanation or the certificate asked for."""

    code: FailureCode
    detail: str


@dataclass(frozen=True)
class Answered:
    """An item's result, of the type `result_type(task)`, and its failure; at least one of them is there."""

    result: Any | None
    failure: Failure | None = None


def answer_each(predictor: Predictor, items: Iterable[Item | Failure], options: Options) -> Iterator[Answered]:
    """The answer to each item, in order; several thousand items are under way at once.

    What failed before it became an item passes through. No item fails another. Whoever stops early takes what still
    waits out of the queue.
    """
    under_way: deque[PendingAnswers | Failure] = deque()
    most = WINDOW_CERTIFIED if options.certify else WINDOW_RECORDS
    tokens = 0
    try:
        for item in items:
            under_way.append(item if isinstance(item, Failure) else _start(predictor, item, options))
            tokens += _tokens(under_way[-1])
            while len(under_way) >= most or tokens > WINDOW_TOKENS:
                tokens -= _tokens(under_way[0])
                yield _finish(under_way.popleft())
        while under_way:
            yield _finish(under_way.popleft())
    finally:
        for started in under_way:
            if isinstance(started, PendingAnswers):
                started.future.cancel()


def _start(predictor: Predictor, item: Item, options: Options) -> PendingAnswers | Failure:
    """The answer to an item, still to come; or the reason why there will be none."""
    try:
        return predictor.submit([item], options)
    except ItemsRejected as error:
        return Failure(error.rejected[0].reason.code, str(error.rejected[0]))
    except UnknownTarget as error:
        return Failure("unknown_target", str(error))


def _tokens(started: PendingAnswers | Failure) -> int:
    return 0 if isinstance(started, Failure) else started.tokens


def _finish(started: PendingAnswers | Failure) -> Answered:
    if isinstance(started, Failure):
        return Answered(None, started)
    try:
        answers = started.result()
    except BrokenModel as error:
        return Answered(None, Failure("broken_model", str(error)))
    (result,) = answers.results
    return Answered(result, _withheld(answers))


def _withheld(answers: Answers) -> Failure | None:
    """The reason why an answer lacks what was asked for beside it, if it does."""
    withheld: list[Failure] = [Failure("explanation_too_long", str(one.reason)) for one in answers.unexplained]
    withheld += [Failure("certificate_too_long", str(one.reason)) for one in answers.uncertified]
    return Failure(withheld[0].code, "; ".join(one.detail for one in withheld)) if withheld else None
