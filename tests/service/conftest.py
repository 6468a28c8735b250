"""One tiny package for all tests, and one server that answers with it over real HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import httpx
import psutil
import pytest

from export.package import FALLBACK_FILE, MANIFEST_FILE, open_package, read_manifest, write_manifest
from models.tasks import TASKS
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from tests.service.tiny import build_package, reseal

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
START_S = 60
WAIT_S = 180
"""Longest wait for anything: a busy machine may take a minute for what an idle one does in a second."""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_package(tmp_path_factory.mktemp("packages") / "tiny")


@pytest.fixture(scope="session")
def every_package(made: Callable[[str], Path]) -> list[Path]:
    """The packages of the zoo, and tiny ones of the tasks that it has none for."""
    found = sorted(path.parent for path in ZOO.glob("*/package.json"))
    answered = {read_manifest(folder).task for folder in found}
    return [*found, *(made(name) / "package" for name in TASKS if name not in answered)]


@pytest.fixture
def unreproduced(made: Callable[[str], Path], tmp_path: Path) -> Path:
    """A package in int8 that gives other outputs here than where it was made, and nothing else to answer with."""
    folder = Path(shutil.copytree(made("sentiment") / "package", tmp_path / "unreproduced"))
    probe = read_manifest(folder).probes[0]
    reseal(folder, probes=[probe.model_copy(update={"outputs": {"logits": [[50.0, 50.0]]}}).model_dump()])
    return folder


@pytest.fixture
def fallen(unreproduced: Path, made: Callable[[str], Path]) -> Path:
    """The same, but with a graph in fp32."""
    manifest = read_manifest(unreproduced)
    # The int8 graph stands in for the fp32 graph, which would give other probe outputs and the same decision.
    shutil.copyfile(unreproduced / "model.onnx", unreproduced / FALLBACK_FILE)
    (unreproduced / MANIFEST_FILE).unlink()
    probes = read_manifest(made("sentiment") / "package").probes
    write_manifest(unreproduced, manifest.model_copy(update={"fallback_probes": probes}))
    return unreproduced


@pytest.fixture(scope="session")
def predictor(package: Path) -> Iterator[Predictor]:
    with Pool(2) as pool, Predictor(open_package(package), EngineLimits(), pool) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def opened(made: Callable[[str], Path]) -> Iterator[Callable[[str], Predictor]]:
    predictors: dict[str, Predictor] = {}
    with Pool(2) as pool:

        def find(task: str) -> Predictor:
            if task not in predictors:
                predictors[task] = Predictor(open_package(made(task) / "package"), EngineLimits(), pool)
            return predictors[task]

        yield find
        for predictor in predictors.values():
            predictor.close()


@pytest.fixture
def attentive(package: Path, tmp_path: Path) -> Iterator[Predictor]:
    """A predictor whose package gives attention and no other output that explains."""
    folder = Path(shutil.copytree(package, tmp_path / "attentive"))
    outputs = json.loads((folder / MANIFEST_FILE).read_bytes())["outputs"]
    reseal(folder, outputs=[output for output in outputs if output["name"] in ("logits", "attention")], probes=[])
    with Pool(1) as pool, Predictor(open_package(folder), EngineLimits(), pool) as predictor:
        yield predictor


@dataclass(frozen=True)
class Server:
    """A running server, the file of its log, and a connection to it."""

    port: int
    log: Path
    client: httpx.Client
    process: subprocess.Popen[bytes]

    def ask(self, **request: Any) -> httpx.Response:
        return self.client.post("/v1/sentiment", json=request)

    def workers(self) -> set[int]:
        """The process ids of the workers."""
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def events(self, name: str) -> int:
        """The number of log lines with this event."""
        return sum(line["event"] == name for line in self.log_lines())

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """A function that starts a server on a free port with the settings given; all are stopped at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def start(
        *packages: Path,
        ready: bool = True,
        environment: Mapping[str, str] = MappingProxyType({}),
        stderr: BinaryIO | None = None,
        starter: Sequence[str] = (),
        **settings: object,
    ) -> Server:
        folder = tmp_path_factory.mktemp("server")
        port = free_port()
        log = folder / "stderr"
        variables = {
            **os.environ,
            # In which nothing can be made, as in that of a user of services.
            "HOME": "/dev/null",
            **{f"STEADFAST_{name.upper()}": str(value) for name, value in settings.items()},
            **environment,
        }
        command = [*starter, sys.executable, "-m", "service.cli", "serve", *map(str, packages), "--port", str(port)]
        with log.open("wb") as default, (folder / "stdout").open("wb") as stdout:
            process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stdout=stdout, stderr=stderr or default, start_new_session=True
            )
        processes.append(process)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        clients.append(client)
        wait_for(lambda: _status(client, "/readyz" if ready else "/livez") == 200)
        server = Server(port, log, client, process)
        if ready and stderr is None:
            # One worker may be ready while another still starts.
            wait_for(lambda: server.events("ready") >= int(str(settings.get("workers", 1))))
        return server

    yield start
    for client in clients:
        client.close()
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package)


@pytest.fixture(scope="session")
def pair(start_server: Callable[..., Server], package: Path) -> Server:
    """A server of two workers."""
    return start_server(package, workers=2, threads=1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], bool], *, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(every_s)


def steadfast(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a `steadfast` command to its end."""
    command = [sys.executable, "-m", "service.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False, **options)


def _status(client: httpx.Client, path: str) -> int | None:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return None
