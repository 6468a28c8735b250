"""The BentoML service, built from settings: no state is shared between two of them."""

import asyncio
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import bentoml
from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from models.tasks import ENDPOINTS
from service.server.context import respond
from service.server.dialects import build_dialects
from service.server.endpoints import Endpoint, endpoint
from service.server.gateway import Addresses, App, Gateway, GatewayLimits
from service.server.in_flight import InFlight
from service.server.keys import Access, read_access
from service.server.logs import configure_logs
from service.server.metrics import Metrics
from service.server.models_routes import models_routes
from service.server.page.files import page_routes, read_files
from service.server.problems import Problem
from service.server.registry import CountedModels, ModelRegistry
from service.server.signals import handle_signals
from service.server.tracing import Tracing
from service.server.transport.connection import install
from service.server.transport.limits import ConnectionLimits
from service.settings import Settings

NAME = "Steadfast"

_BENTOML_PAGES = frozenset({"index", "static_content", "assets", "openapi-spec", "schema"})


@dataclass(frozen=True, kw_only=True)
class ServerParts:
    """The state of one server, which its addresses and its gateway share."""

    settings: Settings
    access: Access
    in_flight: InFlight
    metrics: Metrics
    registry: ModelRegistry
    tracing: Tracing | None

    @classmethod
    def from_settings(cls, settings: Settings, models: CountedModels | None) -> Self:
        """The parts of a server with these settings, and with these models or those of the settings.

        Raises:
            SettingsError: as `read_access` does.
        """
        models = models or CountedModels.of(settings, bentoml.server_context.worker_index)
        return cls(
            settings=settings,
            access=read_access(settings),
            in_flight=InFlight(),
            metrics=models.metrics,
            registry=models.registry,
            tracing=Tracing.as_environment_says() if settings.tracing else None,
        )


def build_service(settings: Settings, models: CountedModels | None = None) -> bentoml.Service[Any]:
    """The service that BentoML serves: every endpoint of the tasks, and the other addresses.

    `models` are those of the settings, where loading them has begun; without them the service begins when it opens.

    Raises:
        SettingsError: as `read_access` does.
    """
    parts = ServerParts.from_settings(settings, models)
    files = read_files() if settings.page else {}
    routes = [*(page_routes(files) if files else ()), *_routes(parts)]
    endpoints = [endpoint(tasks, parts.registry, parts.metrics, settings.max_items) for tasks in ENDPOINTS.values()]
    service = GatewayService(
        parts,
        endpoints,
        routes,
        files,
        name=NAME,
        inner=_worker_class(parts, endpoints),
        config={
            "http": {"host": settings.host, "port": settings.port},
            "workers": settings.workers,
            # The gateway writes one line for each request.
            "logging": {"access": {"enabled": False}},
            # BentoML's metrics keep a series for every path that anybody ever asks for: memory without an end.
            "metrics": {"enabled": False},
        },
    )
    service.mount_asgi_app(Starlette(routes=routes, exception_handlers={Problem: _respond}))  # type: ignore[dict-item]
    return service


def _routes(parts: ServerParts) -> list[Route]:
    """The addresses beside the endpoints of the tasks; the first that fits a request answers it."""
    return [
        *models_routes(parts.registry, parts.settings, parts.metrics, parts.access),
    ]


def _worker_class(parts: ServerParts, endpoints: Iterable[Endpoint]) -> type[Any]:
    """The class that BentoML instantiates once in each worker; its methods are the endpoints of the tasks."""

    class Steadfast:
        """Robust text models over HTTP."""

        def __init__(self) -> None:
            """Configure the log before BentoML writes its first line."""
            configure_logs()

        @bentoml.on_startup
        async def open(self) -> None:
            """Start to load the models, unless that has begun, before the worker accepts callers."""
            # Before the packages are read: a reload asked for between the two would be lost.
            handle_signals(parts.in_flight, parts.settings.drain_s, parts.access.reload, parts.registry.start_reload)
            # The command that starts a server switches it off, because all that is imported stays.
            gc.enable()
            loading = parts.registry.start_loading()
            if parts.settings.workers > 1:
                # While this worker loads, callers go to others, which may have loaded already.
                await asyncio.to_thread(loading.join)

        def __is_ready__(self) -> bool:
            """Whether `/readyz` answers 200."""
            return parts.registry.is_ready

        @bentoml.on_shutdown
        def close(self) -> None:
            """Answer what is queued and stop."""
            parts.registry.close()
            if parts.tracing is not None:
                parts.tracing.close()

    for one in endpoints:
        setattr(Steadfast, one.api.name, one.api)
    return Steadfast


