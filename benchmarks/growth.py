"""Whether a server's memory grows with the requests that it answers: its memory by kind, and a verdict."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import psutil

BOUND_MB = 5.0
"""Growth in MB for 10,000 requests that counts as none, about 1 % of a server with six small models."""
LEAST_REQUESTS = 10_000
"""Fewer requests say nothing: until then, caches fill and the largest batches come for the first time."""
PIECES = 10
"""Pieces of the second half of a run. What one request leaves is there for some time, so that one look after the other
says nothing new; the means of pieces do."""

_LINE = re.compile(r"^Pss_(Anon|File|Shmem): +([0-9]+) kB$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of a process and all its children, in MB; what others share counts in proportion (PSS)."""

    own_mb: float
    """What the programs asked the system for: the heaps of Python, of C and of ONNX Runtime."""
    files_mb: float
    """Files mapped into memory: programs, and weights. It falls while another process maps the same files."""

    @property
    def whole_mb(self) -> float:
        """All of it."""
        return self.own_mb + self.files_mb

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """As the system tells it just now."""
        family = [process, *process.children(recursive=True)]
        told = [Path(f"/proc/{member.pid}/smaps_rollup").read_text() for member in family]
        kb = dict.fromkeys(("Anon", "File", "Shmem"), 0)
        for kind, number in _LINE.findall("\n".join(told)):
            kb[kind] += int(number)
        return cls(own_mb=kb["Anon"] * 1024 / 1e6, files_mb=(kb["File"] + kb["Shmem"]) * 1024 / 1e6)


@dataclass(frozen=True)
class Seen:
    """One look at a server that has been sent so many requests."""

    requests: int
    memory: Memory


@dataclass(frozen=True)
class Growth:
    """The growth of a server's own memory over the second half of the requests, in MB for 10,000 of them."""

    slope: float
    error: float
    """Its standard error."""

    @property
    def verdict(self) -> str:
        """Whether it is below the bound, by two standard errors."""
        if self.slope + 2 * self.error <= BOUND_MB:
            return "no growth"
        return "growth" if self.slope - 2 * self.error > BOUND_MB else "too few requests to tell"


def find_growth(seen: Sequence[Seen]) -> Growth:
    """The line through the means of `PIECES` pieces of the second half; its error is infinite if requests are few."""
    late = [(one.requests, one.memory.own_mb) for one in seen[len(seen) // 2 :]]
    if len(late) < PIECES or late[-1][0] < LEAST_REQUESTS:
        return Growth(0.0, float("inf"))
    requests, memory = np.array([piece.mean(axis=0) for piece in np.array_split(np.array(late), PIECES)]).T
    (slope, _), covariance = np.polyfit(requests, memory, 1, cov=True)
    return Growth(float(slope * 10_000), float(np.sqrt(covariance[0, 0]) * 10_000))


def report(seen: Sequence[Seen]) -> Iterator[str]:
    """The lines to print: memory at the start and at the end of each tenth of the requests, and the verdict."""
    yield f"{'requests':>10}{'memory (PSS)':>14}{'own':>8}{'files':>8}   MB"
    for place in np.linspace(0, len(seen) - 1, 11).round().astype(int):
        memory = seen[place].memory
        yield f"{seen[place].requests:>10,}{memory.whole_mb:>14.0f}{memory.own_mb:>8.0f}{memory.files_mb:>8.0f}"
    growth = find_growth(seen)
    yield (
        f"own memory in the second half: {growth.slope:+.1f} MB for 10,000 requests, standard error "
        f"{growth.error:.1f}; {growth.verdict} (bound: {BOUND_MB:g} MB)"
    )
