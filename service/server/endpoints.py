"""The addresses that answer: `POST /v1/ENDPOINT`, one for each endpoint of the tasks.

A handler checks, calls and maps errors. BentoML's batching is not used: it counts rows instead of tokens and fails
every batch-mate of a bad row.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import bentoml
from pydantic import ValidationError
from starlette.responses import Response

from models.tasks.task import AnyTask
from service.answers.contract import AnswerBody, ItemError, Timing, Usage, answer_type, request_type
from service.answers.predictor import BatchPrediction, EncodedItem, NotOffered, Predictor, RejectedItem
from service.engine.errors import DeadlineExceeded, EngineClosed, Overloaded
from service.server.context import RequestContext, current_request, respond
from service.server.metrics import Metrics
from service.server.problems import Fault, Problem, pointer
from service.server.registry import ModelRegistry
from service.server.tracing import Stage

LARGE_BODY_BYTES = 65_536
"""Texts of a larger body are read in a thread: tokenising 64 KiB would hold up all other requests for some 20 ms."""
LARGE_EXPLANATION_CHARACTERS = 10_000
"""Longer explanations are made in a thread: a long text may have hundreds of entities, each explained by its words."""

P = ParamSpec("P")
T = TypeVar("T")


def endpoint(tasks: Sequence[AnyTask], registry: ModelRegistry, metrics: Metrics, max_items: int) -> Any:
    """The method of a service that answers at the endpoint of `tasks` with a package for any of them."""
    task = tasks[0]
    Request = request_type(task, max_items)
    Answer = answer_type(*tasks)

    async def answer(_: object, request: Request, /) -> Answer:  # type: ignore[valid-type]
        try:
            with errors_as_problems(), registry.using(task.endpoint, request.model) as predictor:  # type: ignore[attr-defined]
                return await _answer(predictor, request, Answer, metrics)
        except Problem as problem:
            return respond(problem)

    answer.__name__ = task.endpoint.replace("-", "_")
    answer.__doc__ = task.answer.__doc__
    # BentoML asks for the signature at every request.
    answer.__signature__ = inspect.signature(answer)  # type: ignore[attr-defined]
    return bentoml.api(route=f"/v1/{task.endpoint}")(answer)


@contextmanager
def errors_as_problems() -> Iterator[None]:
    """Turn the errors of a predictor into problems, for every dialect in which requests are answered.

    Raises:
        Problem: the request cannot be answered; it says why.
        RuntimeError: an answer does not fit its own type.
    """
    try:
        yield
    except NotOffered as error:
        raise Problem("validation", str(error), [Fault(pointer="/explain", detail=str(error))]) from error
    except Overloaded as error:
        raise Problem("overloaded", str(error), headers={"Retry-After": str(error.retry_after_s)}) from error
    except DeadlineExceeded as error:
        raise Problem("deadline_exceeded", str(error)) from error
    except EngineClosed as error:
        raise Problem("draining", "the server is shutting down") from error
    except ValidationError as error:
        # The request fitted its type, so the answer does not: BentoML would blame the caller for this error.
        raise RuntimeError("an answer does not fit its own type") from error


async def _answer(predictor: Predictor, request: Any, answer_body: type[AnswerBody], metrics: Metrics) -> Response:
    """The answer to `request`, any task's."""
    context = current_request.get()
    aside = asyncio.to_thread if len(context.body) > LARGE_BODY_BYTES else _directly
    predictor.check(request.explain)
    began = time.perf_counter()
    encoded_items, rejected = await aside(predictor.read, request.inputs, request.truncation)
    tokenize_s = time.perf_counter() - began
    if rejected and request.on_error == "fail":
        raise _refused(rejected)
    computing = predictor.compute(encoded_items, request.explain, deadline=context.deadline)
    # Cancelled with this task, when the caller has gone.
    answered = await asyncio.wrap_future(computing)
    context.stages = _stages(began, tokenize_s, answered)
    predicted = time.perf_counter()
    if _explained_characters(encoded_items, answered) > LARGE_EXPLANATION_CHARACTERS:
        aside = asyncio.to_thread
    results = await aside(predictor.answer, encoded_items, answered, request)
    explained = {"explain": time.perf_counter() - predicted} if request.explain else {}
    metrics.stages(predictor.name, queue=answered.queue_s, tokenize=tokenize_s, infer=answered.infer_s, **explained)
    metrics.answers(predictor.name, results)
    usage = Usage(items=len(results), tokens=sum(encoded_item.encoded.tokens for encoded_item in encoded_items))
    timing = _timing(context, tokenize_s, answered)
    context.facts |= usage.model_dump() | {f"{name}_ms": round(value, 3) for name, value in timing}
    body = answer_body(
        id=context.request_id,
        model=predictor.name,
        results=results,
        errors=[_item_error(rejection) for rejection in rejected],
        usage=usage,
        timing_ms=timing,
    )
    content = await aside(body.model_dump_json, exclude=None if request.on_error == "report" else {"errors"})
    server_timing = ", ".join(f"{name};dur={value:.3f}" for name, value in timing)
    return Response(content, headers={"Server-Timing": server_timing}, media_type="application/json")


def _explained_characters(encoded_items: Sequence[EncodedItem], answered: BatchPrediction) -> int:
    """The texts' length, once for each answer that is explained by their words."""
    return sum(
        len(predicted.shares) * sum(map(len, encoded_item.encoded.texts.values()))
        for encoded_item, predicted in zip(encoded_items, answered.predictions, strict=True)
    )


def _stages(began: float, tokenize_s: float, answered: BatchPrediction) -> tuple[Stage, ...]:
    queued = began + tokenize_s
    taken_up = queued + answered.queue_s
    return (
        Stage("tokenize", began, tokenize_s),
        Stage("queue", queued, answered.queue_s),
        Stage("infer", taken_up, answered.infer_s),
    )


def _timing(context: RequestContext, tokenize_s: float, answered: BatchPrediction) -> Timing:
    return Timing(
        queue=answered.queue_s * 1000,
        tokenize=tokenize_s * 1000,
        infer=answered.infer_s * 1000,
        total=context.elapsed_s * 1000,
    )


def _item_error(rejection: RejectedItem) -> ItemError:
    return ItemError(index=rejection.index, code=rejection.reason.code, detail=str(rejection.reason))


async def _directly(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs)


def _refused(rejected: Sequence[RejectedItem]) -> Problem:
    """The problem of the first input at fault; all of them are listed."""
    faults = [
        Fault(
            pointer=pointer("inputs", rejection.index, *rejection.reason.field.split("/")), detail=str(rejection.reason)
        )
        for rejection in rejected
    ]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Problem(rejected[0].reason.code, f"{faults[0].pointer}: {faults[0].detail}{more}", faults)
