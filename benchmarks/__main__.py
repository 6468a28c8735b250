"""`make bench`: what serving and training cost, as ratios within one run, and on what machine."""

import importlib.metadata
import platform
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import rich

from benchmarks import footprint, scoring, serving, training

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")


def _machine() -> Iterator[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = dict(line.partition(":")[::2] for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts.items()}
    flags = [flag for flag in FLAGS if flag in named.get("flags", "").split()]
    yield f"{named.get('model name', platform.processor())}, {' '.join(flags) or platform.machine()}"
    versions = ("steadfast", "bentoml", "onnxruntime", "tokenizers", "torch")
    yield ", ".join(f"{name} {importlib.metadata.version(name)}" for name in versions)


if __name__ == "__main__":
    zoo = Path(__file__).parents[1] / "zoo"
    for line in chain(_machine(), serving.report(zoo), scoring.report(zoo), footprint.report(zoo), training.report()):
        rich.get_console().print(line, soft_wrap=True)
