"""The addresses beside the endpoints: lists and cards of models, their reload, counters, and the OpenAPI document."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import get_args

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from export.figures.stated import list_headlines
from models.text import Truncation
from service.answers.contract import Limits, ModelCard, ModelList, Reload
from service.answers.predictor import Predictor
from service.server.context import read_body
from service.server.keys import Access
from service.server.metrics import CONTENT_TYPE, Metrics
from service.server.openapi import describe_api
from service.server.problems import Problem
from service.server.registry import ModelRegistry
from service.server.signals import notify_other_workers
from service.settings import Settings

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def models_routes(registry: ModelRegistry, settings: Settings, metrics: Metrics, access: Access) -> list[Route]:
    """The addresses for the models in `registry`, for the server's counters and for its OpenAPI document.

    The last of them fits every `/v1/NAME`: routes that come later in an application do not get those.
    """
    models = _Models(registry, settings, access)
    # Made when it is first asked for: it takes as long as all else that is built when a server starts.
    describe = cache(describe_api)

    def show_document(_: Request) -> Response:
        return JSONResponse(describe(settings.max_items))

    def show_metrics(_: Request) -> Response:
        # Starlette runs it in a thread, because it reads files; while nothing is loaded there is no model to show.
        predictors = registry.predictors if registry.is_ready else ()
        figures = {one.name: list_headlines(one.package.manifest) for one in predictors}
        stated = {one.name: one.package.manifest.reference for one in predictors}
        references = {name: reference for name, reference in stated.items() if reference is not None}
        return Response(metrics.render(figures, references), media_type=CONTENT_TYPE)

    return [
        Route("/openapi.json", show_document),
        Route("/docs.json", show_document),
        Route("/metrics", show_metrics),
        Route("/v1/models", models.show_all),
        Route("/v1/models", models.change, methods=["POST"]),
        Route("/v1/models", models.refuse_method, methods=_METHODS, include_in_schema=False),
        Route("/v1/models/{task}", models.show_default),
        # The rest of /v1/TASK: a task without a model, or another method than POST.
        Route("/v1/{task}", models.refuse_task, methods=_METHODS, include_in_schema=False),
    ]


class _Models:
    """The handlers of the addresses for models."""

    def __init__(self, registry: ModelRegistry, settings: Settings, access: Access) -> None:
        self._registry = registry
        self._settings = settings
        self._access = access

    async def show_all(self, _: Request) -> Response:
        return self._respond_with_all()

    async def change(self, _: Request) -> Response:
        read_body(Reload)
        # Shielded: even if the caller gives up meanwhile, all workers must end with the same models.
        await asyncio.shield(asyncio.to_thread(_reload_everywhere, self._registry, self._access))
        return self._respond_with_all()

    async def show_default(self, request: Request) -> Response:
        return _json(_card(self._registry.for_endpoint(request.path_params["task"]), 0, self._settings))

    async def refuse_task(self, request: Request) -> Response:
        self._registry.for_endpoint(request.path_params["task"])
        raise _wrong_method("POST")

    async def refuse_method(self, _: Request) -> Response:
        raise _wrong_method("GET, HEAD, POST")

    def _respond_with_all(self) -> Response:
        endpoints = dict.fromkeys(predictor.task.endpoint for predictor in self._registry.predictors)
        found = [self._registry.for_endpoint(endpoint) for endpoint in endpoints]
        cards = [_card(models, number, self._settings) for models in found for number in range(len(models))]
        return _json(ModelList(models=cards))


def _reload_everywhere(registry: ModelRegistry, access: Access) -> None:
    """Read packages and keys again, here and then, unless that failed, in the other workers."""
    registry.reload()
    access.reload()
    notify_other_workers()


def _card(models: Sequence[Predictor], number: int, settings: Settings) -> ModelCard:
    """The card of one of the models for an endpoint; the first of them is the default."""
    predictor = models[number]
    manifest = predictor.package.manifest
    limits = predictor.limits
    head = predictor.task.head
    return ModelCard(
        **predictor.name.model_dump(),
        is_default=number == 0,
        others=tuple(other.name.name for other in models if other is not predictor),
        is_fallback=predictor.package.uses_fallback,
        labels=manifest.labels,
        score_range=manifest.score_range,
        label_threshold=manifest.label_threshold if head == "multi-label-classification" else None,
        outside_threshold=manifest.outside_threshold if head == "token-classification" else None,
        base=manifest.base,
        limits=Limits(
            max_items=settings.max_items,
            max_body_bytes=settings.max_body_bytes,
            max_tokens=limits.max_tokens,
            max_item_tokens=limits.max_item_tokens,
            max_characters=limits.max_characters,
            max_occlusion_words=predictor.max_occlusion_words,
            max_certify_rows=predictor.max_certify_rows,
        ),
        explanations=predictor.explanations,
        targets=predictor.targets,
        truncations=get_args(Truncation),
        metrics=manifest.metrics,
        noise=manifest.noise,
        passport=manifest.passport,
        twins=manifest.twins,
        faithfulness=manifest.faithfulness,
        reference=manifest.reference,
        quality=manifest.quality,
        parity=manifest.parity,
        determinism=manifest.determinism,
        data=manifest.data,
        licences=manifest.licences,
    )


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


def _wrong_method(allowed: str) -> Problem:
    return Problem("method_not_allowed", f"this address takes {allowed}", headers={"Allow": allowed})
