"""Answers to a stream of items, in their order. All cores stay busy, and memory stays flat."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.tasks.task import Item
from models.text import BadInputCode
from service.answers.answers import Answers, PendingAnswers
from service.answers.contract import Options
from service.answers.errors import BrokenModel, UnknownTarget
from service.answers.predictor import Predictor

WINDOW_RECORDS = 2_048
"""Items under way at once. Among so many the engine finds rows of similar length for its batches."""

WINDOW_CERTIFIED = 32
"""Items under way at once where edits of each are tried, because these are many rows."""

WINDOW_TOKENS = 262_144
"""Tokens of the items under way, which bound memory when texts are long."""

GROUP_RECORDS = 8
GROUP_CHARACTERS = 1_200
"""Most items that are handed in together, and the characters after which a group ends: fewer tokens than a batch has,
because longer groups would wait for shorter ones. One by one, a short item costs a third more beside its graph."""

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
    under_way: deque[_Group] = deque()
    most = WINDOW_CERTIFIED if options.certify else WINDOW_RECORDS
    # What is added to an answer may fail with it, and waits for further rows.
    is_plain = options.explain is None and options.certify is None
    records = tokens = 0
    try:
        for together in _cut(items, GROUP_RECORDS if is_plain else 1):
            under_way.append(_start(predictor, together, options))
            records += len(together)
            tokens += under_way[-1].tokens
            while records >= most or tokens > WINDOW_TOKENS:
                group = under_way.popleft()
                records -= len(group.items)
                tokens -= group.tokens
                yield from _finish(predictor, group, options)
        while under_way:
            yield from _finish(predictor, under_way.popleft(), options)
    finally:
        for group in under_way:
            if group.started:
                group.started.future.cancel()


@dataclass(frozen=True)
class _Group:
    """Items that were handed in together."""

    items: Sequence[Item | Failure]
    started: PendingAnswers | None
    """None where nothing is to be computed."""
    failure: Failure | None = None
    """The reason why, for a single item."""

    @property
    def tokens(self) -> int:
        return self.started.tokens if self.started else 0


def _cut(items: Iterable[Item | Failure], most: int) -> Iterator[Sequence[Item | Failure]]:
    """The items in groups that are handed in together."""
    group: list[Item | Failure] = []
    characters = 0
    for item in items:
        group.append(item)
        characters += 0 if isinstance(item, Failure) else sum(len(str(value)) for _, value in item)
        if len(group) >= most or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _start(predictor: Predictor, together: Sequence[Item | Failure], options: Options) -> _Group:
    """Hand in the items that have not failed."""
    items = [item for item in together if not isinstance(item, Failure)]
    try:
        started = predictor.submit(items, options.model_copy(update={"on_error": "report"})) if items else None
    except UnknownTarget as error:
        return _Group(together, None, Failure("unknown_target", str(error)))
    return _Group(together, started)


def _finish(predictor: Predictor, group: _Group, options: Options) -> Iterator[Answered]:
    """Wait for the answers of a group."""
    if group.started is None:
        yield from (Answered(None, item if isinstance(item, Failure) else group.failure) for item in group.items)
        return
    try:
        answers = group.started.result()
    except BrokenModel as error:
        items = [item for item in group.items if not isinstance(item, Failure)]
        if len(items) == 1:
            found = iter([Answered(None, Failure("broken_model", str(error)))])
        else:
            # One item's values must not fail the others.
            found = (one for item in items for one in _finish(predictor, _start(predictor, [item], options), options))
    else:
        found = _answered(group.started, answers)
    for item in group.items:
        yield Answered(None, item) if isinstance(item, Failure) else next(found)


def _answered(started: PendingAnswers, answers: Answers) -> Iterator[Answered]:
    """The answer or the failure of each item that was handed in, in their order."""
    withheld = {one.index: Failure("explanation_too_long", str(one.reason)) for one in answers.unexplained}
    for one in answers.uncertified:
        failure = Failure("certificate_too_long", str(one.reason))
        known = withheld.get(one.index)
        withheld[one.index] = replace(known, detail=f"{known.detail}; {failure.detail}") if known else failure
    found = {one.index: Answered(None, Failure(one.reason.code, str(one))) for one in answers.rejected}
    for item, result in zip(started.items, answers.results, strict=True):
        found[item.index] = Answered(result, withheld.get(item.index))
    return (found[index] for index in sorted(found))
