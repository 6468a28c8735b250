"""Threads for long work: whose turn it is, and what becomes of work that nobody waits for any more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.engine.long_work import PACE, LongWork


@contextmanager
def held_up(works: LongWork) -> Iterator[None]:
    """Keep the thread busy while the context lasts."""
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert ended.wait(10)

    holding = works.submit(hold, tenant="holder", size=0)
    assert begun.wait(10)
    try:
        yield
    finally:
        ended.set()
    holding.result(10)


def order_of(*jobs: tuple[str, int, float]) -> list[int]:
    """The order in which jobs of a tenant, a size and a beginning are done, by their numbers."""
    works, order = LongWork(), list[int]()
    with held_up(works):
        futures = [
            works.submit(lambda number=number: order.append(number), tenant=tenant, size=size, since=since)  # type: ignore[misc]
            for number, (tenant, size, since) in enumerate(jobs)
        ]
    for future in futures:
        future.result(10)
    return order


def test_tenants_take_turns_by_size() -> None:
    flood = [("flood", 1_000, 0.0)] * 6
    assert order_of(*flood, ("other", 3_000, 0.0), ("other", 3_000, 0.0)) == [0, 6, 1, 2, 3, 7, 4, 5]


def test_of_one_tenant_the_smaller_work_goes_first_but_not_for_ever() -> None:
    assert order_of(("one", 2 * PACE, 0.0), ("one", 0, 1.0), ("one", 0, 3.0)) == [1, 0, 2]


def test_a_request_that_began_earlier_ends_earlier() -> None:
    assert order_of(("one", 500, 2.0), ("one", 500, 1.0)) == [1, 0]


def test_cancelled_work_is_never_begun() -> None:
    works, done = LongWork(), list[str]()
    with held_up(works):
        left = works.submit(lambda: done.append("left"), tenant="one", size=1)
        kept = works.submit(lambda: done.append("kept"), tenant="one", size=1)
        assert left.cancel()
    kept.result(10)
    assert works.submit(lambda: list(done), tenant="one", size=1).result(10) == ["kept"]


def test_several_threads_work_at_the_same_time() -> None:
    works, meeting = LongWork(2), threading.Barrier(2)
    both = [works.submit(lambda: meeting.wait(10), tenant=name, size=1) for name in ("one", "other")]
    assert {future.result(10) for future in both} == {0, 1}


def test_work_that_fails_fails_alone() -> None:
    works = LongWork()
    with pytest.raises(ZeroDivisionError):
        works.submit(lambda: 1 // 0, tenant="one", size=1).result(10)
    with pytest.raises(RuntimeError, match="interrupted by SystemExit"):
        works.submit(lambda: exit(1), tenant="one", size=1).result(10)
    assert works.submit(lambda: "done", tenant="one", size=1).result(10) == "done"
