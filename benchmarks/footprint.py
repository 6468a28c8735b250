"""The footprint of a server beside CPU time: seconds until it is ready, memory, and padding in its batches."""

import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import weights
from benchmarks.serving import Server, serving
from benchmarks.texts import make_mixed_texts
from export.package import Package, is_package, open_package
from export.session import Arrays, Session
from models.text import Row
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool

WORKERS = 2
CALLERS = 32


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    packages = [folder for folder in sorted(zoo.iterdir()) if is_package(folder)]
    with tempfile.TemporaryDirectory() as cache:
        with _timed(packages, cache=cache) as (first_s, _):
            pass
        with _timed(packages, cache=cache) as (ready_s, server):
            alone_mb = server.memory_mb()
        with _timed(packages, cache=cache, workers=WORKERS) as (_, server):
            # A worker accepts callers only when it is ready.
            time.sleep(ready_s)
            together_mb = server.memory_mb()
        with _timed(packages, cache="off", workers=WORKERS) as (_, server):
            time.sleep(first_s)
            apart_mb = server.memory_mb()
    share = padding_share(open_package(zoo / "sentiment"), make_mixed_texts(2_000, words=(4, 240)))
    names = ", ".join(folder.name for folder in packages)
    yield f"a server of {names}"
    yield f"  from start to ready {ready_s:.1f} s; the first time, with an empty cache, {first_s:.1f} s"
    yield f"  memory (PSS) {alone_mb:.0f} MB; of {WORKERS} workers {together_mb:.0f}, without a cache {apart_mb:.0f}"
    yield f"  padding in batches of mixed lengths (5 to 300 tokens, {CALLERS} callers): {share:.1%} of all tokens"
    yield from weights.report_both(zoo)


@contextmanager
def _timed(packages: Sequence[Path], **settings: object) -> Iterator[tuple[float, Server]]:
    """The seconds until a server is ready, and the server."""
    began = time.perf_counter()
    with serving(packages, **settings) as server:
        yield time.perf_counter() - began, server


def padding_share(package: Package, texts: Sequence[str]) -> float:
    """The share of padding among the tokens computed, while CALLERS callers each ask for one text after another."""
    session = Session(package.graph, pad_id=package.manifest.pad_id)
    reader = package.reader()
    rows = [reader.read(text, truncation="right").rows[0] for text in texts]
    random.Random(0).shuffle(rows)
    waiting = iter(rows)
    taken = threading.Lock()
    real, computed = 0, 0

    def run(batch: Sequence[Row], outputs: Sequence[str]) -> list[Arrays]:
        nonlocal real, computed
        with taken:
            real += sum(map(len, batch))
            computed += len(batch) * max(map(len, batch))
        return session.run(batch, outputs)

    def call(engine: Engine) -> None:
        while True:
            with taken:
                row = next(waiting, None)
            if row is None:
                return
            engine.submit([row], ("logits",)).result()

    with Pool(2) as pool, Engine(run, EngineLimits(), pool) as engine:
        callers = [threading.Thread(target=call, args=(engine,)) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    return 1 - real / computed
