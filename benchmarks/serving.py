"""The cost of serving in CPU milliseconds, as ratios to the bare graph within one run.

CPU time (user + system) is measured over the server's whole process tree. The control, "raw", is one thread that
tokenises and runs the same graph over the same texts, sorted by length, in eights. Rounds take turns, so that drift of
the machine's speed falls on both sides of a ratio.
"""

import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.closed_loop import ask_all
from benchmarks.texts import make_texts
from export.package import Package, open_package
from export.session import Session
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import TextItem

ROOT = Path(__file__).parents[1]
ROUNDS = 4
JSON = {"Content-Type": "application/json"}
CONCURRENCY = {1: 32, 32: 4}
"""Requests under way at once, by the number of texts in a request."""


@dataclass(frozen=True)
class Server:
    """A running `steadfast serve`."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """The user and system time of the process and all its children so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(member.cpu_times().user + member.cpu_times().system for member in family))

    def memory_mb(self) -> float:
        """The proportional set size of the process and all its children."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(member.memory_full_info().pss for member in family) / 1e6)


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    package = open_package(zoo / "sentiment")
    texts = make_texts(1_024)
    with serving([zoo / "sentiment"]) as server:
        load(server, texts[:256], 1, None)
        measured = take_turns(
            {
                "raw": lambda: raw_seconds(package, texts) / len(texts),
                "1 text a request, 32 at once": lambda: http_seconds(server, texts, 1, None),
                "32 texts a request, 4 at once": lambda: http_seconds(server, texts, 32, None),
                "32 texts, explain=attention": lambda: http_seconds(server, texts, 32, "attention"),
                "32 texts, explain=rollout": lambda: http_seconds(server, texts, 32, "rollout"),
                "score, 2,048 texts": lambda: score_seconds(make_texts(2_048, seed=1)),
            }
        )
        alone = take_turns(
            {
                "raw": lambda: _raw_latency(package, texts[:128]),
                "HTTP": lambda: latency(server, texts[:128]),
            }
        )
    yield f"serving zoo/sentiment: CPU time a text (medians of {ROUNDS} rounds)"
    yield f"  {'':<34}{'ms':>7}{'x raw':>8}"
    for name, rounds in measured.items():
        ratio = statistics.median(mine / raw for mine, raw in zip(rounds, measured["raw"], strict=True))
        yield f"  {name:<34}{statistics.median(rounds) * 1000:7.2f}{ratio:8.2f}"
    plain = measured["32 texts a request, 4 at once"]
    for name in ("attention", "rollout"):
        ratio = statistics.median(
            mine / other for mine, other in zip(measured[f"32 texts, explain={name}"], plain, strict=True)
        )
        yield f"  explain={name} against without: {ratio:.2f}"
    raw, http = (statistics.median(alone[name]) * 1000 for name in ("raw", "HTTP"))
    yield f"  alone, median wall time a text: raw {raw:.2f} ms, HTTP {http:.2f} ms, {http - raw:+.2f} ms"


def take_turns(subjects: Mapping[str, Callable[[], float]], *, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """What each subject measures, by its name, once a round."""
    results: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            results[name].append(measure())
    return results


def raw_seconds(package: Package, texts: list[str]) -> float:
    """The CPU time of the control."""
    session = Session(package.graph, pad_id=package.manifest.pad_id)
    reader = package.reader()
    before = time.process_time()
    rows = [SENTIMENT.encode(TextItem(text=text), reader, "right").rows[0] for text in texts]
    rows.sort(key=len)
    for start in range(0, len(rows), 8):
        session.run(rows[start : start + 8], ["logits"])
    return time.process_time() - before


def _raw_latency(package: Package, texts: list[str]) -> float:
    session = Session(package.graph, pad_id=package.manifest.pad_id)
    reader = package.reader()
    walls = []
    for text in texts:
        before = time.perf_counter()
        session.run([reader.read(text).rows[0]], ["logits"])
        walls.append(time.perf_counter() - before)
    return statistics.median(walls)


def http_seconds(server: Server, texts: list[str], size: int, explain: str | None) -> float:
    """The server's CPU time for a text, asked in requests of `size` texts."""
    before = server.cpu_seconds()
    load(server, texts, size, explain)
    return (server.cpu_seconds() - before) / len(texts)


def load(server: Server, texts: list[str], size: int, explain: str | None) -> list[float]:
    """Ask for all texts in requests of `size`, several of them at once; the seconds that each request took."""
    bodies = [{"inputs": texts[start : start + size], "explain": explain} for start in range(0, len(texts), size)]
    return asyncio.run(ask_all(f"{server.url}/v1/sentiment", bodies, CONCURRENCY[size]))


def latency(server: Server, texts: list[str]) -> float:
    """Median seconds of a text, one after another.

    The standard library's client asks: the time of a heavier one would be measured with the server's.
    """
    walls = []
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)) as connection:
        for text in texts:
            before = time.perf_counter()
            connection.request("POST", "/v1/sentiment", json.dumps({"inputs": [text]}), JSON)
            answer = connection.getresponse()
            answer.read()
            walls.append(time.perf_counter() - before)
            if answer.status != 200:
                raise RuntimeError(f"{server.url} answered {answer.status}")
    return statistics.median(walls)


def score_seconds(texts: list[str], code: Path = ROOT) -> float:
    """The CPU time of `steadfast score` for each further text; a run over one text is taken off."""
    return (_score_cpu(texts, code) - _score_cpu(texts[:1], code)) / (len(texts) - 1)


def _score_cpu(texts: list[str], code: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        before = os.times()
        command = [sys.executable, "-m", "service.cli", "score", "sentiment", str(source), "-o", f"{folder}/out.jsonl"]
        environment = os.environ | {"PYTHONPATH": str(code)}
        subprocess.run(command, check=True, capture_output=True, cwd=code, env=environment)
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def server_command(packages: Sequence[Path], **settings: object) -> tuple[list[str], dict[str, str], str]:
    """The words and the variables that start a server with these packages on a free port, and its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = {f"STEADFAST_{name.upper()}": str(value) for name, value in settings.items()}
    environment = os.environ | {"STEADFAST_PORT": str(port)} | chosen
    command = [sys.executable, "-m", "service.cli", "serve", *map(str, packages)]
    return command, environment, f"http://127.0.0.1:{port}"


@contextmanager
def serving(packages: Sequence[Path], code: Path = ROOT, /, **settings: object) -> Iterator[Server]:
    """A server with these packages, run by the code in a folder, that is ready to answer while the context lasts."""
    command, environment, url = server_command([package.absolute() for package in packages], **settings)
    environment |= {"PYTHONPATH": str(code)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=code, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            _wait_until_ready(url)
            yield Server(url, psutil.Process(process.pid))
        finally:
            process.terminate()


def _wait_until_ready(url: str, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} was not ready after {timeout_s:.0f} s")
