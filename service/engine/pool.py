"""The threads of a process, which compute the batches of all its models.

The pool knows rows and their lengths, never tasks. No batch waits until it is full: a free thread takes a row of the
model and of the caller whose turn it is, together with rows of like length that wait as well.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec, Self

import structlog

from models.machine import return_memory
from service.engine.demand import Demand, Load
from service.engine.errors import DeadlineExceeded, EngineClosed, ordinary
from service.engine.long_work import LongWork
from service.engine.meter import EngineMeter, Unmetered
from service.engine.model_queue import ModelQueue
from service.engine.submission import QueuedRow, Submission
from service.engine.turns import Turns

SHORT_MEMORY = 65_536
"""Tokens of long requests that are computed in brief batches after a short request: another one may come any time."""

RETURN_AFTER = 1_048_576
"""Tokens, padding included, after which freed memory goes back to the system: about a minute's work of two cores.

Requests of all sizes scatter what glibc takes for them, so that without this a server keeps, in each of its threads,
most of what its worst moments took. It takes some milliseconds, while other threads go on."""

RETURN_AT_REST = 65_536
"""Tokens after which it goes back when nothing was to be done for `QUIET_S`: a server at rest keeps little."""

QUIET_S = 1.0
"""Seconds without work after which a pool is at rest."""

log = structlog.get_logger()

P = ParamSpec("P")


@dataclass
class Dispatch:
    """The work that one thread takes at once: submissions to fail, and a batch to compute if any row waits."""

    late: list[Submission] = field(default_factory=list)
    """Submissions whose deadline has passed; no row of theirs waits any more."""
    queue: ModelQueue | None = None
    batch: list[QueuedRow] = field(default_factory=list)
    tokens: int = 0
    """Tokens of the batch, padding included."""
    is_rest: bool = False
    """Whether no thread of the pool has had anything to do for a while."""
    fault: BaseException | None = None
    """An error that came up while this work was chosen: none of it is computed."""
    dropped: list[Submission] = field(default_factory=list)
    """Submissions that the fault takes along although none of their rows is in the batch."""


class Pool:
    """Threads that serve the queues of several models in turns, fairly by the tokens computed for each.

    A flood of rows for one model keeps another model waiting for no longer than one batch, and background rows wait
    for ordinary ones. Programs make a pool, hand
    it to their engines, and call `close` after they have closed these (or use it as a context around theirs). Only
    engines call the other methods.

    An error that is raised outside a model's own run, by the meter for instance, ends no thread. The submissions that
    the thread has at hand fail with it, and the first error of each type is logged as `engine_fault`.
    """

    def __init__(self, threads: int, meter: EngineMeter | None = None, *, long_work_threads: int = 1) -> None:
        """Start the threads; `meter` receives every batch and every change of what waits."""
        self.long_work = LongWork(long_work_threads)
        """The threads that read long texts and make their answers."""
        self._meter = meter or Unmetered()
        self._lock = threading.RLock()
        """Guards everything below, and every queue."""
        self._work_came = threading.Condition(self._lock)
        self._work_done = threading.Condition(self._lock)
        self._queues: list[ModelQueue] = []
        self._turns = Turns()
        self._since_short: float = math.inf
        """Tokens of long requests that were taken up after the last short one."""
        self._since_returned = 0
        """Tokens computed after freed memory went back to the system last."""
        self._idle = 0
        self._worked = time.monotonic()
        """When the last work was taken up."""
        self._closed = False
        self._faults: set[type[BaseException]] = set()
        """The types of the errors that were logged."""
        self._threads = [
            # Daemons, so that a program that dies without closing is not kept alive by them.
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Let no more rows in, and return when all that wait are done."""
        with self._lock:
            self._closed = True
            self._work_came.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self, *queues: ModelQueue) -> None:
        """Compute the rows of these queues from now on, until `retire`."""
        with self._lock:
            self._queues += queues

    def submit(self, queue: ModelQueue, submission: Submission, *, admitted: bool) -> None:
        """Let the rows of a submission wait in `queue`; see `Engine.submit`.

        If the meter raises, the rows are taken out again and the error goes to the caller.
        """
        now = time.monotonic()
        if submission.deadline <= now:
            raise DeadlineExceeded("the deadline had passed before the rows could wait")
        with self._lock:
            is_closed = self._closed or queue.is_closed
            if is_closed and not (admitted and self._will_still_serve(queue)):
                raise EngineClosed("the engine is closed")
            if not admitted:
                queue.admit(submission, submission.deadline - now, self._share(queue), len(self._threads))
            if not queue.backlog.rows:
                self._turns.begin(queue)
            queue.backlog.add(submission)
            try:
                self._report_queues()
            except BaseException as error:
                queue.backlog.remove(submission)
                self._log_fault(error)
                raise
            self._work_came.notify(len(submission.rows))

    def withdraw(self, queue: ModelQueue, submission: Submission) -> None:
        """Take those rows of a submission out of `queue` that still wait: nobody needs them any more."""
        with self._lock:
            queue.backlog.remove(submission)
            self._work_done.notify_all()
            self._guard(self._report_queues)

    def expect(self, queue: ModelQueue, size: int, tenant: str, deadline: float) -> Demand:
        """Count a body as waiting in `queue` until `end_expected`; see `Engine.expect`."""
        with self._lock:
            left_s = deadline - time.monotonic()
            return queue.expect(size, tenant, left_s, self._share(queue), len(self._threads))

    def end_expected(self, queue: ModelQueue, demand: Demand, size: int, read: Load | None) -> None:
        """Count a body of `size` bytes as waiting no more; `read` is what it held, if that is known."""
        with self._lock:
            queue.backlog.expected.remove(demand)
            if read is not None:
                queue.densities.add(size, demand.tenant, read)

    def refuse_overload(self, queue: ModelQueue, tenant: str) -> None:
        """Raise Overloaded where more rows of `tenant` wait in `queue` than its limits allow."""
        with self._lock:
            queue.refuse_overload(Demand(tenant), self._share(queue))

    def retire(self, *queues: ModelQueue, drain: bool) -> None:
        """Let no more rows into these queues, return when they are empty and no thread computes for them, forget them.

        With `drain=False` the rows that wait fail with EngineClosed.
        """
        dropped: list[Submission] = []
        with self._lock:
            for queue in queues:
                queue.is_closed = True
                dropped += [] if drain else queue.backlog.clear()
            self._guard(self._report_queues)
        for submission in dropped:
            self._guard(submission.fail, EngineClosed("the engine was closed while the rows were waiting"))
        with self._lock:
            # All at once: a row that is done may lead to another one in another of the queues.
            self._work_done.wait_for(lambda: all(queue.is_drained for queue in queues))
            for queue in queues:
                if queue in self._queues:
                    self._queues.remove(queue)
                    self._turns.leave(queue)

    def _work(self) -> None:
        while dispatch := self._next_dispatch():
            self._serve(dispatch)
            # Its arrays would else live on until there is something to do again.
            del dispatch

    def _next_dispatch(self) -> Dispatch | None:
        """Wait for something to do and take it; None when the pool is closed and nothing is left."""
        dispatch = Dispatch()
        with self._lock:
            try:
                while not self._choose(dispatch):
                    if self._closed:
                        return None
                    if self._is_at_rest():
                        dispatch.is_rest = True
                        break
                    self._wait()
                self._report_queues()
            except BaseException as error:
                dispatch.fault = error
                if not dispatch.late and not dispatch.batch:
                    # Choosing would fail again at once, and so for ever: all that wait are told instead.
                    dispatch.dropped = [each for queue in self._queues for each in queue.backlog.clear()]
        return dispatch

    def _is_at_rest(self) -> bool:
        """Whether memory may go back because no thread has had anything to do for a while."""
        is_idle = self._idle == len(self._threads) - 1 and time.monotonic() - self._worked >= QUIET_S
        return is_idle and self._since_returned >= RETURN_AT_REST

    def _wait(self) -> None:
        """Wait until something comes, or until the pool may be at rest."""
        may_return = self._since_returned >= RETURN_AT_REST
        self._idle += 1
        try:
            self._work_came.wait(QUIET_S if may_return else None)
        finally:
            self._idle -= 1

    def _choose(self, dispatch: Dispatch) -> bool:
        """Take out what is late in any queue, and a batch of the queue whose turn it is; false if there is neither."""
        now = time.monotonic()
        for queue in self._queues:
            dispatch.late += queue.backlog.take_late(now)
        chosen = self._turns.next(queue for queue in self._queues if queue.backlog.rows)
        if chosen:
            self._worked = now
            dispatch.batch = chosen.take(self._idle, brief=self._since_short < SHORT_MEMORY)
            dispatch.queue = chosen
            dispatch.tokens = max(len(queued.row) for queued in dispatch.batch) * len(dispatch.batch)
            is_short = dispatch.batch[0].submission.tokens <= chosen.batch_tokens
            self._since_short = 0 if is_short else self._since_short + dispatch.tokens
            chosen.backlog.charge(dispatch.batch)
            self._turns.charge(chosen, dispatch.tokens)
        return bool(dispatch.late or chosen)

    def _serve(self, dispatch: Dispatch) -> None:
        """Settle the submissions of a dispatch; whatever is raised meanwhile is theirs, and never the thread's."""
        for submission in dispatch.late:
            self._guard(submission.fail, DeadlineExceeded("the deadline passed while the rows were waiting"))
        began = time.perf_counter()
        is_computed = False
        try:
            if dispatch.fault:
                raise dispatch.fault
            if dispatch.queue:
                self._meter.batch(len(dispatch.batch), sum(len(each.row) for each in dispatch.batch), dispatch.tokens)
                for queued in dispatch.batch:
                    queued.submission.begin()
                self._compute(dispatch.queue, dispatch.batch)
                is_computed = True
        except BaseException as error:
            self._log_fault(error)
            self._abandon(dispatch, ordinary(error))
        took_s = time.perf_counter() - began
        with self._lock:
            if dispatch.queue:
                dispatch.queue.running -= 1
                if is_computed:
                    dispatch.queue.throughput.add(dispatch.tokens, took_s)
            self._since_returned += dispatch.tokens
            may_return = self._since_returned >= (RETURN_AT_REST if dispatch.is_rest else RETURN_AFTER)
            if may_return:
                self._since_returned = 0
            self._work_done.notify_all()
        if may_return:
            self._guard(return_memory)

    def _compute(self, queue: ModelQueue, batch: list[QueuedRow]) -> None:
        """Run a batch. If that fails, run its rows one by one, so that only those at fault fail."""
        wanted = [queued for queued in batch if not queued.submission.is_settled]
        if not wanted:
            return
        try:
            results = queue.run([queued.row for queued in wanted], wanted[0].submission.outputs)
            # All are paired before any is handed out.
            pairs = list(zip(wanted, results, strict=True))
        except Exception as error:
            if len(wanted) > 1:
                for queued in wanted:
                    self._compute(queue, [queued])
            else:
                self.withdraw(queue, wanted[0].submission)
                self._guard(wanted[0].submission.fail, error)
            return
        for queued, result in pairs:
            self._guard(queued.submission.finish, queued.position, result)

    def _abandon(self, dispatch: Dispatch, error: Exception) -> None:
        """Fail all submissions of a dispatch with `error`, and take the rest of their rows out of the queue."""
        for submission in dict.fromkeys(queued.submission for queued in dispatch.batch):
            if dispatch.queue:
                self._guard(self.withdraw, dispatch.queue, submission)
            self._guard(submission.fail, error)
        for submission in dispatch.dropped:
            self._guard(submission.fail, error)

    def _report_queues(self) -> None:
        backlogs = [queue.backlog for queue in self._queues]
        self._meter.queue(sum(backlog.rows for backlog in backlogs), sum(backlog.tokens for backlog in backlogs))

    def _share(self, queue: ModelQueue) -> float:
        """The number of threads that `queue` gets, as long as the queues that have work now go on having it."""
        # Ordinary rows do not wait for background rows.
        rivals = [each for each in self._queues if queue.is_background or not each.is_background]
        busy = sum(1 for each in rivals if each is queue or each.backlog.rows)
        return len(self._threads) / busy

    def _will_still_serve(self, queue: ModelQueue) -> bool:
        """Whether rows handed in by this thread will be computed while `queue` or the pool closes.

        Only the pool's own threads are sure to look into the queues once more after they have handed in rows.
        """
        return queue in self._queues and threading.current_thread() in self._threads

    def _guard(self, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `act`; log what it raises instead of letting that end the thread or the work in hand."""
        try:
            act(*args, **kwargs)
        except BaseException as error:
            self._log_fault(error)
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise

    def _log_fault(self, error: BaseException) -> None:
        """Log `error`, which is being handled, if it is the first of its type: a broken meter raises at every batch."""
        with self._lock:
            is_new = type(error) not in self._faults
            self._faults.add(type(error))
        if is_new:
            # A log that cannot be written must not end the thread either.
            with suppress(Exception):
                log.error("engine_fault", exc_info=True)
