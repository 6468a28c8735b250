"""The end of a connection whose caller may still send: what comes is thrown away, so that the last answer arrives.

Were it not read, the system would reset the connection, and the caller would lose the answer.
"""

import asyncio
from collections.abc import Callable

DISCARD_S = 20.0
"""Time for a caller to read an answer that came before the end of its request."""
DISCARD_BYTES = 100_000_000
"""Most bytes of such a request that are read and thrown away."""

QUIET_S = 3.0
"""Time without a byte after which such a request counts as ended."""


class Discarding:
    """Throws away what comes on a connection, within limits."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Throw away what comes from now on; nothing ends that but the caller, or too many bytes."""
        self._transport = transport
        self._loop = loop
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def discard(self, size: int) -> None:
        """Throw away so many bytes."""
        self._bytes += size
        if self._bytes > DISCARD_BYTES:
            self._transport.abort()

    def linger(self, close: Callable[[], None]) -> None:
        """End our side; call `close` when the caller has had its time, or nothing more has come."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        end = self._loop.time() + DISCARD_S

        def look(before: int) -> None:
            if self._loop.time() >= end or self._bytes == before:
                close()
            else:
                self._timer = self._loop.call_later(QUIET_S, look, self._bytes)

        look(-1)

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
