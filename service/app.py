"""The server: `bentoml serve service.app:Steadfast`, or `steadfast serve`, which checks the packages first.

Handlers check, call and map errors. BentoML's batching is not used: it counts rows instead of tokens and fails every
batch-mate of a bad row.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import bentoml
from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response

from models.tasks import ENDPOINTS
from models.tasks.task import AnyTask
from service.answers.contract import Answer as AnswerBody
from service.answers.contract import ItemError, Timing, Usage, answer_type, request_type
from service.answers.predictor import Answered, Answerer, NotOffered, Reading, Refusal
from service.engine.backlog import DeadlineExceeded
from service.engine.pool import EngineClosed, Overloaded
from service.server.context import Exchange, current_exchange, respond
from service.server.gateway import PROBES, App, Border, BorderLimits
from service.server.in_flight import Traffic
from service.server.keys import key_ring
from service.server.logs import configure_logs
from service.server.metrics import Metrics
from service.server.models_routes import catalogue
from service.server.problems import Fault, Problem, pointer
from service.server.registry import Lineup
from service.server.signals import heed_signals
from service.server.tracing import Stage, Tracing
from service.settings import read_settings

# Nobody is told that this runs. BentoML's command reads it before it imports this: `steadfast serve` and
# bentofile.yaml set it too.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")

SETTINGS = read_settings()
KEYS = key_ring(SETTINGS)
TRAFFIC = Traffic()
METRICS = Metrics(
    routes={*PROBES, "/metrics", "/docs.json", "/v1/models", *(f"/v1/{endpoint}" for endpoint in ENDPOINTS)}
)
LINEUP = Lineup(SETTINGS, METRICS)
TRACING = Tracing.as_environment_says() if SETTINGS.tracing else None

LARGE_BODY_BYTES = 65_536
"""From here on texts are read in a thread: tokenising 64 KiB takes some 20 ms, for which nobody else would be heard."""
LARGE_EXPLANATION_CHARACTERS = 10_000
"""From here on answers are made in a thread: a long text may have hundreds of entities, each explained by its words."""

P = ParamSpec("P")
T = TypeVar("T")


def endpoint(*tasks: AnyTask) -> Any:
    """The method of the service that answers `POST /v1/ENDPOINT` with a package for any of these tasks."""
    task = tasks[0]
    Request = request_type(task, SETTINGS.max_items)
    Answer = answer_type(*tasks)

    async def answer(_: "Steadfast", request: Request, /) -> Answer:  # type: ignore[valid-type]
        try:
            with LINEUP.using(task.endpoint, request.model) as answerer:  # type: ignore[attr-defined]
                return await _answer(answerer, request, Answer)
        except Problem as problem:
            return respond(problem)
        except NotOffered as error:
            return respond(Problem("validation", str(error), [Fault(pointer="/explain", detail=str(error))]))
        except Overloaded as error:
            return respond(Problem("overloaded", str(error), headers={"Retry-After": str(error.retry_after_s)}))
        except DeadlineExceeded as error:
            return respond(Problem("deadline_exceeded", str(error)))
        except EngineClosed:
            return respond(Problem("draining", "the server is shutting down"))
        except ValidationError as error:
            # Of an answer: BentoML would take it for one of the request, and blame the caller.
            raise RuntimeError("an answer does not fit its own type") from error

    answer.__name__ = task.endpoint.replace("-", "_")
    answer.__doc__ = task.answer.__doc__
    # BentoML asks for it at every request.
    answer.__signature__ = inspect.signature(answer)  # type: ignore[attr-defined]
    return bentoml.api(route=f"/v1/{task.endpoint}")(answer)


_PAGES = frozenset({"index", "static_content", "assets", "openapi-spec", "schema"})


class BorderedApp(ServiceAppFactory):  # type: ignore[misc]
    """BentoML's application without what the border does, or nobody reads."""

    def __call__(self) -> Starlette:
        """Without BentoML's own pages, one of which reports to others whoever opens it."""
        app: Starlette = super().__call__()
        app.router.routes[:] = [route for route in app.router.routes if getattr(route, "name", None) not in _PAGES]
        # A redirect would name the address that this process sees, which behind a proxy is another.
        app.router.redirect_slashes = False
        return app

    @property
    def middlewares(self) -> list[Middleware]:
        """Only what handlers need.

        Of the others OpenTelemetry's costs 0.4 ms a request even when it exports nothing, and the one that keeps time
        runs each request in a task of its own, which nobody can call off.
        """
        return [Middleware(ContextMiddleware, context=self.service.context)]

    def _add_response_headers(self, _: Response) -> None:
        """None: BentoML's name, and ids of spans that there are not, are looked up anew for each request."""


