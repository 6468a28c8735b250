"""Problem documents (RFC 9457), which tell callers that something is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, Field

from models.errors import shorten

CONTENT_TYPE = "application/problem+json"
REFUSAL = "steadfast.refusal"
"""The key of a problem in the ASGI scope of a request that was refused before it could be read."""
MOST_ERRORS = 100
"""Most entries of `errors`: a thousand mistakes in a request are not answered with a thousand lines."""


class ProblemKind(NamedTuple):
    """The status and the title that all problems with one code share."""

    status: int
    title: str


KINDS: dict[str, ProblemKind] = {
    "malformed_json": ProblemKind(400, "The body is not JSON"),
    "bad_request": ProblemKind(400, "The request cannot be understood"),
    "unauthorized": ProblemKind(401, "A key is needed"),
    "not_found": ProblemKind(404, "Nothing is at this address"),
    "model_not_found": ProblemKind(404, "No such model"),
    "method_not_allowed": ProblemKind(405, "This address does not take this method"),
    "body_timeout": ProblemKind(408, "The body came too slowly"),
    "header_timeout": ProblemKind(408, "The headers came too slowly"),
    "reload_failed": ProblemKind(409, "The models were not changed"),
    "reload_under_way": ProblemKind(409, "The models are being changed already"),
    "payload_too_large": ProblemKind(413, "The body is too large"),
    "too_many_items": ProblemKind(413, "Too many inputs in one request"),
    "unsupported_media_type": ProblemKind(415, "The body must be JSON"),
    "validation": ProblemKind(422, "The request does not fit the contract"),
    "empty_input": ProblemKind(422, "An input holds no text"),
    "input_too_long": ProblemKind(422, "An input is too long"),
    "deadline_unreachable": ProblemKind(422, "The request is too large for the time that it allows"),
    "unknown_words": ProblemKind(422, "The model knows too few words of an input"),
    "overloaded": ProblemKind(429, "Too much is waiting already"),
    "headers_too_large": ProblemKind(431, "The headers are too large"),
    "internal": ProblemKind(500, "Something went wrong here"),
    "not_implemented": ProblemKind(501, "This server does not do that"),
    "not_ready": ProblemKind(503, "Not ready to answer"),
    "draining": ProblemKind(503, "Shutting down"),
    "too_many_connections": ProblemKind(503, "Too many connections are open"),
    "deadline_exceeded": ProblemKind(504, "The answer took too long"),
    "version_not_supported": ProblemKind(505, "Another version of HTTP"),
}


class Fault(BaseModel):
    """One thing wrong with the body, and where."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body.")
    detail: str


class ProblemDocument(BaseModel):
    """The mistake in a request, or the reason why it has no answer, as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="For programs; always the same for the same kind of problem.", examples=sorted(KINDS))
    request_id: str
    errors: list[Fault]
    error: str = Field(description="The same as `detail`.")


class Problem(Exception):
    """Ends a request with a problem document; `code` is a key of KINDS."""

    def __init__(
        self, code: str, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = faults
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    def document(self, request_id: str) -> bytes:
        """The problem document as JSON, for the request with this id."""
        document = ProblemDocument(
            type=f"urn:steadfast:problem:{self.code}",
            title=KINDS[self.code].title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            errors=list(self.faults[:MOST_ERRORS]),
            error=self.detail,
        )
        return document.model_dump_json().encode()


@dataclass(frozen=True)
class ProblemForm:
    """How a dialect writes errors."""

    content_type: str
    write: Callable[[Problem, str], bytes]
    """Makes the body of a problem, for the request of an id."""


PROBLEM_JSON = ProblemForm(CONTENT_TYPE, Problem.document)


def pointer(*path: str | int) -> str:
    """The JSON pointer to a place in the body; a name that the caller made up is cut where it is long."""
    return "".join("/" + shorten(str(part)).replace("~", "~0").replace("/", "~1") for part in path)
