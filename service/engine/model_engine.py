"""Rows in, arrays out: the engine of one model, which callers hand rows to."""

import math
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Self

from models.text import Row
from service.engine.demand import Expectation
from service.engine.limits import EngineLimits
from service.engine.model_queue import ModelQueue, RunBatch
from service.engine.pool import Pool
from service.engine.submission import EngineResult, Submission


class Engine:
    """Computes rows with one model. Call `close` when done, or use it as a context."""

    def __init__(self, run: RunBatch, limits: EngineLimits, pool: Pool) -> None:
        """Let the threads of `pool` compute with `run`."""
        self._queue = ModelQueue(run, limits)
        self._background = ModelQueue(run, limits, is_background=True)
        self._pool = pool
        pool.serve(self._queue, self._background)

    def submit(
        self,
        rows: Sequence[Row],
        outputs: tuple[str, ...],
        *,
        deadline: float | None = None,
        tenant: str = "",
        admitted: bool = False,
        background: bool = False,
    ) -> Future[EngineResult]:
        """Queue `rows`; the future holds the outputs asked for, or the error of the first row that failed.

        Tenants take turns by tokens, and so do the short requests and the long ones of each. At the `deadline` (on the
        clock of `time.monotonic`) the rows that still wait are dropped, and the future holds DeadlineExceeded. They are
        dropped too when the future is cancelled. `admitted` rows belong to work that was let in before: they are let in
        when the queue is full. They are let in even while the engine closes, if the callback of an earlier future hands
        them in. `background` rows have a queue of their own, which has a turn only while no other row waits for any
        model, and once in a while.

        Raises:
            Overloaded: the queue is full, or what waits in it takes too long for the deadline.
            DeadlineUnreachable: the rows alone take too long for the deadline.
            DeadlineExceeded: the deadline has passed already.
            EngineClosed: `close` was called.
        """
        submission = Submission(rows, outputs, deadline, tenant)
        if not rows:
            submission.future.set_result(EngineResult([], 0.0, 0.0))
            return submission.future
        queue = self._background if background else self._queue
        self._pool.submit(queue, submission, admitted=admitted)
        submission.future.add_done_callback(self._withdrawal(queue, submission))
        return submission.future

    def expect(self, size: int, *, deadline: float | None = None, tenant: str = "") -> Expectation:
        """Announce a request that is about to be read from `size` bytes.

        It counts as waiting until what is returned is ended.
        End it with the rows and tokens that it turned out to have, just before they are handed in: the room of the same
        tenant's next ones is estimated by them.

        Raises:
            Overloaded, DeadlineUnreachable: `submit` would raise it, by that estimate.
        """
        demand = self._pool.expect(self._queue, size, tenant, math.inf if deadline is None else deadline)
        return Expectation(partial(self._pool.end_expected, self._queue, demand, size))

    def refuse_background_overload(self, tenant: str = "") -> None:
        """Raise Overloaded where more background rows of `tenant` wait than the limits allow.

        For work whose later, admitted rows are background rows: it should not begin then.
        """
        self._pool.refuse_overload(self._background, tenant)

    def close(self, *, drain: bool = True) -> None:
        """Let no more rows in and return when those queued are done; with `drain=False` they fail with EngineClosed."""
        self._pool.retire(self._queue, self._background, drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.close(drain=error_type is None)

    def _withdrawal(self, queue: ModelQueue, submission: Submission) -> Callable[[Future[EngineResult]], None]:
        """A callback that withdraws the rows when their future is cancelled."""
        # Weakly: the submission holds the future that is to call this, and would live until Python looks for cycles.
        reference = weakref.ref(submission)

        def withdraw(future: Future[EngineResult]) -> None:
            submission = reference()
            if submission and future.cancelled():
                self._pool.withdraw(queue, submission)

        return withdraw
