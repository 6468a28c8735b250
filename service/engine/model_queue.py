"""One model as its pool sees it: the function that computes it, and the bounded queue before that."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from export.session import Arrays
from models.text import Row
from service.engine.admission import has_room, overload, refuse_late, refuse_unreachable
from service.engine.backlog import Backlog
from service.engine.demand import Demand, Densities
from service.engine.limits import EngineLimits
from service.engine.submission import QueuedRow, Submission
from service.engine.throughput import Throughput

RunBatch = Callable[[Sequence[Row], Sequence[str]], list[Arrays]]
"""Computes one padded batch: the outputs asked for, row by row. Several threads call it at once."""

BRIEF_PARTS = 4
"""Background batches are smaller by this factor, because an ordinary row that comes meanwhile must wait for their end.
So are the batches of long requests while short ones keep coming. On one thread with MiniLM int8, a short text among
long background rows took 8 ms instead of 34, and background rows 5 to 7 % more time."""

UNLIKELY = 4
"""No body is taken to hold this many times fewer tokens than others of its size: some are refused for good unread."""


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
        self.brief_tokens = max(1, limits.batch_tokens // BRIEF_PARTS)
        self.batch_tokens = self.brief_tokens if is_background else limits.batch_tokens
        """Most tokens in its batches, padding included."""
        self.backlog = Backlog(quantum=self.batch_tokens)
        self.throughput = Throughput()
        self.densities = Densities()
        self.running = 0
        """Batches that threads have taken up and not finished."""
        self.is_closed = False
        """Whether `Pool.retire` was called: only rows that belong to earlier ones are still let in."""

    @property
    def is_drained(self) -> bool:
        """Whether no row waits and none is being computed."""
        return not self.backlog.rows and not self.running

    def admit(self, submission: Submission, left_s: float, threads: float, all_threads: int) -> None:
        """Return if the rows of `submission` may wait: there is room, and time to do them before their deadline.

        Of `all_threads`, `threads` are this queue's share. `left_s` is the time until the deadline.

        Raises:
            Overloaded: there is no room, or what waits takes too long.
            DeadlineUnreachable: there would be no time even if nothing waited.
        """
        demand = Demand.of(submission, self.backlog.quantum)
        self.refuse_overload(demand, threads)
        if left_s < math.inf:
            quantum = self.backlog.quantum
            refuse_unreachable(self.throughput, demand, quantum=quantum, left_s=left_s, all_threads=all_threads)
            refuse_late(self.backlog, self.throughput, demand, left_s, threads)

    def expect(self, size: int, tenant: str, left_s: float, threads: float, all_threads: int) -> Demand:
        """Count a body of `size` bytes as waiting until it is read: remove what is returned from `backlog.expected`.

        Raises:
            Overloaded: there is no room, or what waits takes too long, by what such bodies of this tenant held lately.
            DeadlineUnreachable: there would be no time even if nothing waited and the body held much less than such.
        """
        quantum = self.backlog.quantum
        demand = self.densities.estimate(size, tenant, quantum)
        self.refuse_overload(demand, threads)
        if left_s < math.inf:
            # Nor are the rows known, among which all threads might share it.
            least = replace(demand, rows=max(demand.rows, all_threads), tokens=demand.tokens // UNLIKELY)
            what = f"to compute a body of {size:,} bytes takes at least"
            refuse_unreachable(
                self.throughput, least, what=what, quantum=quantum, left_s=left_s, all_threads=all_threads
            )
            refuse_late(self.backlog, self.throughput, demand, left_s, threads)
        self.backlog.expected.add(demand)
        return demand

    def refuse_overload(self, demand: Demand, threads: float) -> None:
        """Raise Overloaded if there is no room for `demand`."""
        if not has_room(self.backlog, self.limits, demand):
            raise overload(self.backlog, self.throughput, demand, threads)

    def take(self, idle_threads: int, *, brief: bool = False) -> list[QueuedRow]:
        """Take out the next batch and count it as running; some row must wait. Call `charge` with the batch.

        Threads that have nothing to do get their part of what waits: the batch is that much smaller. So is a batch that
        a long request leads, where `brief` says so.
        """
        first = self.backlog.next()
        budget = self.brief_tokens if brief and first.tokens > self.batch_tokens else self.batch_tokens
        if idle_threads:
            budget = min(budget, -(-self.backlog.tokens // (1 + idle_threads)))
        batch = self.backlog.take(first, budget)
        self.running += 1
        return batch
