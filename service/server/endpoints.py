"""The addresses that answer: `POST /v1/ENDPOINT`, one for each endpoint of the tasks.

A handler checks, calls and maps errors. Each is declared as a method of the BentoML service, for its OpenAPI document,
its client and its build. The gateway calls the same function past the layers of BentoML and Starlette, which cost a
quarter of what a request costs beside the model. BentoML's batching is not used: it counts rows instead of tokens and
fails every batch-mate of a bad row.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import bentoml
from pydantic import ValidationError
from starlette.responses import Response

from models.tasks.task import AnyTask, Item
from models.text import BadInput
from service.answers.answers import Answers, PendingAnswers, StageTimes
from service.answers.batch import BatchPrediction, RejectedItem
from service.answers.contract import (
    AnswerBody,
    ItemError,
    Options,
    Timing,
    Usage,
    answer_type,
    request_type,
)
from service.answers.errors import CertificateNotOffered, ItemsRejected, NotOffered, UnknownTarget
from service.answers.predictor import Predictor
from service.engine.errors import DeadlineExceeded, DeadlineUnreachable, EngineClosed, Overloaded
from service.server.context import BodyT, RequestContext, current_request, read_body, respond
from service.server.metrics import Metrics
from service.server.problems import Fault, Problem, pointer
from service.server.registry import ModelRegistry
from service.server.tracing import Stage

T = TypeVar("T")

LARGE_BODY_BYTES = 8_192
"""A larger body and its texts are read in a thread: tokenising 8 KiB would hold up all others for some 5 ms."""
LARGE_EXPLANATION_CHARACTERS = 10_000
"""Longer explanations are made in a thread: a long text may have hundreds of entities, each explained by its words."""


Answerer = Callable[[], Awaitable[Response]]
"""Answers the current request, whose body has arrived; raises Problem."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address that answers."""

    path: str
    api: Any
    """The method of a BentoML service that answers there."""
    answer: Answerer
    """The same for whoever has read the body."""
    refuse_early: Callable[[int], None]
    """Raises Problem where a body of so many bytes is refused whatever it says."""


def endpoint(tasks: Sequence[AnyTask], registry: ModelRegistry, metrics: Metrics, max_items: int) -> Endpoint:
    """The endpoint of `tasks`, which answers with a package for any of them."""
    task = tasks[0]
    path = f"/v1/{task.endpoint}"
    Request = request_type(task, max_items)
    Answer = answer_type(*tasks)

    async def answer(request: Any) -> Response:
        with errors_as_problems(), registry.using(task.endpoint, request.model) as predictor:
            return await _answer(predictor, request, Answer, metrics)

    async def api(_: object, request: Request, /) -> Answer:  # type: ignore[valid-type]
        try:
            return await answer(request)
        except Problem as problem:
            return respond(problem)

    def refuse_early(size: int) -> None:
        refuse_large(partial(registry.for_endpoint, task.endpoint), size)

    async def answer_current() -> Response:
        return await answer(await read_in_turn(Request, lambda: registry.for_endpoint(task.endpoint)[0]))

    api.__name__ = task.endpoint.replace("-", "_")
    api.__doc__ = task.answer.__doc__
    # BentoML asks for the signature at every request.
    api.__signature__ = inspect.signature(api)  # type: ignore[attr-defined]
    return Endpoint(path=path, api=bentoml.api(route=path)(api), answer=answer_current, refuse_early=refuse_early)


async def read_in_turn(kind: type[BodyT], find: Callable[[], Predictor], length: int | None = None) -> BodyT:
    """The body of the current request, as `read_body` gives it; a large one is read in a thread.

    The thread is one of those for long work of the predictor that `find` finds.
    """
    if len(current_request.get().body) <= LARGE_BODY_BYTES:
        return read_body(kind, length)
    # In turns: brackets without number take a hundred times as long as text.
    reading = _in_turn(find(), partial(copy_context().run, read_body, kind, length))
    return await asyncio.wrap_future(reading)


