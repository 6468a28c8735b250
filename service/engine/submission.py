"""Rows that were handed in together, and their results."""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from export.session import Arrays
from models.text import Row

PATIENCE_S = 60.0
"""Rows without a deadline get their turns as though they had one so many seconds after they came: rows with a deadline
that come ever anew overtake them for no longer than that."""


@dataclass(frozen=True)
class EngineResult:
    """The arrays that an engine computed for one submission, row by row in the order of its rows."""

    rows: list[Arrays]
    queue_s: float
    """Seconds from handing in until a thread took up the first row."""
    infer_s: float
    """Seconds from then until the last row was done."""


class Submission:
    """Rows handed in together, and what was computed of them so far. Safe to share between threads."""

    def __init__(self, rows: Sequence[Row], outputs: tuple[str, ...], deadline: float | None, tenant: str = "") -> None:
        """Start with nothing computed; `deadline` is on the clock of `time.monotonic`."""
        self.rows = rows
        self.outputs = outputs
        self.tenant = tenant
        self.deadline = math.inf if deadline is None else deadline
        self.due = time.monotonic() + PATIENCE_S if deadline is None else deadline
        """The time by which its turn among requests of its size is chosen; see `PATIENCE_S`."""
        self.tokens = sum(map(len, rows))
        # It stays pending until the submission is settled, so that whoever waits can cancel it.
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
        """Record that a thread has taken up one of the rows."""
        with self._lock:
            self._began = self._began or time.perf_counter()

    def finish(self, position: int, result: Arrays) -> None:
        """Keep the arrays of the row at `position`; the last row settles the submission."""
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
        """Settle the submission with an error, unless it is settled already."""
        with self._lock:
            if self._is_failed or not self._missing:
                return
            self._is_failed = True
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class QueuedRow(NamedTuple):
    """One row of a submission, while it waits and while it is computed."""

    submission: Submission
    position: int
    """Its index among the rows of its submission."""

    @property
    def row(self) -> Row:
        """The tokens to compute."""
        return self.submission.rows[self.position]