class HandlersOnlyApp(ServiceAppFactory):  # type: ignore[misc]
    """BentoML's application with its handlers, but without what the gateway does or nobody reads."""

    def __call__(self) -> Starlette:
        """The application without BentoML's own pages, one of which reports to others whoever opens it."""
        app: Starlette = super().__call__()
        app.router.routes[:] = [
            route for route in app.router.routes if getattr(route, "name", None) not in _BENTOML_PAGES
        ]
        # A redirect would name the address that this process sees, which behind a proxy is another.
        app.router.redirect_slashes = False
        return app

    @property
    def middlewares(self) -> list[Middleware]:
        """Only what handlers need.

        OpenTelemetry's middleware costs 0.4 ms a request even when it exports nothing. The one that keeps time runs
        each request in a task of its own, which nobody can cancel.
        """
        return [Middleware(ContextMiddleware, context=self.service.context)]

    async def create_instance(self, _: Starlette) -> None:
        """Open the service, without the client of its own addresses that BentoML gives it: that takes 8 MB."""
        self._service_instance = self.service()
        await self._service_instance.open()

    async def destroy_instance(self, _: Starlette) -> None:
        """Close the service."""
        self._service_instance.close()
        self._service_instance = None

    async def readyz(self, _: Request) -> Response:
        """Answer 200 if the service is ready, without asking others as BentoML does: it stands before none."""
        if not self._service_instance.__is_ready__():
            raise HTTPException(503)
        return PlainTextResponse("\n")

    def _add_response_headers(self, _: Response) -> None:
        """Add none: BentoML would look up its name, and span ids that there are not, anew for each request."""


class GatewayService(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service whose whole application, its middleware included, stands behind our gateway."""

    def __init__(
        self,
        parts: ServerParts,
        endpoints: Iterable[Endpoint],
        routes: Iterable[Route],
        without_key: Iterable[str],
        **bentoml_options: Any,
    ) -> None:
        """A service of these parts; `routes` are the addresses beside the `endpoints`, which are its API methods.

        Addresses in `without_key` answer without a key.
        """
        super().__init__(**bentoml_options)
        self._parts = parts
        self._endpoints = {one.path: one for one in endpoints}
        self._addresses = Addresses.of(routes, (method.route for method in self.apis.values()), without_key)

    def to_asgi(self, is_main: bool = True) -> App:
        """BentoML's application behind the gateway."""
        self.inject_config()
        settings = self._parts.settings
        install(
            ConnectionLimits(
                max_connections=settings.max_connections,
                max_header_bytes=settings.max_header_bytes,
                max_header_lines=settings.max_header_lines,
                header_timeout_s=settings.header_timeout_s,
                keep_alive_s=settings.keep_alive_s,
            )
        )
        return Gateway(
            HandlersOnlyApp(self, is_main=is_main)(),
            addresses=self._addresses,
            endpoints=self._endpoints,
            dialects=build_dialects(self._parts.registry, self._parts.metrics, self._parts.settings),
            limits=GatewayLimits(
                max_body_bytes=settings.max_body_bytes,
                body_timeout_s=settings.body_timeout_s,
                timeout_ms=settings.timeout_ms,
                max_timeout_ms=settings.max_timeout_ms,
            ),
            access=self._parts.access,
            in_flight=self._parts.in_flight,
            metrics=self._parts.metrics,
            tracing=self._parts.tracing,
            cors_origins=settings.cors_origins,
        )


async def _respond(_: Request, problem: Problem) -> Response:
    return respond(problem)
