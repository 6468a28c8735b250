"""Requests that end before they are answered: with a reason, at a time, and all at once."""

import asyncio
import time

import pytest
import uvloop

from service.server.in_flight import CancelScope, InFlight
from service.server.problems import Problem
from tests.service.conftest import Server


class Reason(Exception):
    pass


async def interrupted_by(reason: Exception | None, sleep_s: float = 5.0) -> None:
    cancel_scope = CancelScope()
    async with cancel_scope:
        if reason is not None:
            asyncio.get_running_loop().call_soon(cancel_scope.cancel, reason)
        await asyncio.sleep(sleep_s)


def test_the_reason_is_raised_where_the_task_waits() -> None:
    with pytest.raises(Reason):
        asyncio.run(interrupted_by(Reason()))


def test_a_task_goes_on_after_it_was_interrupted() -> None:
    async def go_on() -> int:
        with pytest.raises(Reason):
            await interrupted_by(Reason())
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(go_on()) == 0


def test_a_real_cancellation_stays_one() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(interrupted_by(None))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_the_first_reason_counts() -> None:
    async def twice() -> None:
        cancel_scope = CancelScope()
        async with cancel_scope:
            loop = asyncio.get_running_loop()
            loop.call_soon(cancel_scope.cancel, Reason())
            loop.call_soon(cancel_scope.cancel, ValueError())
            await asyncio.sleep(5)

    with pytest.raises(Reason):
        asyncio.run(twice())


def test_what_has_ended_is_not_interrupted() -> None:
    async def late() -> None:
        cancel_scope = CancelScope()
        async with cancel_scope:
            cancel_scope.cancel_after(0.0, Reason())
        await asyncio.sleep(0.01)
        cancel_scope.cancel(Reason())
        await asyncio.sleep(0.01)

    asyncio.run(late())


def test_a_later_time_replaces_an_earlier_one() -> None:
    async def replaced() -> None:
        cancel_scope = CancelScope()
        async with cancel_scope:
            cancel_scope.cancel_after(0.01, ValueError())
            cancel_scope.cancel_after(0.03, Reason())
            await asyncio.sleep(5)

    with pytest.raises(Reason):
        asyncio.run(replaced())


def test_a_time_that_has_all_but_come_can_be_replaced() -> None:
    # A timer of uvloop has no time then.
    async def replaced(first_s: float) -> str:
        cancel_scope = CancelScope()
        async with cancel_scope:
            cancel_scope.cancel_after(first_s, ValueError())
            cancel_scope.cancel_after(60.0, Reason())
            await asyncio.sleep(0.005)
        return "answered"

    assert [uvloop.run(replaced(first_s)) for first_s in (-1.0, 0.0, 1e-6, 4e-4, 1e-3)] == ["answered"] * 5


@pytest.mark.parametrize("timeout_ms", [1, 2])
def test_no_time_is_so_short_that_a_request_fails(server: Server, timeout_ms: int) -> None:
    headers = {"X-Request-Timeout-Ms": str(timeout_ms)}
    statuses = {
        server.client.post(path, json={"inputs": ["good film"]}, headers=headers).status_code
        for path in ("/v1/sentiment", "/v1/ner", "/v1/nli")
        for _ in range(200)
    }
    assert statuses <= {200, 404, 422, 504}


async def requested(in_flight: InFlight, seconds: float) -> str:
    cancel_scope = CancelScope()
    try:
        async with cancel_scope:
            in_flight.begin(cancel_scope)
            await asyncio.sleep(seconds)
    except Problem as problem:
        return problem.code
    finally:
        in_flight.end(cancel_scope)
    return "answered"


def test_draining_waits_for_what_is_under_way_and_refuses_what_comes() -> None:
    async def drained() -> list[str]:
        in_flight = InFlight()
        first = asyncio.create_task(requested(in_flight, 0.05))
        await asyncio.sleep(0)
        draining = asyncio.create_task(in_flight.drain(5.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(requested(in_flight, 0.0))
        await draining
        assert first.done()
        return [await first, await second]

    assert asyncio.run(drained()) == ["answered", "draining"]


def test_what_takes_too_long_is_told_so() -> None:
    async def drained() -> str:
        in_flight = InFlight()
        request = asyncio.create_task(requested(in_flight, 60.0))
        await asyncio.sleep(0)
        await in_flight.drain(0.02)
        return await request

    began = time.monotonic()
    assert asyncio.run(drained()) == "draining"
    assert time.monotonic() - began < 30


def test_draining_an_idle_server_returns_at_once() -> None:
    asyncio.run(InFlight().drain(60.0))
