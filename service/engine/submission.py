"""Rows handed in together, and their results."""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from export.session import Arrays
from models.text import Row


@dataclass(frozen=True)
class EngineResult:
    """What was computed for rows handed in together, in their order."""

    rows: list[Arrays]
    queue_s: float
    """From handing in until the first of them was taken up."""
    infer_s: float
    """From then until the last was done."""


class Submission:
    """Rows handed in together, and what is known of them so far. Safe to share between threads."""

    def __init__(self, rows: Sequence[Row], outputs: tuple[str, ...], deadline: float | None) -> None:
        """`deadline` is on the clock of `time.monotonic`."""
        self.rows = rows
        self.outputs = outputs
        self.deadline = math.inf if deadline is None else deadline
        self.tokens = sum(map(len, rows))
        # Pending until it is settled, so that whoever waits can cancel it.
        self.future: Future[EngineResult] = Future()
        self._results: list[Arrays] = [{}] * len(rows)
        self._missing = len(rows)
        self._is_failed = False
        self._lock = threading.Lock()
        self._submitted = time.perf_counter()
        self._began: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done() or self._is_failed

    def begin(self) -> None:
        """Say that one of the rows is being computed."""
        with self._lock:
            self._began = self._began or time.perf_counter()

    def finish(self, position: int, result: Arrays) -> None:
        """Keep what was computed for the row at `position`; the last one settles the order."""
        with self._lock:
            self._results[position] = result
            self._missing -= 1
            if self._missing or self._is_failed:
                return
        assert self._began is not None
        now = time.perf_counter()
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(EngineResult(self._results, self._began - self._submitted, now - self._began))

    def fail(self, error: Exception) -> None:
        """Settle the order with an error, unless it is settled already."""
        with self._lock:
            if self._is_failed or not self._missing:
                return
            self._is_failed = True
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class QueuedRow(NamedTuple):
    """A row that waits."""

    number: int
    order: Submission
    position: int

    @property
    def row(self) -> Row:
        """What is to be computed."""
        return self.order.rows[self.position]
