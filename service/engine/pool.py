"""Rows in, arrays out: the threads of a process, and in front of them a bounded queue for each model.

Knows rows and their lengths, never tasks. Nothing waits for a batch to fill: a thread that is free takes the oldest row
of the model whose turn it is at once, and with it those of like length that are waiting too.
"""

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from service.engine.errors import DeadlineExceeded
from service.engine.fair_queue import FairQueue
from service.engine.meter import EngineMeter, Unmetered
from service.engine.submission import QueuedRow, Submission

if TYPE_CHECKING:
    from service.engine.model_engine import Engine


class Pool:
    """Threads that compute for all the engines of a process, which take turns by the tokens they were served.

    So a model that is flooded keeps no other waiting for longer than a batch of its own. Call `close` after the engines
    were closed, or use it as a context around theirs.
    """

    def __init__(self, threads: int, meter: EngineMeter | None = None) -> None:
        """Start the threads; `meter` is told of every batch and of what waits."""
        self._meter = meter or Unmetered()
        self._lock = threading.RLock()
        """Guards all that follows, and the engines' backlogs."""
        self._work_came = threading.Condition(self._lock)
        self._work_done = threading.Condition(self._lock)
        self._engines: list[Engine] = []
        self._turns: FairQueue[Engine] = FairQueue()
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
                    turn.engine._throughput.add(turn.tokens, took_s)
                    turn.engine._under_way -= 1
                self._work_done.notify_all()

    def _next_turn(self) -> "Dispatch | None":
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
            batch: list[QueuedRow] = []
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
        return Dispatch(engine, batch, tokens, late)

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


class Dispatch(NamedTuple):
    """What a thread does next: fail what is late, then compute a batch if any engine has one."""

    engine: "Engine | None"
    batch: list[QueuedRow]
    tokens: int
    """Of the batch, padding included."""
    late: list[Submission]