def refuse_large(find: Callable[[], Sequence[Predictor]], size: int) -> None:
    """Raise Problem if all predictors that `find` finds would refuse a large body of so many bytes unread.

    Which of them is asked, only the body says.
    """
    if size <= LARGE_BODY_BYTES:
        return
    context = current_request.get()
    predictors = find()
    with errors_as_problems():
        for number, predictor in enumerate(predictors, start=1):
            try:
                predictor.expect(size, deadline=context.deadline, tenant=context.tenant).end()
            except (Overloaded, DeadlineUnreachable):
                if number == len(predictors):
                    raise
            else:
                return


@contextmanager
def errors_as_problems() -> Iterator[None]:
    """Turn the errors of a predictor into problems, for every dialect in which requests are answered.

    Raises:
        Problem: the request cannot be answered; it says why.
        RuntimeError: an answer does not fit its own type.
    """
    try:
        yield
    except ItemsRejected as error:
        raise _problem(error.rejected) from error
    except NotOffered as error:
        raise Problem("validation", str(error), [Fault(pointer="/explain", detail=str(error))]) from error
    except CertificateNotOffered as error:
        raise Problem("validation", str(error), [Fault(pointer="/certify", detail=str(error))]) from error
    except UnknownTarget as error:
        raise Problem("validation", str(error), [Fault(pointer="/explain/target", detail=str(error))]) from error
    except Overloaded as error:
        raise Problem("overloaded", str(error), headers={"Retry-After": str(error.retry_after_s)}) from error
    except DeadlineUnreachable as error:
        raise Problem("deadline_unreachable", f"{error} in X-Request-Timeout-Ms") from error
    except DeadlineExceeded as error:
        raise Problem("deadline_exceeded", str(error)) from error
    except EngineClosed as error:
        raise Problem("draining", "the server is shutting down") from error
    except ValidationError as error:
        # The request fitted its type, so the answer does not: BentoML would blame the caller for this error.
        raise RuntimeError("an answer does not fit its own type") from error


async def answer_items(
    predictor: Predictor, items: Sequence[Item | BadInput], options: Options, metrics: Metrics
) -> Answers:
    """The answers to the items of the current request, for every dialect; counts them, and notes them for its log line.

    The event loop is not held up: what takes long runs in a thread.

    Raises:
        Exception: as `Predictor.submit` and `PendingAnswers.result` do; see `errors_as_problems`.
    """
    context = current_request.get()
    context.is_large = len(context.body) > LARGE_BODY_BYTES
    submit = partial(predictor.submit, items, options, deadline=context.deadline, tenant=context.tenant)
    # To count the edits of a text, and to read WordNet for the first time, takes as long as to read a large body.
    if context.is_large or options.certify is not None:
        expected = predictor.expect(len(context.body), deadline=context.deadline, tenant=context.tenant)
        try:
            pending = await _submit_in_turn(predictor, partial(submit, expected=expected))
        finally:
            expected.end()
    else:
        pending = submit()
    # When the caller leaves, this task is cancelled, and with it the future.
    batch = await asyncio.wrap_future(pending.future)
    # Set before the answers are made: a request that runs out of time meanwhile is traced with its stages too.
    context.stages = _stages(pending, batch)
    context.is_large |= pending.characters_to_explain > LARGE_EXPLANATION_CHARACTERS
    answers = await asyncio.wrap_future(_in_turn(predictor, pending.result)) if context.is_large else pending.result()
    _count(answers, predictor, options, metrics)
    context.facts |= _usage(answers).model_dump()
    return answers


