"""Rows in, arrays out, for one model."""

import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Self

from export.session import Arrays
from models.text import Row
from service.engine.backlog import Backlog
from service.engine.errors import DeadlineExceeded, EngineClosed, Overloaded
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.engine.submission import EngineResult, QueuedRow, Submission
from service.engine.throughput import Throughput

Run = Callable[[Sequence[Row], Sequence[str]], list[Arrays]]
"""Computes one padded batch: the outputs asked for, row by row. Called from several threads at once."""

LONGEST_RETRY_S = 60
"""Longest time that a caller is told to stay away: what is measured now says little of later."""


class Engine:
    """Answers for one model; call `close` when done, or use it as a context."""

    def __init__(self, run: Run, limits: EngineLimits, pool: Pool) -> None:
        """Be served by `pool`."""
        self.limits = limits
        self._run = run
        self._pool = pool
        self._backlog = Backlog()
        self._throughput = Throughput()
        self._under_way = 0
        """Batches that threads have taken."""
        self._closed = False
        with pool._lock:
            pool._engines.append(self)

    def submit(
        self,
        rows: Sequence[Row],
        outputs: tuple[str, ...],
        *,
        deadline: float | None = None,
        admitted: bool = False,
    ) -> Future[EngineResult]:
        """Queue `rows`; the future holds the outputs asked for, or the error of the first row that failed.

        Rows are taken up in the order of arrival, whoever sent them. What is still waiting at the `deadline` (on the
        clock of `time.monotonic`) is not computed, and the future holds DeadlineExceeded; neither is what is still
        waiting when the future is cancelled. `admitted` rows go on with work that was let in before: they are taken
        when the queue is full, and, handed in by the callback of an earlier future, even while the engine closes.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: the deadline has passed already.
            EngineClosed: `close` was called.
        """
        order = Submission(rows, outputs, deadline)
        if not rows:
            order.future.set_result(EngineResult([], 0.0, 0.0))
            return order.future
        if order.deadline <= time.monotonic():
            raise DeadlineExceeded("the deadline had passed before the rows could wait")
        pool = self._pool
        with pool._lock:
            # Only the pool's own threads are sure to come back for what they hand in while we close.
            if self._is_closed and not (admitted and threading.current_thread() in pool._threads):
                raise EngineClosed("the engine is closed")
            if self._would_overflow(order) and not admitted:
                wait_s = self._throughput.seconds_for(self._backlog.tokens) / pool._share(self)
                raise Overloaded(
                    f"{self._backlog.rows:,} rows are waiting already; try again later",
                    retry_after_s=min(LONGEST_RETRY_S, max(1, math.ceil(wait_s))),
                )
            if not self._backlog.rows:
                pool._turns.begin(self)
            self._backlog.add(order)
            pool._tell_queue()
            pool._work_came.notify(len(rows))
        order.future.add_done_callback(self._withdrawal(order))
        return order.future

    def close(self, *, drain: bool = True) -> None:
        """Take no more rows and return when those queued are done; with `drain=False` they fail with EngineClosed."""
        pool = self._pool
        with pool._lock:
            self._closed = True
            dropped = [] if drain else self._backlog.clear()
            pool._tell_queue()
        for order in dropped:
            order.fail(EngineClosed("the engine was closed while the rows were waiting"))
        with pool._lock:
            pool._work_done.wait_for(lambda: not self._backlog.rows and not self._under_way)
            if self in pool._engines:
                pool._engines.remove(self)
                pool._turns.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    @property
    def _is_closed(self) -> bool:
        return self._closed or self._pool._closed

    def _would_overflow(self, order: Submission) -> bool:
        rows, tokens = self._backlog.rows + len(order.rows), self._backlog.tokens + order.tokens
        return self._backlog.rows > 0 and (rows > self.limits.queued_rows or tokens > self.limits.queued_tokens)

    def _compute(self, batch: list[QueuedRow]) -> None:
        """Run a batch; where that fails its rows are run one by one, so that only those at fault fail."""
        wanted = [waiting for waiting in batch if not waiting.order.is_settled]
        if not wanted:
            return
        try:
            results = self._run([waiting.row for waiting in wanted], wanted[0].order.outputs)
            # All are paired before any is handed out.
            for waiting, result in list(zip(wanted, results, strict=True)):
                waiting.order.finish(waiting.position, result)
        except Exception as error:
            if len(wanted) > 1:
                for waiting in wanted:
                    self._compute([waiting])
            else:
                self._withdraw(wanted[0].order)
                wanted[0].order.fail(error)

    def _withdrawal(self, order: Submission) -> Callable[[Future[EngineResult]], None]:
        # Weakly: the order holds the future that is to call this, and would live until Python looks for cycles.
        reference = weakref.ref(order)

        def withdraw(future: Future[EngineResult]) -> None:
            order = reference()
            if order and future.cancelled():
                self._withdraw(order)

        return withdraw

    def _withdraw(self, order: Submission) -> None:
        """The rest of an order that nobody waits for is not computed for nothing."""
        with self._pool._lock:
            self._backlog.remove(order)
            self._pool._tell_queue()
            self._pool._work_done.notify_all()
