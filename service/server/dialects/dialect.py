"""The shape of a dialect: addresses, bodies and errors of another protocol, for clients that people have already.

The gateway asks a dialect for whatever differs between protocols, and treats all requests alike beside that.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import compile_path

from service.server.problems import PROBLEM_JSON, Problem, ProblemForm

Method = Literal["GET", "POST"]

_UTF8_NAMES = frozenset({b"utf-8", b"utf8"})


def refuse_none(_: int, **__: str) -> None:
    """Refuse no body by its size alone."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An address as the OpenAPI document shows it."""

    name: str
    """Its `operationId`."""
    path: str
    describes: str
    method: Method = "POST"
    body: type[BaseModel] | None = None
    """The type of the body; None where none is needed."""
    example: dict[str, Any] | None = None
    """A body that any server with a model for it answers."""
    answer: Any = None
    """The type of an answer's JSON; None where the status says it all."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A dialect as the OpenAPI document shows it."""

    tag: str
    describes: str
    operations: Sequence[Operation]
    error: type[BaseModel]
    """The body of errors."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address of a dialect."""

    path: str
    """Its pattern, such as `/hf/{task}`. The parts in braces are handed to `answer` by their names."""
    answer: Callable[..., Awaitable[Response]]
    """Answers the current request, whose body has arrived; raises Problem."""
    method: Method = "POST"
    refuse_early: Callable[..., None] = refuse_none
    """Raises Problem where a body of so many bytes, sent to these parts of the address, is refused whatever it says."""
    probe: Literal["live", "ready"] | None = None
    """The question that machines ask here every few seconds, without a key."""
    may_be_empty: bool = False
    """Whether a POST needs no body."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A regular expression for the address."""
        return compile_path(self.path)[0]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request for an address of a dialect: as `Address`, with the parts of the address filled in."""

    address: Address
    answer: Callable[[], Awaitable[Response]]
    refuse_early: Callable[[int], None]


@dataclass(frozen=True)
class MediaTypes:
    """The values of `Content-Type` that a body may have."""

    names: frozenset[bytes] = frozenset({b"application/json"})
    may_be_missing: bool = False

    def check(self, given: Sequence[bytes]) -> None:
        """Raise Problem unless these values of the header say one of the names, in UTF-8."""
        if not given and self.may_be_missing:
            return
        # Exactly one: of two, the application might read another than this check does.
        if len(given) != 1 or not self._is_known(given[0]):
            known = " or ".join(sorted(name.decode() for name in self.names))
            raise Problem("unsupported_media_type", f"send Content-Type: {known}, in UTF-8")

    def _is_known(self, content_type: bytes) -> bool:
        """Whether it is one of the names; parameters other than the charset say nothing about how to read it."""
        kind, *parameters = content_type.lower().split(b";")
        named = [parameter.partition(b"=") for parameter in parameters]
        charsets = [value.strip().strip(b'"') for name, _, value in named if name.strip() == b"charset"]
        return kind.strip() in self.names and _UTF8_NAMES.issuperset(charsets)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A protocol: where it answers, which bodies it takes, and how it writes errors."""

    addresses: Sequence[Address] = ()
    problem_form: ProblemForm = PROBLEM_JSON
    media_types: MediaTypes = MediaTypes()

    def find(self, method: str, path: str) -> Call | None:
        """The request for the address that this path names, if there is one that takes the method."""
        for address in self.addresses:
            match = address.pattern.match(path) if address.method == method else None
            if match:
                parts = match.groupdict()
                return Call(
                    address=address,
                    answer=partial(address.answer, **parts),
                    refuse_early=partial(address.refuse_early, **parts),
                )
        return None

    def missing(self, path: str) -> Problem:
        """The reason why `find` found nothing at a path."""
        methods: set[str] = {address.method for address in self.addresses if address.pattern.match(path)}
        if methods:
            allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
            return Problem("method_not_allowed", f"this address takes {allowed}", headers={"Allow": allowed})
        known = ", ".join(dict.fromkeys(f"{address.method} {address.path}" for address in self.addresses))
        return Problem("not_found", f"nothing is at this address; there are: {known}")


NATIVE = Dialect()
"""Our own protocol. The application finds its addresses."""


class Dialects:
    """The dialects of a server, by the first part of their addresses."""

    def __init__(self, dialects: Iterable[Dialect] = ()) -> None:
        """Give each dialect all paths that begin as one of its addresses does, such as with `/hf`."""
        self._by_start = {_start(address.path): dialect for dialect in dialects for address in dialect.addresses}

    def of(self, path: str) -> Dialect:
        """The dialect of a path: NATIVE unless it begins as addresses of another do."""
        return self._by_start.get(_start(path), NATIVE)


def _start(path: str) -> str:
    return path[1:].partition("/")[0]