async def _answer(predictor: Predictor, request: Any, body_type: type[AnswerBody], metrics: Metrics) -> Response:
    """The answer to a request for any task."""
    answers = await answer_items(predictor, request.inputs, request, metrics)
    context = current_request.get()
    timing = _timing(answers.times, context)
    context.facts |= {f"{name}_ms": round(value, 3) for name, value in timing}
    # Nothing is checked again: the parts are what their types say, which tests of the contract hold for every task.
    body = body_type.model_construct(
        id=context.request_id,
        model=predictor.name,
        results=answers.results,
        errors=_errors(answers),
        usage=_usage(answers),
        timing_ms=timing,
    )
    is_shown = body.errors or request.on_error == "report"
    dump = partial(body.model_dump_json, exclude=None if is_shown else {"errors"})
    content = await asyncio.wrap_future(_in_turn(predictor, dump)) if context.is_large else dump()
    server_timing = ", ".join(f"{name};dur={value:.3f}" for name, value in timing)
    return Response(content, headers={"Server-Timing": server_timing}, media_type="application/json")


def _in_turn(predictor: Predictor, work: Callable[[], T]) -> Future[T]:
    """Let the predictor's threads for long work do `work` for the current request when its turn has come."""
    context = current_request.get()
    # A short body is here because work on it takes as long as on a large one.
    size = max(len(context.body), LARGE_BODY_BYTES)
    return predictor.long_work.submit(work, tenant=context.tenant, size=size, since=context.started)


async def _submit_in_turn(predictor: Predictor, submit: Callable[[], PendingAnswers]) -> PendingAnswers:
    """Call `submit` in turn; if the caller leaves meanwhile, what it queues is taken out of the queue again."""
    submitting = _in_turn(predictor, submit)
    try:
        return await asyncio.wrap_future(submitting)
    except asyncio.CancelledError:
        # Where it has begun, it goes on whatever becomes of this task.
        submitting.add_done_callback(_withdraw)
        raise


def _withdraw(submitted: Future[PendingAnswers]) -> None:
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().future.cancel()


def _errors(answers: Answers) -> list[ItemError]:
    """The items without a result and the results without what was asked for, in the order of the items."""
    errors = [ItemError(index=one.index, code=one.reason.code, detail=str(one.reason)) for one in answers.rejected]
    errors += [
        ItemError(index=one.index, code="explanation_too_long", detail=str(one.reason)) for one in answers.unexplained
    ]
    errors += [
        ItemError(index=one.index, code="certificate_too_long", detail=str(one.reason)) for one in answers.uncertified
    ]
    return sorted(errors, key=lambda error: error.index)


def _usage(answers: Answers) -> Usage:
    return Usage(items=len(answers.results), tokens=answers.tokens)


def _count(answers: Answers, predictor: Predictor, options: Options, metrics: Metrics) -> None:
    model = predictor.name
    times = answers.times
    explained = {"explain": times.render_s} if options.explain else {}
    metrics.stages(model, queue=times.queue_s, tokenize=times.tokenize_s, infer=times.infer_s, **explained)
    metrics.answers(model, answers.results)
    if predictor.package.manifest.reference is not None:
        metrics.watch(model, answers.results)


def _stages(pending: PendingAnswers, batch: BatchPrediction) -> tuple[Stage, ...]:
    queued = pending.began + pending.tokenize_s
    return (
        Stage("tokenize", pending.began, pending.tokenize_s),
        Stage("queue", queued, batch.queue_s),
        Stage("infer", queued + batch.queue_s, batch.infer_s),
    )


def _timing(times: StageTimes, context: RequestContext) -> Timing:
    return Timing(
        queue=times.queue_s * 1000,
        tokenize=times.tokenize_s * 1000,
        infer=times.infer_s * 1000,
        total=context.elapsed_s * 1000,
    )


def _problem(rejected: Sequence[RejectedItem]) -> Problem:
    """The problem of the first rejected item; its faults list all of them."""
    faults = [
        Fault(pointer=pointer("inputs", one.index, *filter(None, one.reason.field.split("/"))), detail=str(one.reason))
        for one in rejected
    ]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Problem(rejected[0].reason.code, f"{faults[0].pointer}: {faults[0].detail}{more}", faults)
