"""The requests under way in this process, and how one ends before it is answered.

At the end of the process what was taken is answered, and what comes later refused.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

from service.server.problems import Problem

LAST_WORD_S = 2.0
"""For the answers of those who are told that there will be none."""


class CancelScope:
    """A context that others can end: what they gave as the reason is raised where it stands.

    The first reason counts. Belongs to one task and its event loop.
    """

    def __init__(self) -> None:
        """Of the current task."""
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self._reason: Exception | None = None
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None

    def cancel(self, reason: Exception) -> None:
        """End it, if it has not ended yet."""
        if self._is_open:
            self._is_open = False
            self._reason = reason
            self.task.cancel()

    def cancel_after(self, seconds: float, reason: Exception) -> None:
        """End it when this time has passed; a time set earlier counts no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self.cancel, reason)

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


class InFlight:
    """What is under way in one event loop."""

    def __init__(self) -> None:
        """Nothing is."""
        self.is_draining = False
        self._under_way: dict[asyncio.Task[Any], CancelScope] = {}

    def begin(self, request: CancelScope) -> None:
        """Count a request; raises Problem while draining."""
        self.refuse_if_draining()
        self._under_way[request.task] = request

    def end(self, request: CancelScope) -> None:
        """It is answered, or was never counted."""
        self._under_way.pop(request.task, None)

    def refuse_if_draining(self) -> None:
        """Raise Problem if nothing more is taken."""
        if self.is_draining:
            headers = {"Retry-After": "1", "Connection": "close"}
            raise Problem("draining", "the server is shutting down; ask another", headers=headers)

    async def drain(self, most_s: float) -> None:
        """Take nothing more and return when what is under way is answered; after `most_s` the rest is refused."""
        self.is_draining = True
        for request in await self._wait(most_s):
            request.cancel(Problem("draining", "the server shut down before the answer was there; ask another"))
        await self._wait(LAST_WORD_S)

    async def _wait(self, most_s: float) -> list[CancelScope]:
        """Wait for what is under way; returns what is left after `most_s`."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=most_s)
        return list(self._under_way.values())
