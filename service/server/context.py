"""The request that a task of the event loop is answering."""

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from models.errors import MOST_MISTAKES, say_how_many
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions
from service.server.framework_errors import explain_mistakes
from service.server.problems import PROBLEM_JSON, Problem, ProblemForm
from service.server.tracing import Stage

BodyT = TypeVar("BodyT", bound=BaseModel)


@dataclass
class RequestContext:
    """One request, from its first byte to the last byte of its answer."""

    request_id: str
    headers: Sequence[tuple[bytes, bytes]] = ()
    """The headers, with names in lower case."""
    problem_form: ProblemForm = PROBLEM_JSON
    """How errors are written for whoever asks."""
    started: float = field(default_factory=time.perf_counter)
    body: bytes = b""
    deadline: float | None = None
    """The time by `time.monotonic` from which the answer is of no use; None where nothing limits it."""
    tenant: str = ""
    """Who asks, as far as turns are concerned: a name of the key that was sent."""
    is_large: bool = False
    """Whether its texts or explanations are so long that work on them must run in a thread."""
    stages: Sequence[Stage] = ()
    """The stages that its time went into, in their order."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers for the log; never a text."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, the first of several; None if it was not sent."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def elapsed_s(self) -> float:
        """Time since the request came in."""
        return time.perf_counter() - self.started


_INSIDE = dict.fromkeys(ExplainOptions.model_fields.keys() - Options.model_fields.keys(), "explain")
"""The fields of requests that belong inside another."""

current_request: ContextVar[RequestContext] = ContextVar("current_request")


def read_body(kind: type[BodyT], length: int | None = None) -> BodyT:
    """The JSON body of the current request, or of its first bytes, for handlers beside BentoML's.

    Raises:
        Problem: it does not fit.
    """
    body = current_request.get().body[:length]
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if error.error_count() > MOST_MISTAKES:
            raise Problem("validation", f"the body {say_how_many(error)}; GET /docs.json lists the fields") from None
        mistakes = [{**mistake, "loc": list(mistake["loc"])} for mistake in error.errors()]
        raise explain_mistakes(mistakes, body, _INSIDE if issubclass(kind, Options) else {}) from None


def respond(problem: Problem) -> Response:
    """The answer to the current request that reports `problem`."""
    context = current_request.get()
    context.facts["code"] = problem.code
    form = context.problem_form
    body = form.write(problem, context.request_id)
    return Response(body, problem.status, {**problem.headers, "content-type": form.content_type})
