"""The CORS protocol of the Fetch standard: which web pages of other origins may read answers in a browser.

A browser asks by a preflight request, without a key, before it sends JSON; a page that may not read never gets so far.
"""

from collections.abc import Collection, Iterable

ANY = "*"
"""Stands for every origin."""

_READABLE = b"X-Request-ID, Server-Timing, Retry-After"
_MAY_SEND = (
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Encoding, Content-Type, X-Request-ID, X-Request-Timeout-Ms, traceparent, tracestate",
    ),
    (b"access-control-max-age", b"600"),
)

Headers = Iterable[tuple[bytes, bytes]]


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks, for a page of another origin, what the page may send."""
    names = {name for name, _ in headers}
    return method == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


def cross_origin_headers(allowed: Collection[str], headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of any answer to a request with these headers; none where no other origin is allowed."""
    if not allowed:
        return []
    if ANY in allowed:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _READABLE)]
    # Whatever lies between must keep answers to pages of several origins apart.
    vary = (b"vary", b"Origin")
    origins = [value for name, value in headers if name == b"origin"]
    if len(origins) != 1 or origins[0].decode("latin-1") not in allowed:
        return [vary]
    return [
        (b"access-control-allow-origin", origins[0]),
        (b"access-control-expose-headers", _READABLE),
        vary,
    ]


def preflight_headers(allowed: Collection[str], headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers that answer a preflight request, beside those of any answer."""
    reads = any(name == b"access-control-allow-origin" for name, _ in cross_origin_headers(allowed, headers))
    return list(_MAY_SEND) if reads else []
