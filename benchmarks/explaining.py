"""The cost of explanations and of today's graph, as ratios within one run, each beside the most that it may be.

`python -m benchmarks.explaining` prints them for the model of `zoo/sentiment` with the graph that is exported today.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import rich

from benchmarks.remade import remake, write_without
from benchmarks.serving import http_seconds, load, serving, take_turns
from benchmarks.texts import make_texts
from export.package import Package, file_digest, open_package
from export.prepacked import open_session
from export.session import OUTPUTS, Session
from models.text import Row

ROUNDS = 12
TEXTS = 256
REQUEST = 32
OCCLUDED_TEXTS = 64
MOST = {"attention": 1.15, "rollout": None, "decomposition": 2.2, "occlusion": None}
"""The most that an answer with each explanation may cost, times one without."""
MOST_UNASKED = 1.02
MOST_BYTES = 100_000


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    old = open_package(zoo / "sentiment")
    new = remake(old)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.onnx"
        write_without(new.graph, OUTPUTS[1:], bare)
        undecomposed = Path(folder) / "undecomposed.onnx"
        write_without(new.graph, ("decomposition",), undecomposed)
        yield "the graph that is exported today, of the model of zoo/sentiment: CPU time, x another graph"
        yield from _compare_graphs(old, new, bare, Path(folder) / "cache")
        size = new.graph.stat().st_size - undecomposed.stat().st_size
    yield f"  the decomposition takes {size / 1000:.0f} kB (at most {MOST_BYTES / 1000:.0f})"
    yield f"explanations in requests of {REQUEST} texts: CPU time, x without (medians of {ROUNDS} rounds)"
    yield from _compare_requests(new)


def _compare_graphs(old: Package, new: Package, bare: Path, cache: Path) -> Iterator[str]:
    graphs = {"zoo": old.graph, "new": new.graph, "bare": bare}
    sessions = {
        name: open_session(graph, file_digest(graph), cache=cache, pad_id=new.manifest.pad_id)
        for name, graph in graphs.items()
    }
    reader = new.reader()
    rows = sorted((reader.read(text).rows[0] for text in make_texts(TEXTS)), key=len)
    for batch in (1, 8):
        seconds = take_turns(
            {name: partial(_run_seconds, session, rows, batch) for name, session in sessions.items()},
            rounds=ROUNDS,
        )
        yield f"  against the zoo's, batches of {batch}: {_ratio(seconds, 'new', 'zoo'):.2f} (at most 1)"
        yield (
            f"  nothing explained, against logits alone, batches of {batch}: {_ratio(seconds, 'new', 'bare'):.2f} "
            f"(at most {MOST_UNASKED})"
        )


def _compare_requests(package: Package) -> Iterator[str]:
    texts = make_texts(TEXTS)
    with serving([package.folder]) as server:
        load(server, texts, REQUEST, None)
        seconds = take_turns(
            {
                name or "none": partial(http_seconds, server, texts[: _text_count(name)], REQUEST, name)
                for name in (None, *MOST)
            },
            rounds=ROUNDS,
        )
    for name, most in MOST.items():
        bar = f" (at most {most})" if most else ""
        yield f"  explain={name}: {_ratio(seconds, name, 'none'):.2f}{bar}"


def _text_count(explain: str | None) -> int:
    """Occlusion runs the model once for each word, so fewer texts do."""
    return OCCLUDED_TEXTS if explain == "occlusion" else TEXTS


def _ratio(seconds: Mapping[str, Sequence[float]], name: str, control: str) -> float:
    return statistics.median(mine / other for mine, other in zip(seconds[name], seconds[control], strict=True))


def _run_seconds(session: Session, rows: Sequence[Row], batch: int) -> float:
    before = time.process_time()
    for start in range(0, len(rows), batch):
        session.run(rows[start : start + batch], ("logits",))
    return time.process_time() - before


if __name__ == "__main__":
    for line in report(Path(__file__).parents[1] / "zoo"):
        rich.get_console().print(line, soft_wrap=True)
