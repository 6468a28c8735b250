"""The memory that a model's weights take in two processes, and the time to load them, with and without a cache.

`python -m benchmarks.weights` prints both for `zoo/sentiment`, with its own graph and with today's. Memory is the
proportional set size (PSS), which counts half of a page that two processes share in each. It is taken while both live,
before and after each has loaded the model and run one text. The difference counts as weights, though the arrays of that
text are part of it.
"""

import hashlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import rich

from benchmarks.remade import remake
from benchmarks.texts import make_texts
from export.package import Package, open_package
from export.prepacked import open_session
from export.session import Session
from models.text import Row

PROCESSES = 2
STARTS = 3
ROUNDS = 20
TEXTS = 256
BATCH = 8
MOST_MB = 60
MOST_LOADING = 0.5


@dataclass(frozen=True)
class Footprint:
    """One process's measurements."""

    first_mb: float
    """Memory beyond what was there before, with one session."""
    second_mb: float
    """Memory beyond that, with two."""
    load_s: float
    """CPU time of loading the first."""


def report_both(zoo: Path) -> Iterator[str]:
    """The lines to print of the zoo's package, and of the same model as it is exported today."""
    old = open_package(zoo / "sentiment")
    yield from report(old, "zoo/sentiment")
    yield from report(remake(old), "the same model, exported today")


def report(package: Package, called: str) -> Iterator[str]:
    """The lines to print."""
    rows = [package.reader().read(text).rows[0] for text in make_texts(TEXTS)]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        before = time.process_time()
        shared = _open(package, cache)
        write_s = time.process_time() - before
        own = _open(package, None)
        plain, cached = ([*chain(*(measure(package, one, rows[0]) for _ in range(STARTS)))] for one in (None, cache))
    ratios = [_run_seconds(shared, rows) / _run_seconds(own, rows) for _ in range(ROUNDS)]
    same = "the same bits" if _outputs(shared, rows) == _outputs(own, rows) else "OTHER BITS"
    yield f"weights of {called}, packed by each process or once in a cache"
    for name, most, found in (("without cache", "", plain), ("with cache", f" (at most {MOST_MB})", cached)):
        first = statistics.median(one.first_mb for one in found)
        second = statistics.median(one.second_mb for one in found)
        yield (
            f"  {name:<14} {PROCESSES} processes {PROCESSES * first:.0f} MB{most}, a second session in one "
            f"{second:.0f} MB; loading {_load_ms(found):.0f} CPU-ms"
        )
    yield f"  loading with it, x without: {_load_ms(cached) / _load_ms(plain):.2f} (at most {MOST_LOADING})"
    yield f"  writing and loading, the first time: {write_s * 1000:.0f} CPU-ms"
    yield f"  answers with it: {same}, in {statistics.median(ratios):.2f} x the CPU time"


def measure(package: Package, cache: Path | None, row: Row) -> list[Footprint]:
    """The footprints of PROCESSES processes that live at once, and start with all imported but nothing loaded."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(PROCESSES)]
    processes = [context.Process(target=_live, args=(there, package, cache, row)) for _, there in pipes]
    for process in processes:
        process.start()
    memory, seconds = [], []
    for _ in range(3):
        seconds.append([here.recv() for here, _ in pipes])
        memory.append([psutil.Process(process.pid).memory_full_info().pss / 1e6 for process in processes])
        for here, _ in pipes:
            here.send(None)
    for process in processes:
        process.join()
    none, one, two = memory
    return [
        Footprint(one[number] - none[number], two[number] - one[number], seconds[1][number])
        for number in range(PROCESSES)
    ]


def _live(pipe: Connection, package: Package, cache: Path | None, row: Row) -> None:
    """Stop without a session, with one and with two; the parent measures meanwhile."""
    sessions: list[Session] = []
    load_s = 0.0
    for _ in range(3):
        pipe.send(load_s)
        pipe.recv()
        before = time.process_time()
        sessions.append(_open(package, cache))
        load_s = time.process_time() - before
        sessions[-1].run([row], ("logits",))


def _load_ms(found: list[Footprint]) -> float:
    return statistics.median(one.load_s for one in found) * 1000


def _open(package: Package, cache: Path | None) -> Session:
    return open_session(package.graph, package.graph_digest, cache=cache, pad_id=package.manifest.pad_id)


def _run_seconds(session: Session, rows: list[Row]) -> float:
    before = time.process_time()
    for start in range(0, len(rows), BATCH):
        session.run(rows[start : start + BATCH], ("logits",))
    return time.process_time() - before


def _outputs(session: Session, rows: list[Row]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(rows), BATCH):
        for arrays in session.run(rows[start : start + BATCH], session.outputs):
            for array in arrays.values():
                digest.update(array.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    for line in report_both(Path(__file__).parents[1] / "zoo"):
        rich.get_console().print(line, soft_wrap=True)
