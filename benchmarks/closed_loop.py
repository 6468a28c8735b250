"""A client that keeps so many requests under way and takes next to no time itself.

httpx takes a millisecond a request, as much of the two cores as the event loop of the server that it measures.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit


class BadAnswer(RuntimeError):
    """An answer other than 200, or none."""


async def ask_all(url: str, bodies: Sequence[Mapping[str, object]], callers: int) -> list[float]:
    """Post all bodies to `url`, one after another on each of so many connections; the seconds that each took.

    Raises:
        BadAnswer: an answer is not 200, or the connection was closed before it was whole.
    """
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 80

    async def work(share: Sequence[Mapping[str, object]]) -> list[float]:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(_Connection, host, port)
        walls = []
        for body in share:
            began = time.perf_counter()
            transport.write(_request(address.path, json.dumps(body).encode()))
            await connection.answer()
            walls.append(time.perf_counter() - began)
        transport.close()
        return walls

    shares = [bodies[number::callers] for number in range(callers)]
    return [wall for walls in await asyncio.gather(*map(work, shares)) for wall in walls]


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection, on which one answer is waited for at a time."""

    def __init__(self) -> None:
        self._said = b""
        self._answer: asyncio.Future[None] | None = None

    async def answer(self) -> None:
        """Wait for the next answer, whose head gives its length."""
        self._said, self._answer = b"", asyncio.get_running_loop().create_future()
        await self._answer

    def data_received(self, data: bytes) -> None:
        self._said += data
        head, end, body = self._said.partition(b"\r\n\r\n")
        if self._answer is None or not end:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) < int(length):
            return
        status = head.split(b" ", 2)[1]
        if status == b"200":
            self._answer.set_result(None)
        else:
            self._answer.set_exception(BadAnswer(f"the server answered {status.decode()}: {body[:200].decode()}"))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BadAnswer("the server closed the connection"))
