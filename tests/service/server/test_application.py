"""The service as it is built from settings, and the parts of BentoML that are left out of it."""

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from _bentoml_impl.server.app import ServiceAppFactory

from export.package import Package
from service.answers.packages import open_packages
from service.server.application import HandlersOnlyApp, build_service
from service.settings import Settings
from tests.service.conftest import ROOT, Server
from tests.service.tiny import build_package


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A server with these settings inside this process, ready to answer."""
    application = build_service(settings).to_asgi()
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    lifespan = asyncio.create_task(application({"type": "lifespan"}, events.get, said.put))
    await events.put({"type": "lifespan.startup"})
    assert await said.get() == {"type": "lifespan.startup.complete"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://127.0.0.1") as client:
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        yield client
    await events.put({"type": "lifespan.shutdown"})
    await lifespan


def test_two_servers_with_different_settings_stand_in_one_process(package: Path, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other", name="other")

    async def ask_both() -> list[httpx.Response]:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(running(Settings(packages=(package,), max_items=1)))
            keyed = Settings(packages=(other,), api_keys=("key",))  # type: ignore[arg-type]
            second = await stack.enter_async_context(running(keyed))
            body = {"inputs": ["good", "bad"]}
            header = {"Authorization": "Bearer key"}
            return [
                await first.post("/v1/sentiment", json=body),
                await first.post("/v1/sentiment", json={"inputs": ["good"]}),
                await second.post("/v1/sentiment", json=body),
                await second.post("/v1/sentiment", json=body, headers=header),
                await second.get("/metrics", headers=header),
            ]

    too_many, one, unauthorized, two, metrics = asyncio.run(ask_both())
    assert [answer.status_code for answer in (too_many, one, unauthorized, two)] == [413, 200, 401, 200]
    assert [answer.json()["model"]["name"] for answer in (one, two)] == ["tiny", "other"]
    # Each server counts its own requests.
    assert 'steadfast_requests_total{code="200",route="/v1/sentiment"} 1.0' in metrics.text
    assert 'code="413"' not in metrics.text


def test_a_reload_that_is_asked_for_while_a_worker_starts_is_not_lost(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = []

    def note_handler(settings: Settings) -> Sequence[Package]:
        handlers.append(signal.getsignal(signal.SIGHUP))
        return open_packages(settings)

    async def start() -> None:
        async with running(Settings(packages=(package,))):
            pass

    monkeypatch.setattr("service.server.registry.open_packages", note_handler)
    asyncio.run(start())
    (handler,) = handlers
    # From the moment that packages are read, a request to read them again is heard.
    assert handler not in (signal.SIG_DFL, signal.SIG_IGN)


def test_a_worker_collects_garbage_though_the_command_that_forked_it_does_not(package: Path) -> None:
    async def start() -> bool:
        async with running(Settings(packages=(package,))):
            return gc.isenabled()

    gc.disable()
    try:
        assert asyncio.run(start())
    finally:
        gc.enable()


def test_importing_the_address_of_the_service_builds_nothing() -> None:
    script = "import service.app, sys; print([name for name in sys.modules if name.startswith(('bentoml', 'export'))])"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "[]"


def test_a_worker_loads_no_client_of_http_before_it_is_used(server: Server) -> None:
    (worker,) = server.workers()
    paths = [mapped.path for mapped in psutil.Process(worker).memory_maps()]
    assert any("httptools" in path for path in paths)
    assert not any("aiohttp" in path for path in paths)
    script = "import service.app; service.app.Steadfast; import aiohttp; print(aiohttp.ClientSession.__name__)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "ClientSession"


@pytest.fixture
def service() -> Any:
    built = build_service(Settings())
    built.inject_config()
    return built


def names(factory: type[ServiceAppFactory], service: Any) -> list[str]:
    return [middleware.cls.__name__ for middleware in factory(service, is_main=True).middlewares]


def test_what_is_left_out_is_what_we_know_of(service: Any) -> None:
    # If a later BentoML has one more, look whether to leave it out too.
    assert names(ServiceAppFactory, service) == ["OpenTelemetryMiddleware", "TimeoutMiddleware", "ContextMiddleware"]
    assert names(HandlersOnlyApp, service) == ["ContextMiddleware"]


def test_none_of_bentomls_pages_is_served(service: Any) -> None:
    pages = {getattr(route, "name", None) for route in ServiceAppFactory(service, is_main=True)().routes}
    ours = {getattr(route, "name", None) for route in HandlersOnlyApp(service, is_main=True)().routes}
    # If a later BentoML has one more, look whether to leave it out too.
    assert pages - ours == {"index", "static_content", "openapi-spec", "schema"}
