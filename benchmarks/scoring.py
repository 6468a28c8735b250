"""The cost of `steadfast score` over a long file of texts of many lengths: CPU time a text, cores, memory over time."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving import raw_seconds
from benchmarks.texts import make_mixed_texts
from export.package import open_package

TEXTS = 20_000
LENGTHS = (4, 90)
"""Fewest and most words of a text; 90 are about 120 tokens, so that each text is one row for the model."""
SAMPLE = 20
"""One text of so many goes through the bare graph."""


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    wall_s: float
    cpu_s: float
    memory_mb: tuple[float, ...]
    """The resident set size, twice a second."""


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    texts = make_mixed_texts(TEXTS, words=LENGTHS)
    package = zoo / "sentiment"
    raw = raw_seconds(open_package(package), texts[::SAMPLE]) / len(texts[::SAMPLE])
    empty, whole = (_score(package, part) for part in (texts[:1], texts))
    text_s = (whole.cpu_s - empty.cpu_s) / (TEXTS - 1)
    half = len(whole.memory_mb) // 2
    yield f"steadfast score, {TEXTS:,} texts of {LENGTHS[0]} to {LENGTHS[1]} words"
    yield f"  CPU time a text {text_s * 1000:.2f} ms, {text_s / raw:.2f} x raw"
    yield f"  cores busy {(whole.cpu_s - empty.cpu_s) / (whole.wall_s - empty.wall_s):.2f}"
    yield f"  memory: {whole.memory_mb[half]:.0f} MB half-way, {max(whole.memory_mb[half:]):.0f} MB at most after that"


def _score(package: Path, texts: list[str]) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        command = [
            sys.executable, "-m", "service.cli", "score", "sentiment", str(source), "-o", f"{folder}/out.jsonl",
            "--package", str(package),
        ]  # fmt: skip
        began = time.perf_counter()
        with psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            memory = []
            cpu_s = 0.0
            while process.poll() is None:
                try:
                    memory.append(process.memory_info().rss / 1e6)
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    break
                cpu_s = times.user + times.system
                time.sleep(0.5)
        if process.wait() != 0:
            raise RuntimeError(f"score ended with {process.returncode}")
        return Run(time.perf_counter() - began, cpu_s, tuple(memory))
