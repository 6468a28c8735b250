"""The head of an HTTP/1.1 request: how large it may be, and which heads two servers may read in two ways."""

from collections.abc import Iterable

from service.server.problems import Problem
from service.server.transport.limits import ConnectionLimits


class HeadMeter:
    """Measures what comes of heads on one connection; its methods raise Problem where that is too much."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Measure by these limits."""
        self._limits = limits
        self._lines = 0
        self._bytes = 0
        self._held = 0
        """The most bytes that the parser may keep for a header, trailer or line that is not whole."""
        self._has_let_go = False

    def begin(self) -> None:
        """Begin the head of another request."""
        self._lines = self._bytes = 0

    def count(self, size: int, *, lines: int = 0) -> None:
        """Count bytes and lines of the head or of its trailers."""
        self._bytes += size
        self._lines += lines
        if self._bytes > self._limits.max_header_bytes or self._lines > self._limits.max_header_lines:
            raise self._too_large()

    def begin_piece(self) -> None:
        """Expect the parser to read another piece."""
        self._has_let_go = False

    def let_go(self) -> None:
        """Note that the parser keeps nothing of what came before."""
        self._has_let_go = True

    def end_piece(self, size: int) -> None:
        """Count a piece that the parser has read, of which it may keep all where it did not let go."""
        self._held = 0 if self._has_let_go else self._held + size
        if self._held > self._limits.max_header_bytes:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return too_large_head(self._limits)


def too_large_head(limits: ConnectionLimits) -> Problem:
    """The problem of a head beyond the limits."""
    return Problem(
        "headers_too_large",
        f"the headers are more than {limits.max_header_bytes:,} bytes or {limits.max_header_lines} lines; send fewer, "
        "and texts in the body",
    )


def check_head(headers: Iterable[tuple[bytes, bytes]], version: str) -> None:
    """Refuse heads that two servers may read in two ways (RFC 9112, sections 3.2 and 6.1); raises Problem."""
    headers = list(headers)
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise Problem("bad_request", f"HTTP/1.1 takes one header Host, and there are {hosts}")
    if version == "1.0" and any(name == b"transfer-encoding" for name, _ in headers):
        raise Problem("bad_request", "HTTP/1.0 knows no Transfer-Encoding; send Content-Length, or HTTP/1.1")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        raise Problem("not_implemented", "the one Transfer-Encoding read here is chunked, once")
