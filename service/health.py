"""Asks a server whether it is ready.

A container asks every few seconds, so this needs only the standard library, and `service.cli` comes here before it
imports anything else.
"""

import http.client
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from models.errors import UserError, shorten
from service.address import reachable_url

TIMEOUT_S = 5.0
"""Longest wait for a connection, and for an answer."""

MOST_BYTES = 65_536
"""Most of an answer that is read."""

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
"""The kind of connection, by the scheme of a URL."""


class NotReady(UserError):
    """No server that is ready answers."""


def plain_request(arguments: Sequence[str]) -> tuple[str | None] | None:
    """The `--url` of a command line that asks for health in the usual way, in a tuple; None for any other."""
    match list(arguments):
        case ["health"]:
            return (None,)
        case ["health", "--url", url]:
            return (url,)
        case _:
            return None


def report_health(url: str | None, environment: Mapping[str, str]) -> int:
    """Say in one sentence whether the server is ready, and return the exit code: 0 if it is, else 1."""
    try:
        address = url or reachable_url(environment)
        check_ready(address)
    except UserError as error:
        sys.stderr.write(f"steadfast: {error}\n")
        return 1
    sys.stdout.write(f"{address} is ready\n")
    return 0


def check_ready(url: str) -> None:
    """Ask the server at `url` whether it is ready; raises NotReady, with the reason, if it does not say so."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotReady(f"{url}: {error}; name a URL such as http://127.0.0.1:3000") from error
    if parts.scheme not in CONNECTIONS or not host:
        raise NotReady(f"{url}: no URL of a server; name one such as http://127.0.0.1:3000")
    try:
        with closing(CONNECTIONS[parts.scheme](host, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", f"{parts.path.rstrip('/')}/readyz")
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NotReady(f"{url}: no answer ({reason}); start the server, or name another by --url") from error
    if answer.status != http.client.OK:
        raise NotReady(f"{url}: not ready ({answer.status}): {_detail(body)}")


def _detail(body: bytes) -> str:
    """The reason that a server gives, as far as it speaks as Steadfast does."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "the answer is none of Steadfast's; name its server by --url"
    return shorten(str(detail), 300)
