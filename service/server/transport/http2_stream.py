"""One request over HTTP/2, and its answer, as ASGI applications receive and send them."""

import asyncio
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Protocol

from service.server.problems import Problem

Message = MutableMapping[str, Any]

_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"transfer-encoding"})
"""Headers of HTTP/1.1 that an answer over HTTP/2 may not have (RFC 9113, section 8.2.2)."""


class Writer(Protocol):
    """The connection, as its streams see it; where a stream has ended, its methods do nothing."""

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the caller send so many bytes more."""
        ...

    def send_head(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send a head."""
        ...

    async def send_body(self, stream_id: int, body: bytes, *, is_last: bool) -> None:
        """Send a part of a body when the caller has room for it."""
        ...


class Stream:
    """A request and its answer. The connection hands in what comes."""

    def __init__(self, stream_id: int, writer: Writer, *, expects_go_ahead: bool) -> None:
        """Start with no body; the caller may wait for a go-ahead to send it."""
        self._id = stream_id
        self._writer = writer
        self._expects_go_ahead = expects_go_ahead
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._came = asyncio.Event()
        self._refusal: Problem | None = None
        self.size = 0
        """Bytes of the body that have come."""
        self._is_whole_told = False
        self.is_whole = False
        """Whether all of the request has come."""
        self.has_ended = False
        """Whether the answer is sent, or nobody waits for it."""

    def add(self, piece: bytes, size: int) -> None:
        """Take a part of the body, which counts as `size` bytes until it is read."""
        self._pieces.append((piece, size))
        self.size += len(piece)
        self._came.set()

    def refuse(self, problem: Problem) -> None:
        """Have whoever reads the body get a problem instead."""
        self._refusal = problem
        self._came.set()

    def complete(self) -> None:
        """Take the end of the request."""
        self.is_whole = True
        self._came.set()

    def end(self) -> None:
        """End the stream; what has come and was not read is let go."""
        self.has_ended = True
        for _, size in self._pieces:
            self._writer.acknowledge(self._id, size)
        self._pieces.clear()
        self._came.set()

    async def receive(self) -> Message:
        """The next part of the body, or the end of the stream when all of it was read; raises Problem if refused."""
        if self._expects_go_ahead and not self.is_whole and not self.has_ended:
            self._expects_go_ahead = False
            self._writer.send_head(self._id, [(b":status", b"100")])
        while not (self.has_ended or self._refusal or self._pieces or (self.is_whole and not self._is_whole_told)):
            self._came.clear()
            await self._came.wait()
        if self.has_ended:
            return {"type": "http.disconnect"}
        if self._refusal:
            raise self._refusal
        body = b"".join(piece for piece, _ in self._pieces)
        size = sum(size for _, size in self._pieces)
        self._pieces.clear()
        self._is_whole_told = self.is_whole
        self._writer.acknowledge(self._id, size)
        return {"type": "http.request", "body": body, "more_body": not self.is_whole}

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        self._expects_go_ahead = False
        if self.has_ended:
            return
        if message["type"] == "http.response.start":
            headers = [(name.lower(), value) for name, value in message["headers"]]
            kept = [(name, value) for name, value in headers if name not in _OF_CONNECTIONS]
            self._writer.send_head(self._id, [(b":status", b"%d" % message["status"]), *kept])
        else:
            is_last = not message.get("more_body", False)
            await self._writer.send_body(self._id, message.get("body", b""), is_last=is_last)
