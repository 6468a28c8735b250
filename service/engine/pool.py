"""Rows in, arrays out: the threads of a process, and in front of them a bounded queue for each model.

Knows rows and their lengths, never tasks. Nothing waits for a batch to fill: a thread that is free takes the oldest row
of the model whose turn it is at once, and with it those of like length that are waiting too.
"""

import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Self

from export.session import Arrays
from models.text import Row
from service.engine.backlog import Backlog, Computed, DeadlineExceeded, Order, Waiting
from service.engine.fair_queue import Turns
from service.engine.meter import Meter, Unmetered

Run = Callable[[Sequence[Row], Sequence[str]], list[Arrays]]
"""Computes one padded batch: the outputs asked for, row by row. Called from several threads at once."""

LONGEST_RETRY_S = 60
"""Longest time that a caller is told to stay away: what is measured now says little of later."""


class Overloaded(RuntimeError):
    """The queue is full."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        """When what is waiting now should be done."""


class EngineClosed(RuntimeError):
    """The engine was closed before it took up the rows."""


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """How much an engine holds; rows handed in together are let into an empty queue however many they are."""

    queued_rows: int = 4_096
    queued_tokens: int = 131_072
    batch_tokens: int = 512
    """Tokens of one batch, padding included; a longer row is a batch of its own."""


class Pool:
    """Threads that compute for all the engines of a process, which take turns by the tokens they were served.

    So a model that is flooded keeps no other waiting for longer than a batch of its own. Call `close` after the engines
    were closed, or use it as a context around theirs.
    """

    def __init__(self, threads: int, meter: Meter | None = None) -> None:
        """Start the threads; `meter` is told of every batch and of what waits."""
        self._meter = meter or Unmetered()
        self._lock = threading.RLock()
        """Guards all that follows, and the engines' backlogs."""
        self._work_came = threading.Condition(self._lock)
        self._work_done = threading.Condition(self._lock)
        self._engines: list[Engine] = []
        self._turns: Turns[Engine] = Turns()
        self._idle = 0
        self._closed = False
        self._threads = [
            # Daemons, so that a program that dies without closing is not kept alive by them.
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Take no more rows and return when those that wait are done."""
        with self._lock:
            self._closed = True
            self._work_came.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while turn := self._next_turn():
            for order in turn.late:
                order.fail(DeadlineExceeded("the deadline passed while the rows were waiting"))
            began = time.perf_counter()
            if turn.engine:
                turn.engine._compute(turn.batch)
            took_s = time.perf_counter() - began
            with self._lock:
                if turn.engine:
                    turn.engine._pace.add(turn.tokens, took_s)
                    turn.engine._under_way -= 1
                self._work_done.notify_all()

    def _next_turn(self) -> "_Turn | None":
        """Wait for something to do and take it; None when the pool is closed and nothing is left."""
        with self._lock:
            while True:
                now = time.monotonic()
                late = [order for engine in self._engines for order in engine._backlog.take_late(now)]
                engine = self._turns.next(each for each in self._engines if each._backlog.rows)
                if late or engine:
                    break
                if self._closed:
                    return None
                self._idle += 1
                self._work_came.wait()
                self._idle -= 1
            batch: list[Waiting] = []
            tokens = 0
            if engine:
                batch = engine._backlog.take(self._budget(engine))
                tokens = max(len(waiting.row) for waiting in batch) * len(batch)
                self._turns.charge(engine, tokens)
                engine._under_way += 1
                self._meter.batch(len(batch), sum(len(waiting.row) for waiting in batch), tokens)
            self._tell_queue()
        for waiting in batch:
            waiting.order.begin()
        return _Turn(engine, batch, tokens, late)

    def _tell_queue(self) -> None:
        backlogs = [engine._backlog for engine in self._engines]
        self._meter.queue(sum(backlog.rows for backlog in backlogs), sum(backlog.tokens for backlog in backlogs))

    def _budget(self, engine: "Engine") -> int:
        """Tokens of the next batch: what is there is shared with the threads that have nothing to do."""
        budget = engine.limits.batch_tokens
        return min(budget, -(-engine._backlog.tokens // (1 + self._idle))) if self._idle else budget

    def _share(self, engine: "Engine") -> float:
        """The part of the threads that `engine` has, as long as the others that have work go on having it."""
        busy = sum(1 for each in self._engines if each is engine or each._backlog.rows)
        return len(self._threads) / busy


class Engine:
    """Answers for one model; call `close` when done, or use it as a context."""

    def __init__(self, run: Run, limits: EngineLimits, pool: Pool) -> None:
        """Be served by `pool`."""
        self.limits = limits
        self._run = run
        self._pool = pool
        self._backlog = Backlog()
        self._pace = Pace()
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
    ) -> Future[Computed]:
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
        order = Order(rows, outputs, deadline)
        if not rows:
            order.future.set_result(Computed([], 0.0, 0.0))
            return order.future
        if order.deadline <= time.monotonic():
            raise DeadlineExceeded("the deadline had passed before the rows could wait")
        pool = self._pool
        with pool._lock:
            # Only the pool's own threads are sure to come back for what they hand in while we close.
            if self._is_closed and not (admitted and threading.current_thread() in pool._threads):
                raise EngineClosed("the engine is closed")
            if self._would_overflow(order) and not admitted:
                wait_s = self._pace.seconds_for(self._backlog.tokens) / pool._share(self)
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

    def _would_overflow(self, order: Order) -> bool:
        rows, tokens = self._backlog.rows + len(order.rows), self._backlog.tokens + order.tokens
        return self._backlog.rows > 0 and (rows > self.limits.queued_rows or tokens > self.limits.queued_tokens)

    def _compute(self, batch: list[Waiting]) -> None:
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

    def _withdrawal(self, order: Order) -> Callable[[Future[Computed]], None]:
        # Weakly: the order holds the future that is to call this, and would live until Python looks for cycles.
        reference = weakref.ref(order)

        def withdraw(future: Future[Computed]) -> None:
            order = reference()
            if order and future.cancelled():
                self._withdraw(order)

        return withdraw

    def _withdraw(self, order: Order) -> None:
        """The rest of an order that nobody waits for is not computed for nothing."""
        with self._pool._lock:
            self._backlog.remove(order)
            self._pool._tell_queue()
            self._pool._work_done.notify_all()


class Pace:
    """How fast one thread computes, by what it did of late."""

    MEMORY = 0.95
    """What is kept of the past at each new batch: about the last twenty count."""

    def __init__(self) -> None:
        """Nothing was measured."""
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count a batch in."""
        self._tokens = self.MEMORY * self._tokens + tokens
        self._seconds = self.MEMORY * self._seconds + seconds

    def seconds_for(self, tokens: int) -> float:
        """How long so many take; 0 while nothing was measured."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0


class _Turn(NamedTuple):
    """What a thread does next: fail what is late, then compute a batch if any engine has one."""

    engine: Engine | None
    batch: list[Waiting]
    tokens: int
    """Of the batch, padding included."""
    late: list[Order]
