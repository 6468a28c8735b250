"""A run of `steadfast score` that is watched from outside, and that may be stopped and go on."""

import json
import resource
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from models.errors import UserError

PAUSE_S = 0.2
"""Seconds between two looks at the process."""


class NoLooks(UserError):
    """There is no telling what a run took."""

    def __init__(self, kept: Path) -> None:
        """Say which file is at fault, and what to do."""
        super().__init__(
            f"{kept}: missing or damaged, and nothing else says what the run beside it took; remove the files of that "
            "run, or name another --folder"
        )


@dataclass(frozen=True)
class Look:
    """The process as it was seen once."""

    part: int
    """How often the run had been stopped before."""
    share: float
    """The share of the records that were done."""
    memory_mb: float
    """Resident."""
    cpu_s: float
    wall_s: float
    """Both from the start of the part."""


@dataclass(frozen=True)
class Run:
    """A run, in one part or several."""

    looks: tuple[Look, ...]

    @classmethod
    def read(cls, kept: Path) -> Self:
        """The looks that `score` kept in a file; raises NoLooks where it is missing, empty or damaged."""
        try:
            looks = tuple(Look(**json.loads(line)) for line in kept.read_text().splitlines())
        except (OSError, ValueError, TypeError) as error:
            raise NoLooks(kept) from error
        if not looks:
            raise NoLooks(kept)
        return cls(looks)

    @property
    def cpu_s(self) -> float:
        """The CPU time of all parts, user and system."""
        return sum(one.cpu_s for one in self._ends())

    @property
    def wall_s(self) -> float:
        """The time of all parts on the clock."""
        return sum(one.wall_s for one in self._ends())

    def mean_memory(self, start: float, stop: float) -> float | None:
        """The mean memory in MB while this share of the records was computed; None where nobody looked."""
        seen = [one.memory_mb for one in self.looks if start <= one.share < stop]
        return sum(seen) / len(seen) if seen else None

    def _ends(self) -> Iterable[Look]:
        return {one.part: one for one in self.looks}.values()


def score(package: Path, source: Path, target: Path, kept: Path) -> str:
    """Score a file for sentiment, and keep every look in the file `kept`, behind those of the parts before.

    Returns what the command said last.
    """
    part = Run.read(kept).looks[-1].part + 1 if kept.exists() and kept.stat().st_size else 0
    command = [sys.executable, "-m", "service.cli", "score", "sentiment", str(source), "-o", str(target)]
    command += ["--package", str(package), "--progress", "json"]
    told, looks = deque[str](maxlen=1), [Look(part, 0.0, 0.0, 0.0, 0.0)]
    shares = [0.0]
    began, cpu_before = time.perf_counter(), _waited_for_s()
    with kept.open("a") as file, psutil.Popen(command, stderr=subprocess.PIPE, text=True) as process:

        def keep(memory_mb: float, cpu_s: float) -> None:
            looks.append(Look(part, shares[-1], memory_mb, cpu_s, time.perf_counter() - began))
            file.write(json.dumps(asdict(looks[-1])) + "\n")
            file.flush()

        listening = threading.Thread(target=_listen, args=(process.stderr, shares, told))
        listening.start()
        while process.poll() is None:
            try:
                memory_mb, times = process.memory_info().rss / 1e6, process.cpu_times()
            except psutil.NoSuchProcess:
                break
            keep(memory_mb, times.user + times.system)
            time.sleep(PAUSE_S)
        listening.join()
        process.wait()
        keep(looks[-1].memory_mb, _waited_for_s() - cpu_before)
    return " ".join(told)


def _listen(stream: Iterable[str], shares: list[float], told: deque[str]) -> None:
    for line in stream:
        if line.startswith("{"):
            standing = json.loads(line)
            shares.append(standing["done"] / max(1, standing["total"]))
        else:
            told.append(line.strip())


def _waited_for_s() -> float:
    """The CPU time of all processes that this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
