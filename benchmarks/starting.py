"""`python -m benchmarks.starting`: seconds from start to ready, where they go, and memory with one and two workers.

Medians of five rounds with all packages of `zoo/`, after a start that fills an empty cache of packed weights. Wall
times mean something only on a machine that does nothing else; CPU time is printed beside them.
"""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import rich

from benchmarks.serving import Server, server_command
from export.package import is_package

ROUNDS = 5
WORKERS = 2
WAIT_S = 120
POLL_S = 0.005
STEPS = """
import time
began = time.process_time()
def step(name):
    global began
    print(f"{name}\\t{time.process_time() - began}")
    began = time.process_time()
from service.settings import read_settings
settings = read_settings(); step("import the settings")
import service.app
service.app.Steadfast; step("import and build the service")
from service.answers.packages import open_packages
packages = open_packages(settings); step("check the packages")
from service.engine.pool import Pool
from service.answers.predictor import Predictor
from service.answers.opening import check_probes
with Pool(settings.threads) as pool:
    predictors = [Predictor(one, settings.engine_limits, pool, settings.provider, settings.cache) for one in packages]
    step("load tokenizers and graphs")
    for predictor in predictors: predictor.warm_up()
    step("warm up")
    for predictor in predictors: check_probes(predictor)
    step("replay the probes")
"""
"""What a server of one worker does until it is ready, one after another, with the CPU time of each step."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a server, in seconds from the command."""

    listening_s: float
    """Until the address takes connections: the command has checked everything."""
    alive_s: float
    """Until `/livez` answers."""
    ready_s: float
    cpu_s: float
    """CPU time of all processes until then."""
    memory_mb: float


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    packages = [folder for folder in sorted(zoo.iterdir()) if is_package(folder)]
    yield f"a server of {', '.join(folder.name for folder in packages)}; medians of {ROUNDS} starts"
    with tempfile.TemporaryDirectory() as cache:
        first = _start(packages, cache, workers=1)
        yield f"  the first time, with an empty cache: ready after {first.ready_s:.2f} s"
        for workers in (1, WORKERS):
            starts = [_start(packages, cache, workers=workers) for _ in range(ROUNDS)]
            median = {name: statistics.median(vars(one)[name] for one in starts) for name in vars(starts[0])}
            yield (
                f"  {workers} worker{'s' * (workers > 1)}: listening after {median['listening_s']:.2f} s, alive "
                f"{median['alive_s']:.2f}, ready {median['ready_s']:.2f} (CPU {median['cpu_s']:.2f} s), memory (PSS) "
                f"{median['memory_mb']:.0f} MB"
            )
        yield "  CPU seconds of the steps of one worker, one after another:"
        for name, seconds in _steps(packages, cache).items():
            yield f"    {name:<32}{seconds:.2f}"


def _start(packages: list[Path], cache: str, *, workers: int) -> Start:
    began = time.perf_counter()
    with _started(packages, cache=cache, workers=workers) as (server, log):
        listening_s = _until(lambda: _connects(server.url)) - began
        alive_s = _until(lambda: _answers(server.url, "/livez")) - began
        # A worker of several takes callers only when it is ready, and the log tells when all are.
        _until(lambda: log.read_bytes().count(b'"event": "ready"') >= workers)
        ready_s = _until(lambda: _answers(server.url, "/readyz")) - began
        return Start(
            listening_s=listening_s,
            alive_s=alive_s,
            ready_s=ready_s,
            cpu_s=server.cpu_seconds(),
            memory_mb=server.memory_mb(),
        )


@contextmanager
def _started(packages: list[Path], **settings: object) -> Iterator[tuple[Server, Path]]:
    """A server that has just been started, and the file of its log, while the context lasts."""
    command, environment, url = server_command(packages, **settings)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors) as process,
        ):
            try:
                yield Server(url, psutil.Process(process.pid)), log
            finally:
                process.terminate()


def _until(condition: Callable[[], bool]) -> float:
    """The time at which the condition holds first; raises TimeoutError."""
    end = time.perf_counter() + WAIT_S
    while not condition():
        if time.perf_counter() > end:
            raise TimeoutError(f"nothing happened for {WAIT_S} s")
        time.sleep(POLL_S)
    return time.perf_counter()


def _connects(url: str) -> bool:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _answers(url: str, path: str) -> bool:
    """Whether a path answers 200; a worker that does not accept yet is waited for."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT_S)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK


def _steps(packages: list[Path], cache: str) -> dict[str, float]:
    environment = os.environ | {"STEADFAST_CACHE": cache, "STEADFAST_PACKAGES": os.pathsep.join(map(str, packages))}
    said = subprocess.run([sys.executable, "-c", STEPS], env=environment, check=True, capture_output=True, text=True)
    lines = (line.split("\t") for line in said.stdout.splitlines())
    return {name: float(seconds) for name, seconds in lines}


if __name__ == "__main__":
    for line in report(Path(__file__).parents[1] / "zoo"):
        rich.get_console().print(line, soft_wrap=True)
