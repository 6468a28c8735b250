"""The writing of an answer: its head goes out together with the first part of its body.

uvicorn writes the two one after the other, and each costs a call of the system and wakes the caller: a fifth of what
the event loop does for a short text.
"""

import asyncio


class AnswerWriter:
    """A transport as uvicorn's cycle of one request uses it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`."""
        self._transport = transport
        self._holds_next = False
        self._head: bytes | None = None

    def hold_next(self) -> None:
        """Keep back what is written next until more is written, or the connection is closed."""
        self._holds_next = True

    def write(self, data: bytes) -> None:
        """Write `data`, behind what was kept back."""
        if self._holds_next:
            self._holds_next, self._head = False, data
        elif self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines([head, data])
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection, after what was kept back."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed already, or about to be."""
        return self._transport.is_closing()
