"""The requests under way in this process, and how one ends before it is answered.

When the process ends, it answers the requests that it took, and refuses those that come later.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from service.server.problems import Problem

WATCHED_AFTER_S = 0.05
"""Time after which a request is cancelled if its caller has left."""

REFUSING_S = 2.0
"""Time for the answers to requests that are refused at the end of draining."""


class CancelScope:
    """A context that others can cancel with a reason, which is then raised from it.

    Only the first reason counts. A scope belongs to one task and its event loop.
    """

    def __init__(self) -> None:
        """A scope of the current task."""
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self._reason: Exception | None = None
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._ends_at = math.inf
        self._end_reason: Exception | None = None

    def cancel(self, reason: Exception) -> None:
        """End the scope with `reason`, unless it has ended."""
        if self._is_open:
            self._is_open = False
            self._reason = reason
            self.task.cancel()

    def cancel_after(self, seconds: float, reason: Exception) -> None:
        """Cancel the scope when this time has passed; replaces a time set earlier."""
        loop = asyncio.get_running_loop()
        self._ends_at, self._end_reason = loop.time() + max(seconds, 0.0), reason
        # A timer that rings too early is set again when it does: nearly all requests are answered before.
        if self._ends_at < self._rings_at:
            self._set_timer(loop)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Not asked of the timer: uvloop's have no time where that has all but come.
        self._rings_at = self._ends_at
        self._timer = loop.call_at(self._ends_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() < self._ends_at:
            self._set_timer(loop)
        elif self._end_reason is not None:
            self.cancel(self._end_reason)

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._reason is not None and error_type is asyncio.CancelledError:
            self.task.uncancel()
            raise self._reason from None


class CallerLeft(Exception):
    """The connection was closed before the answer was there."""


class Watch:
    """Cancels a request when its caller leaves.

    It begins to look after a while, because it needs a task of its own, and most requests are answered before.
    """

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], cancel_scope: CancelScope) -> None:
        """Look by `receive` of the request's ASGI application."""
        self._receive = receive
        self._cancel_scope = cancel_scope
        self._task: asyncio.Task[None] | None = None
        self._start = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, self._begin)

    def end(self) -> None:
        """Look no more."""
        self._start.cancel()
        if self._task is not None:
            self._task.cancel()
            # The task keeps the error that it ends by, and that the frame of `_look`: they would keep each other.
            self._task = None

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel_scope.cancel(CallerLeft())


class InFlight:
    """The requests under way in one event loop."""

    def __init__(self) -> None:
        """No request is under way."""
        self.is_draining = False
        self._scopes: dict[asyncio.Task[Any], CancelScope] = {}

    def begin(self, request: CancelScope) -> None:
        """Count a request; raises Problem while draining."""
        self.refuse_if_draining()
        self._scopes[request.task] = request

    def end(self, request: CancelScope) -> None:
        """Forget a request, which is answered or was never counted."""
        self._scopes.pop(request.task, None)

    def refuse_if_draining(self) -> None:
        """Raise Problem if no more requests are taken."""
        if self.is_draining:
            headers = {"Retry-After": "1", "Connection": "close"}
            raise Problem("draining", "the server is shutting down; ask another", headers=headers)

    async def drain(self, most_s: float) -> None:
        """Take no more requests and return when those under way are answered; after `most_s` refuse the rest."""
        self.is_draining = True
        for request in await self._wait(most_s):
            request.cancel(Problem("draining", "the server shut down before the answer was there; ask another"))
        await self._wait(REFUSING_S)

    async def _wait(self, most_s: float) -> list[CancelScope]:
        """Wait for the requests under way; returns those left after `most_s`."""
        if self._scopes:
            await asyncio.wait(set(self._scopes), timeout=most_s)
        return list(self._scopes.values())
