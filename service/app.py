"""The server: `bentoml serve service.app:Steadfast`, or `steadfast serve`, which checks the packages first.

What it answers stands in `service.server.endpoints`.
"""

import asyncio
import os
from typing import Any

import bentoml
from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response

from models.tasks import ENDPOINTS
from service.server.endpoints import endpoint
from service.server.gateway import HEALTH_PATHS, App, Gateway, GatewayLimits
from service.server.in_flight import InFlight
from service.server.keys import key_ring
from service.server.logs import configure_logs
from service.server.metrics import Metrics
from service.server.models_routes import models_routes
from service.server.registry import ModelRegistry
from service.server.signals import handle_signals
from service.server.tracing import Tracing
from service.settings import read_settings

# Nobody is told that this runs. BentoML's command reads it before it imports this: `steadfast serve` and
# bentofile.yaml set it too.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")

SETTINGS = read_settings()
KEYS = key_ring(SETTINGS)
IN_FLIGHT = InFlight()
METRICS = Metrics(
    routes={*HEALTH_PATHS, "/metrics", "/docs.json", "/v1/models", *(f"/v1/{endpoint}" for endpoint in ENDPOINTS)}
)
REGISTRY = ModelRegistry(SETTINGS, METRICS)
TRACING = Tracing.as_environment_says() if SETTINGS.tracing else None


def answering(name: str) -> Any:
    """The method that answers `POST /v1/NAME`."""
    return endpoint(ENDPOINTS[name], REGISTRY, METRICS, SETTINGS.max_items)


_PAGES = frozenset({"index", "static_content", "assets", "openapi-spec", "schema"})


class HandlersOnlyApp(ServiceAppFactory):  # type: ignore[misc]
    """BentoML's application without what the gateway does, or nobody reads."""

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


class GatewayService(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service with our gateway around all of it, the errors of its middleware included."""

    def to_asgi(self, is_main: bool = True) -> App:
        """As BentoML does, and the gateway."""
        self.inject_config()
        return Gateway(
            HandlersOnlyApp(self, is_main=is_main)(),
            json_paths={"/v1/models", *(method.route for method in self.apis.values())},
            limits=GatewayLimits(
                max_body_bytes=SETTINGS.max_body_bytes,
                body_timeout_s=SETTINGS.body_timeout_s,
                timeout_ms=SETTINGS.timeout_ms,
                max_timeout_ms=SETTINGS.max_timeout_ms,
            ),
            keys=KEYS,
            is_open=SETTINGS.open_to_all,
            in_flight=IN_FLIGHT,
            metrics=METRICS,
            tracing=TRACING,
        )


@bentoml.asgi_app(models_routes(REGISTRY, SETTINGS, METRICS, KEYS))
@bentoml.service(
    service_class=GatewayService,
    http={"host": SETTINGS.host, "port": SETTINGS.port},
    workers=SETTINGS.workers,
    # The gateway writes one line a request.
    logging={"access": {"enabled": False}},
    # BentoML's metrics keep a series for every path that anybody ever asks for: memory without an end.
    metrics={"enabled": False},
)
class Steadfast:
    """Robust text models over HTTP."""

    def __init__(self) -> None:
        """Start loading; BentoML makes one instance in each worker."""
        configure_logs()
        self._loading = REGISTRY.start_loading()

    # A task more is a line more.
    sentiment = answering("sentiment")
    nli = answering("nli")
    sts = answering("sts")
    paraphrase = answering("paraphrase")
    ner = answering("ner")
    reading_comprehension = answering("reading-comprehension")

    @bentoml.on_startup
    async def open(self) -> None:
        """What is left to do before the worker accepts callers."""
        handle_signals(IN_FLIGHT, SETTINGS.drain_s, KEYS.reload, REGISTRY.start_reload)
        if SETTINGS.workers > 1:
            # Callers go to those who can answer: to the others while this one is loading.
            await asyncio.to_thread(self._loading.join)

    def __is_ready__(self) -> bool:
        """What `/readyz` tells."""
        return REGISTRY.is_ready

    @bentoml.on_shutdown
    def close(self) -> None:
        """Answer what is queued and stop."""
        REGISTRY.close()
        if TRACING is not None:
            TRACING.close()
