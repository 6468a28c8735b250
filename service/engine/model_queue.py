"""One model as its pool sees it: the function that computes it, and the bounded queue before that."""

import math
from collections.abc import Callable, Sequence

from export.session import Arrays
from models.text import Row
from service.engine.backlog import Backlog
from service.engine.errors import Overloaded
from service.engine.limits import EngineLimits
from service.engine.submission import QueuedRow
from service.engine.throughput import Throughput

RunBatch = Callable[[Sequence[Row], Sequence[str]], list[Arrays]]
"""Computes one padded batch: the outputs asked for, row by row. Several threads call it at once."""

BACKGROUND_PARTS = 4
"""Background batches are smaller by this factor, because an ordinary row that comes meanwhile must wait for their end.
On one thread with MiniLM int8, a short text among long background rows took 8 ms instead of 34, and background rows 5
to 7 % more time."""

LONGEST_RETRY_S = 60
"""The longest time that a caller is told to stay away, since today's speed says little about a later load."""


class ModelQueue:
    """The rows of one kind that wait for one model, ordinary or background, and the batches that threads compute of it.

    Not safe to share between threads: its pool holds the lock around every call but `run`.
    """

    def __init__(self, run: RunBatch, limits: EngineLimits, *, is_background: bool = False) -> None:
        """Start empty."""
        self.run = run
        self.limits = limits
        self.is_background = is_background
        """Whether its rows wait while ordinary rows of any model do; see `service.engine.turns`."""
        self.batch_tokens = max(1, limits.batch_tokens // (BACKGROUND_PARTS if is_background else 1))
        """Most tokens in its batches, padding included."""
        self.backlog = Backlog()
        self.throughput = Throughput()
        self.running = 0
        """Batches that threads have taken up and not finished."""
        self.is_closed = False
        """Whether `Pool.retire` was called: only rows that belong to earlier ones are still let in."""

    @property
    def is_drained(self) -> bool:
        """Whether no row waits and none is being computed."""
        return not self.backlog.rows and not self.running

    def has_room_for(self, rows: int, tokens: int) -> bool:
        """Whether so many more rows, of so many tokens, stay within the limits; an empty queue has room for any."""
        fits = (
            self.backlog.rows + rows <= self.limits.queued_rows
            and self.backlog.tokens + tokens <= self.limits.queued_tokens
        )
        return fits or not self.backlog.rows

    def overload(self, threads: float) -> Overloaded:
        """The error for rows without room; `threads` is the share of the pool's threads that computes this model."""
        wait_s = self.throughput.seconds_for(self.backlog.tokens) / threads
        return Overloaded(
            f"{self.backlog.rows:,} rows are waiting already; try again later",
            retry_after_s=min(LONGEST_RETRY_S, max(1, math.ceil(wait_s))),
        )

    def take(self, idle_threads: int) -> list[QueuedRow]:
        """Take out the next batch and count it as running.

        Threads that have nothing to do get their part of what waits: the batch is that much smaller.
        """
        budget = self.batch_tokens
        if idle_threads:
            budget = min(budget, -(-self.backlog.tokens // (1 + idle_threads)))
        batch = self.backlog.take(budget)
        self.running += 1
        return batch
