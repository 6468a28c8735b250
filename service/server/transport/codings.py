"""Content codings, gzip and zstd: bodies that come packed, and answers that go so (RFC 9110, section 8.4).

A packed body may unpack to a thousand times its size, so that all work here is bounded by the unpacked size.
"""

import asyncio
import re
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.server.problems import Problem

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SMALLEST_PACKED_BYTES = 1_400
"""Answers below this size fit into one packet, and are sent as they are."""
LARGE_BYTES = 32_768
"""Answers from this size on are packed in a thread."""

MOST_FRAMES = 16
"""Most gzip members or zstd frames of a body: each costs work, and may hold nothing."""

WINDOW_LOG = 23
"""Most memory for unpacking zstd, as a power of two: the 8 MB that RFC 9659 asks of receivers."""

_WEIGHT = re.compile(rb"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)
_PACKABLE = re.compile(rb"(text/|application/(problem\+)?json)", re.IGNORECASE)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class Unpacker(Protocol):
    """The state of unpacking one gzip member or zstd frame."""

    @property
    def eof(self) -> bool:
        """Whether it was read to its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """The bytes behind its end."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Unpack at most `max_length` bytes."""
        ...


@dataclass(frozen=True)
class Coding:
    """A way to pack bodies."""

    name: str
    unpacker: Callable[[], Unpacker]
    pack: Callable[[bytes], bytes]


CODINGS = {
    "zstd": Coding(
        "zstd",
        lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG}),
        zstd.compress,
    ),
    "gzip": Coding("gzip", lambda: zlib.decompressobj(wbits=31), lambda body: zlib.compress(body, 4, wbits=31)),
}
"""The codings that are read and written; of two that a caller likes as much, the first is taken."""


def body_coding(values: Sequence[bytes]) -> Coding | None:
    """The coding of a body, from its headers `Content-Encoding`; None if it is as it is.

    Raises:
        Problem: the coding is not known here.
    """
    names = [name for value in values for name in value.decode("latin-1").lower().replace(" ", "").split(",")]
    # RFC 9110, section 8.4.1.3: both names are the same.
    named = ["gzip" if name == "x-gzip" else name for name in names if name not in ("", "identity")]
    if not named:
        return None
    if len(named) > 1 or named[0] not in CODINGS:
        known = ", ".join(CODINGS)
        detail = f"the body has another Content-Encoding than those read here, one of: {known}"
        raise Problem("unsupported_media_type", detail, headers={"Accept-Encoding": known})
    return CODINGS[named[0]]


def unpack(body: bytes, coding: Coding, most_bytes: int) -> bytes:
    """The unpacked body; what is longer than `most_bytes` is cut one byte behind them.

    Raises:
        Problem: the body is not packed so, or not to its end.
    """
    pieces: list[bytes] = []
    left = most_bytes + 1
    for _ in range(MOST_FRAMES):
        unpacker = coding.unpacker()
        try:
            pieces.append(unpacker.decompress(body, left))
        except (zlib.error, zstd.ZstdError):
            raise Problem("bad_request", f"the body is not {coding.name}, as its Content-Encoding says") from None
        left -= len(pieces[-1])
        if not left:
            break
        if not unpacker.eof:
            raise Problem("bad_request", f"the body ends before its {coding.name} data do")
        body = unpacker.unused_data
        if not body:
            break
    else:
        raise Problem("bad_request", f"the body consists of more than {MOST_FRAMES} pieces of {coding.name}; send one")
    return b"".join(pieces)


def answer_coding(values: Sequence[bytes]) -> Coding | None:
    """The coding that a caller likes best, from its headers `Accept-Encoding`; None where it likes none better."""
    weights: dict[str, float] = {}
    for part in b",".join(values).split(b","):
        name, has_weight, parameter = part.partition(b";")
        weight = _WEIGHT.fullmatch(parameter)
        weights[name.strip().lower().decode("latin-1")] = float(weight[1]) if weight else 0.0 if has_weight else 1.0
    best = max(CODINGS, key=lambda name: weights.get(name, 0.0))
    wanted = weights.get(best, 0.0)
    return CODINGS[best] if wanted and wanted >= weights.get("identity", 0.0) else None


def pack_answer(scope: Message, send: Send) -> Send:
    """A `send` that packs an answer where its caller takes that and its size is worth it."""
    coding = answer_coding([value for name, value in scope["headers"] if name == b"accept-encoding"])
    if coding is None or scope["method"] == "HEAD":
        return send
    held: list[Message] = []

    async def send_packed(message: Message) -> None:
        if message["type"] == "http.response.start":
            # Its headers depend on the body, which comes next.
            held.append(message)
            return
        if held:
            start = held.pop()
            body = message.get("body", b"")
            is_whole = not message.get("more_body", False)
            if len(body) >= SMALLEST_PACKED_BYTES and is_whole and _is_packable(start):
                packed = await asyncio.to_thread(coding.pack, body) if len(body) >= LARGE_BYTES else coding.pack(body)
                start["headers"] = _packed_headers(start["headers"], coding, len(packed))
                message = {**message, "body": packed}
            await send(start)
        await send(message)

    return send_packed


def _is_packable(start: Message) -> bool:
    # Errors are short, and those of BentoML are still to be turned into problems.
    if start["status"] >= 400:
        return False
    headers = {name.lower(): value for name, value in start["headers"]}
    return b"content-encoding" not in headers and bool(_PACKABLE.match(headers.get(b"content-type", b"")))


def _packed_headers(headers: Headers, coding: Coding, size: int) -> list[tuple[bytes, bytes]]:
    return [
        *((name, value) for name, value in headers if name.lower() != b"content-length"),
        (b"content-length", str(size).encode()),
        (b"content-encoding", coding.name.encode()),
        (b"vary", b"accept-encoding"),
    ]
