"""Steadfast beside other servers of the same graph, in turn: mosec, and FastAPI with ONNX Runtime written by hand.

Each runs in an environment of its own under `build/peers/`, made the first time; one that cannot be installed is left
out, and a line says so. `python -m benchmarks.beside --earlier COMMIT` puts the server of an earlier commit among them,
with the package for sentiment that it came with.
"""

import os
import socket
import statistics
import subprocess
import time
import venv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil

from benchmarks.serving import Server, http_seconds, latency, load, serving
from benchmarks.texts import make_texts

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build" / "peers"
SHARED = ("onnxruntime==1.31.1", "tokenizers==0.22.2", "numpy==2.4.6")
PINNED = {
    "mosec": ("mosec==0.9.8",),
    "FastAPI": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0"),
}
COMMANDS = {
    "mosec": ("mosec_server.py", "--port", "{port}"),
    "FastAPI": ("-m", "uvicorn", "fastapi_server:app", "--port", "{port}", "--workers", "2", "--no-access-log"),
}
ROUNDS = 5
START_S = 60


def report(zoo: Path, earlier: Path | None = None) -> Iterator[str]:
    """The lines to print; `earlier` is a folder with the code and the packages of an earlier version."""
    package, texts = zoo / "sentiment", make_texts(512)
    with ExitStack() as stack:
        servers = {"Steadfast": stack.enter_context(serving([package.absolute()]))}
        if earlier is not None:
            servers["earlier"] = stack.enter_context(serving([earlier / "zoo" / "sentiment"], earlier))
        for name in PINNED:
            try:
                servers[name] = stack.enter_context(_peer(name, package))
            except (subprocess.CalledProcessError, OSError, TimeoutError) as error:
                yield f"{name} is left out: it cannot be installed or started here ({type(error).__name__})"
        measured: dict[str, list[Measured]] = {name: [] for name in servers}
        for server in servers.values():
            http_seconds(server, texts[:64], 1, None)
        for _ in range(ROUNDS):
            for name, server in servers.items():
                measured[name].append(_measure(server, texts))
    yield f"servers of zoo/sentiment's graph, {len(texts)} texts (medians of {ROUNDS} rounds in turn)"
    yield f"  {'':<14}" + "".join(f"{what:>22}" for what in Measured._fields)
    for name, rounds in measured.items():
        yield _line(name, (statistics.median(values) for values in zip(*rounds, strict=True)))
    for name in list(servers)[1:]:
        pairs = zip(measured["Steadfast"], measured[name], strict=True)
        ratios = [[mine / other for mine, other in zip(*pair, strict=True)] for pair in pairs]
        yield _line(f"x {name}", (statistics.median(values) for values in zip(*ratios, strict=True)))


class Measured(NamedTuple):
    """One round with one server."""

    alone_p50_ms: float
    """Median time of a text, one caller at a time."""
    at_once_cpu_ms: float
    """CPU time of a text, 32 callers at once."""
    at_once_per_s: float
    """Texts a second, 32 callers at once."""
    at_once_p99_to_p50: float
    """The time of the slowest hundredth of the texts as a multiple of the median, 32 callers at once."""
    together_cpu_ms: float
    """CPU time of a text, 32 texts a request."""


def _measure(server: Server, texts: list[str]) -> Measured:
    alone = latency(server, texts[:128])
    before, began = server.cpu_seconds(), time.perf_counter()
    walls = load(server, texts * 2, 1, None)
    took, used = time.perf_counter() - began, server.cpu_seconds() - before
    p50, p99 = np.percentile(walls, [50, 99])
    together = http_seconds(server, texts, 32, None)
    return Measured(alone * 1000, used / len(walls) * 1000, len(walls) / took, p99 / p50, together * 1000)


def _line(name: str, values: Iterable[float]) -> str:
    return f"  {name:<14}" + "".join(f"{value:22.2f}" for value in values)


@contextmanager
def _peer(name: str, package: Path) -> Iterator[Server]:
    """Another server of the package's graph, while the context lasts.

    Raises:
        CalledProcessError, OSError, TimeoutError: it cannot be installed, or it does not answer.
    """
    python = _environment(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(python), *(part.format(port=port) for part in COMMANDS[name])]
    environment = os.environ | {"PACKAGE": str(package.absolute()), "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=HERE, env=environment, stdout=quiet, stderr=quiet) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url, process)
            yield Server(url, psutil.Process(process.pid))
        finally:
            process.terminate()


def _environment(name: str) -> Path:
    """The Python of a peer's environment, which is made if it is not there."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    installed = folder / "installed"
    if not installed.is_file():
        venv.create(folder, with_pip=True, clear=True)
        packages = (*SHARED, *PINNED[name])
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True)
        installed.touch()
    return python


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers a text; raises TimeoutError."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.post(f"{url}/v1/sentiment", json={"inputs": ["a fine film"]}, timeout=10).status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")
