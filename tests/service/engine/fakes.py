"""Stand-ins for the engine's tests: rows of chosen lengths, a run that the test controls, a clock and a meter."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from export.session import Arrays
from models.text import Row
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.model_queue import RunBatch
from service.engine.pool import Pool

OUTPUTS = ("logits",)


class SizedRow:
    """A row of a given length; the engine asks for nothing else."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


class ControlledRun:
    """A run that records its batches, and computes only while it is open."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.outputs: list[tuple[str, ...]] = []
        self.open = threading.Event()
        self.entered = threading.Event()
        if is_open:
            self.open.set()

    def __call__(self, rows: Sequence[Row], outputs: Sequence[str]) -> list[Arrays]:
        self.batches.append([len(row) for row in rows])
        self.outputs.append(tuple(outputs))
        self.entered.set()
        assert self.open.wait(10)
        if any(len(row) == 13 for row in rows):
            raise ZeroDivisionError("thirteen")
        return [{"logits": np.array([len(row)], dtype=np.float32)} for row in rows]


def rows_of(*lengths: int) -> list[Row]:
    return cast(list[Row], [SizedRow(length) for length in lengths])


class Clock:
    """Monotonic time that a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return time.perf_counter()


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("service.engine.pool.time", clock)
        yield clock


@contextmanager
def engine_of(run: RunBatch, *, threads: int = 1, **limits: int) -> Iterator[Engine]:
    """An engine with threads of its own."""
    with Pool(threads) as pool, Engine(run, EngineLimits(**limits), pool) as engine:
        yield engine


def lengths_in(computed: Any) -> list[int]:
    return [int(arrays["logits"][0]) for arrays in computed.rows]


class RecordingMeter:
    """A meter that keeps all counts."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.queues: list[tuple[int, int]] = []

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        self.batches.append((rows, tokens, padded))

    def queue(self, rows: int, tokens: int) -> None:
        self.queues.append((rows, tokens))
