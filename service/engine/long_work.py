"""Work on long texts, which would hold up the event loop: threads of its own do it, and callers take turns.

Where the cores compute batches, more than one thread would not do it sooner. The threads also share Python's global
lock, which the event loop has to wait for behind each of them.
"""

import heapq
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from service.engine.errors import ordinary
from service.engine.fair_queue import FairQueue

T = TypeVar("T")

PACE = 100_000
"""Work of this size waits as though it came a second later: of one tenant's works, the smaller ones go first."""


class LongWork:
    """Threads for long work. Safe to share between threads; it needs no closing."""

    def __init__(self, threads: int = 1) -> None:
        """Start without work; the threads start with the first."""
        self._threads = ThreadPoolExecutor(threads, "long-work")
        self._lock = threading.Lock()
        """Guards everything below."""
        self._turns: FairQueue[str] = FairQueue()
        self._waiting: dict[str, list[_Job]] = {}
        """The jobs of each tenant that has any, as heaps."""
        self._numbers = count()

    def submit(self, work: Callable[[], T], *, tenant: str, size: int, since: float | None = None) -> Future[T]:
        """Queue `work`; the future holds what it returns or raises, and drops it when cancelled before it begins.

        Tenants take turns by `size`, in bytes of text or the like. `since` is the time at which a request began, by
        `time.perf_counter`: the last work of an old request goes before the first of a new one. None means now.
        """
        future: Future[T] = Future()
        began = time.perf_counter() if since is None else since
        job = _Job(began + size / PACE, next(self._numbers), size, work, future)
        with self._lock:
            if not self._waiting:
                # Nobody waits, so nobody has to be made up to for earlier turns.
                self._turns = FairQueue()
            if tenant not in self._waiting:
                self._turns.begin(tenant)
            heapq.heappush(self._waiting.setdefault(tenant, []), job)
        self._threads.submit(self._do_next)
        return future

    def _do_next(self) -> None:
        """Do the job whose turn it is, if any is left; called once for each that was handed in."""
        with self._lock:
            job = self._take()
        if job is None:
            return
        try:
            job.future.set_result(job.work())
        except BaseException as error:
            job.future.set_exception(ordinary(error))

    def _take(self) -> "_Job | None":
        while (tenant := self._turns.next(self._waiting)) is not None:
            jobs = self._waiting[tenant]
            job = heapq.heappop(jobs)
            if not jobs:
                del self._waiting[tenant]
            if job.future.set_running_or_notify_cancel():
                self._turns.charge(tenant, job.size)
                return job
        return None


@dataclass(order=True)
class _Job:
    due: float
    number: int
    size: int = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
