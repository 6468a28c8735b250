"""The parts of a conversation with a server that do not wait: what is sent, when it is sent again, what came back."""

import json
import random
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Generic, TypeVar

import httpx
from pydantic import ValidationError

from models.errors import UserError, first_mistake, shorten
from models.tasks import ENDPOINTS, check_endpoint
from models.tasks.task import Item
from service.answers.contract import AnswerBody, ItemError, Limits, ModelCard, ModelName, answer_type

BODY_SHARE = 0.9
"""The share of the server's largest body that the inputs of a request may take; the rest is for the options."""

FIRST_WAIT_S = 0.25
"""The wait before the second try where the server does not say how long; it doubles from try to try."""

LONGEST_WAIT_S = 60.0

_INPUT = re.compile(r"^(/inputs/)(\d+)")
"""The input that a server refuses, at the beginning of its reason."""

_PASSING = frozenset({429, 502, 503})
"""Statuses that another try may not meet."""

ResultT = TypeVar("ResultT", covariant=True)


class ClientError(UserError):
    """No answer from a server."""


class Unreachable(ClientError):
    """Nothing answers at the address, or the connection broke in every try."""


class NoSteadfast(ClientError):
    """An answer that no Steadfast server gives."""


class Refused(ClientError):
    """The server's reason not to answer."""

    def __init__(self, detail: str, *, status: int, code: str, request_id: str) -> None:
        """The message is `detail`; the server's log has the request under its id."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.request_id = request_id


@dataclass(frozen=True, kw_only=True)
class Answers(Generic[ResultT]):
    """The answers to all inputs, which may have come in several requests."""

    model: ModelName
    results: Sequence[ResultT]
    """The results in the order of the inputs; `index` is an input's place among all."""
    errors: Sequence[ItemError]
    """Inputs without a result, with `on_error="report"`, and results without their explanation or certificate."""
    tokens: int
    request_ids: Sequence[str]
    """The ids of the requests, as they stand in the server's log."""