class BorderedService(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service with our border around all of it, the errors of its middleware included."""

    def to_asgi(self, is_main: bool = True) -> App:
        """As BentoML does, and the border."""
        self.inject_config()
        return Border(
            BorderedApp(self, is_main=is_main)(),
            json_paths={"/v1/models", *(method.route for method in self.apis.values())},
            limits=BorderLimits(
                max_body_bytes=SETTINGS.max_body_bytes,
                body_timeout_s=SETTINGS.body_timeout_s,
                timeout_ms=SETTINGS.timeout_ms,
                max_timeout_ms=SETTINGS.max_timeout_ms,
            ),
            keys=KEYS,
            is_open=SETTINGS.open_to_all,
            traffic=TRAFFIC,
            metrics=METRICS,
            tracing=TRACING,
        )


@bentoml.asgi_app(catalogue(LINEUP, SETTINGS, METRICS, KEYS))
@bentoml.service(
    service_class=BorderedService,
    http={"host": SETTINGS.host, "port": SETTINGS.port},
    workers=SETTINGS.workers,
    # The border writes one line a request.
    logging={"access": {"enabled": False}},
    # BentoML's metrics keep a series for every path that anybody ever asks for: memory without an end.
    metrics={"enabled": False},
)
class Steadfast:
    """Robust text models over HTTP."""

    def __init__(self) -> None:
        """Start loading; BentoML makes one instance in each worker."""
        configure_logs()
        self._loading = LINEUP.load_aside()

    # A task more is a line more.
    sentiment = endpoint(*ENDPOINTS["sentiment"])
    nli = endpoint(*ENDPOINTS["nli"])
    sts = endpoint(*ENDPOINTS["sts"])
    paraphrase = endpoint(*ENDPOINTS["paraphrase"])
    ner = endpoint(*ENDPOINTS["ner"])
    reading_comprehension = endpoint(*ENDPOINTS["reading-comprehension"])

    @bentoml.on_startup
    async def open(self) -> None:
        """What is left to do before the worker accepts callers."""
        heed_signals(TRAFFIC, SETTINGS.drain_s, KEYS.reload, LINEUP.reload_aside)
        if SETTINGS.workers > 1:
            # Callers go to those who can answer: to the others while this one is loading.
            await asyncio.to_thread(self._loading.join)

    def __is_ready__(self) -> bool:
        """What `/readyz` tells."""
        return LINEUP.is_ready

    @bentoml.on_shutdown
    def close(self) -> None:
        """Answer what is queued and stop."""
        LINEUP.close()
        if TRACING is not None:
            TRACING.close()


async def _answer(answerer: Answerer, request: Any, answer_body: type[AnswerBody]) -> Response:
    """The answer to `request`, any task's."""
    exchange = current_exchange.get()
    aside = asyncio.to_thread if len(exchange.body) > LARGE_BODY_BYTES else _directly
    answerer.check(request.explain)
    began = time.perf_counter()
    readings, refusals = await aside(answerer.read, request.inputs, request.truncation)
    tokenize_s = time.perf_counter() - began
    if refusals and request.on_error == "fail":
        raise _refused(refusals)
    computing = answerer.compute(readings, request.explain, deadline=exchange.deadline)
    # Cancelled with this task, when the caller has gone.
    answered = await asyncio.wrap_future(computing)
    exchange.stages = _stages(began, tokenize_s, answered)
    predicted = time.perf_counter()
    if _explained_characters(readings, answered) > LARGE_EXPLANATION_CHARACTERS:
        aside = asyncio.to_thread
    results = await aside(answerer.answer, readings, answered, request)
    explained = {"explain": time.perf_counter() - predicted} if request.explain else {}
    METRICS.stages(answerer.name, queue=answered.queue_s, tokenize=tokenize_s, infer=answered.infer_s, **explained)
    METRICS.answers(answerer.name, results)
    usage = Usage(items=len(results), tokens=sum(reading.encoded.tokens for reading in readings))
    timing = _timing(exchange, tokenize_s, answered)
    exchange.facts |= usage.model_dump() | {f"{name}_ms": round(value, 3) for name, value in timing}
    body = answer_body(
        id=exchange.request_id,
        model=answerer.name,
        results=results,
        errors=[_item_error(refusal) for refusal in refusals],
        usage=usage,
        timing_ms=timing,
    )
    content = await aside(body.model_dump_json, exclude=None if request.on_error == "report" else {"errors"})
    server_timing = ", ".join(f"{name};dur={value:.3f}" for name, value in timing)
    return Response(content, headers={"Server-Timing": server_timing}, media_type="application/json")


def _explained_characters(readings: Sequence[Reading], answered: Answered) -> int:
    """The texts' length, once for each answer that is explained by their words."""
    return sum(
        len(predicted.shares) * sum(map(len, reading.encoded.texts.values()))
        for reading, predicted in zip(readings, answered.predictions, strict=True)
    )


def _stages(began: float, tokenize_s: float, answered: Answered) -> tuple[Stage, ...]:
    queued = began + tokenize_s
    taken_up = queued + answered.queue_s
    return (
        Stage("tokenize", began, tokenize_s),
        Stage("queue", queued, answered.queue_s),
        Stage("infer", taken_up, answered.infer_s),
    )


def _timing(exchange: Exchange, tokenize_s: float, answered: Answered) -> Timing:
    return Timing(
        queue=answered.queue_s * 1000,
        tokenize=tokenize_s * 1000,
        infer=answered.infer_s * 1000,
        total=exchange.elapsed_s * 1000,
    )


def _item_error(refusal: Refusal) -> ItemError:
    return ItemError(index=refusal.index, code=refusal.reason.code, detail=str(refusal.reason))


async def _directly(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs)


def _refused(refusals: Sequence[Refusal]) -> Problem:
    """The problem of the first input at fault; all of them are listed."""
    faults = [
        Fault(pointer=pointer("inputs", refusal.index, *refusal.reason.field.split("/")), detail=str(refusal.reason))
        for refusal in refusals
    ]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Problem(refusals[0].reason.code, f"{faults[0].pointer}: {faults[0].detail}{more}", faults)
