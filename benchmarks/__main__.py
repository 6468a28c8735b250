"""`make bench`: the cost of serving and training, as ratios within one run, and the machine that it ran on."""

import importlib.metadata
import platform
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import rich

from benchmarks import attacking, beside, explaining, footprint, scoring, serving, training
from models.cpu import cpu_flags, cpu_model


def machine() -> Iterator[str]:
    """The machine and the versions that the figures were measured with."""
    yield f"{cpu_model() or platform.processor()}, {' '.join(cpu_flags()) or platform.machine()}"
    versions = ("steadfast", "bentoml", "onnxruntime", "tokenizers", "torch")
    yield ", ".join(f"{name} {importlib.metadata.version(name)}" for name in versions)


if __name__ == "__main__":
    zoo = Path(__file__).parents[1] / "zoo"
    parts = (serving, beside, explaining, scoring, attacking, footprint)
    for line in chain(machine(), *(part.report(zoo) for part in parts), training.report()):
        rich.get_console().print(line, soft_wrap=True)