@dataclass
class Tries:
    """The tries of one request: which answers it is asked again after, and when."""

    most: int
    made: int = field(default=0, init=False)

    def wait_s(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Seconds until the next try; None where the outcome is the last."""
        self.made += 1
        # Nothing that a server answers is changed by a request, so that each may be sent twice.
        is_passing = not isinstance(outcome, httpx.Response) or outcome.status_code in _PASSING
        if not is_passing or self.made >= self.most:
            return None
        said = None if isinstance(outcome, httpx.TransportError) else _seconds(outcome.headers.get("retry-after"))
        # Apart from each other, so that callers who were refused together do not come together again.
        usual = FIRST_WAIT_S * 2 ** (self.made - 1) * random.uniform(0.5, 1)
        return min(usual if said is None else said, LONGEST_WAIT_S)


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdigit() else None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs that go in one request."""

    start: int
    """The place of the first of them among all inputs."""
    content: bytes
    request_id: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to this body."""
        return {"Content-Type": "application/json", "X-Request-ID": self.request_id}


def check_url(url: str) -> str:
    """The address of a server; raises ClientError where it is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{shorten(url)!r} is no URL ({error}); write one such as http://127.0.0.1:3000") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ClientError(f"{shorten(url)!r} is no URL of a server; write one such as http://127.0.0.1:3000")
    return url


def check_key(key: str) -> str:
    """The key, if a header can hold it; raises ClientError."""
    if not (key.isascii() and key.isprintable()):
        raise ClientError("the key holds characters other than printable ASCII, which no header takes; mend the key")
    return key


def check_inputs(endpoint: str, inputs: Iterable[Any]) -> list[bytes]:
    """The inputs as JSON, each for itself.

    Raises:
        UnknownTask: there is no such endpoint.
        ClientError: there is none, a single one in place of a list, or one that is no JSON.
    """
    fields = tuple(ENDPOINTS[check_endpoint(endpoint)][0].columns)
    if isinstance(inputs, str | bytes | Mapping | Item):
        raise ClientError("a single input: ask with a list of inputs; put it into one")
    try:
        dumped = [_dump(_as_item(given, fields)) for given in inputs]
    except (TypeError, ValueError) as error:
        raise ClientError(f"an input that JSON cannot hold ({error}); send texts, objects or tuples") from None
    if not dumped:
        raise ClientError("no inputs; ask with one or more")
    return dumped


def cut(inputs: Sequence[bytes], options: Mapping[str, Any], limits: Limits) -> list[Batch]:
    """The requests for inputs, each with as many as the server takes; of several, ids end in a number."""
    options = dict(options)
    name = options.pop("request_id", None) or uuid.uuid4().hex
    asked = {option: value for option, value in options.items() if value is not None}
    tail = b"".join(b"," + _dump(option) + b":" + _dump(value) for option, value in asked.items())
    room = int(limits.max_body_bytes * BODY_SHARE) - len(tail)
    groups: list[list[bytes]] = []
    size = 0
    for dumped in inputs:
        size += len(dumped) + 1
        if not groups or len(groups[-1]) == limits.max_items or size > room:
            groups.append([])
            size = len(dumped) + 1
        groups[-1].append(dumped)
    starts = [0, *accumulate(map(len, groups))]
    return [
        Batch(
            start=start,
            content=b'{"inputs":[' + b",".join(group) + b"]" + tail + b"}",
            request_id=f"{name}-{number}" if len(groups) > 1 else name,
        )
        for number, (start, group) in enumerate(zip(starts, groups, strict=False), start=1)
    ]


def _as_item(given: Any, fields: tuple[str, ...]) -> Any:
    if isinstance(given, Item):
        return given.model_dump(exclude_none=True)
    if isinstance(given, tuple) and len(given) > len(fields):
        raise ClientError(f"an input has {len(given)} texts, but the endpoint reads {', '.join(fields)}")
    return dict(zip(fields, given, strict=False)) if isinstance(given, tuple) else given


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def read_answers(
    endpoint: str, outcomes: Iterable[httpx.Response | httpx.TransportError], batches: Sequence[Batch]
) -> list[AnswerBody]:
    """The bodies of the answers to `batches`, in their order; raises as `check` does."""
    return [_read_answer(endpoint, outcome, batch) for outcome, batch in zip(outcomes, batches, strict=True)]


def _read_answer(endpoint: str, outcome: httpx.Response | httpx.TransportError, batch: Batch) -> AnswerBody:
    response = check(outcome, batch.start)
    kind = answer_type(*ENDPOINTS[endpoint])
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_ours(response, str(first_mistake(error))) from None


def read_card(outcome: httpx.Response | httpx.TransportError) -> ModelCard:
    """The card of a model; raises as `check` does."""
    response = check(outcome)
    try:
        return ModelCard.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_ours(response, str(first_mistake(error))) from None


def check(outcome: httpx.Response | httpx.TransportError, start: int = 0) -> httpx.Response:
    """The outcome, if it is a good answer to inputs whose first has the place `start` among the caller's.

    Raises:
        Unreachable, Refused, NoSteadfast: it is none.
    """
    if isinstance(outcome, httpx.TransportError):
        raise Unreachable(f"{_url(outcome)} cannot be reached ({type(outcome).__name__}); is the server running?")
    if outcome.is_success:
        return outcome
    try:
        problem = outcome.json()
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        raise _not_ours(outcome, f"status {outcome.status_code}") from None
    request_id = outcome.headers.get("x-request-id", "")
    detail = _INPUT.sub(lambda found: f"{found[1]}{int(found[2]) + start}", detail)
    raise Refused(detail, status=outcome.status_code, code=code, request_id=request_id)


def join(bodies: Sequence[AnswerBody], batches: Sequence[Batch]) -> Answers[Any]:
    """The answers of all requests as one."""
    results: list[Any] = []
    errors: list[ItemError] = []
    for body, batch in zip(bodies, batches, strict=True):
        results += [one.model_copy(update={"index": one.index + batch.start}) for one in body.results]
        errors += [one.model_copy(update={"index": one.index + batch.start}) for one in body.errors]
    return Answers(
        model=bodies[0].model,
        results=results,
        errors=errors,
        tokens=sum(body.usage.tokens for body in bodies),
        request_ids=[batch.request_id for batch in batches],
    )


def _not_ours(response: httpx.Response, why: str) -> NoSteadfast:
    return NoSteadfast(f"{shorten(str(response.url))} is no Steadfast server, or of another version: {why}")


def _url(error: httpx.TransportError) -> str:
    try:
        return shorten(str(error.request.url))
    except RuntimeError:
        return "the server"
