"""Models under attack: a package in this process, or whatever answers a task at an address."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.attack.lockstep import Submit
from models.attack.search import Answer
from models.errors import UserError
from models.tasks import find_task
from models.tasks.task import AnyTask, Item, Outputs
from service.answers.contract import Options, result_type
from service.answers.predictor import Predictor

if TYPE_CHECKING:
    import httpx

REQUESTS_AT_ONCE = 4
TRIES = 30
"""Times that a busy server is asked before the attack gives up."""
TIMEOUT_S = 120.0
BODY_SHARE = 0.5
"""The share of the server's largest body that the texts of a request may take; JSON may escape every sign of them."""

_BUSY = (429, 503)

Kind = TypeVar("Kind", bound=BaseModel)


class ServerFailed(UserError):
    """A server that does not answer as an attack needs it."""


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A model under attack."""

    name: str
    digest: str
    task: AnyTask
    outputs: Outputs
    submit: Submit
    precision: str
    """That of the graph that answers: of one digest there may be two."""
    max_unknown_share: float | None = None
    """From more unknown tokens on, as a share of an item's, there is no answer; a server does not say it."""


def package_victim(predictor: Predictor) -> Victim:
    """The package of a predictor; items are computed in batches of similar length, on all its threads."""
    options = Options(on_error="report")

    def submit(items: Sequence[Item]) -> Callable[[], Sequence[Answer]]:
        pending = predictor.submit(items, options)
        return lambda: _by_index(pending.result().results, len(items))

    manifest = predictor.package.manifest
    return Victim(
        name=manifest.name,
        digest=manifest.digest,
        task=predictor.task,
        outputs=manifest.meaning,
        submit=submit,
        precision=predictor.name.precision,
        max_unknown_share=predictor.max_unknown_share,
    )


@contextmanager
def server_victim(address: str, key: str | None) -> Iterator[Victim]:
    """The default model for a task of a server, such as `http://127.0.0.1:3000/v1/sentiment`, while the context lasts.

    Items go in requests as large as the server takes, some at once; a busy server is asked again when it says.

    Raises:
        ServerFailed: nothing answers there, or no Steadfast server.
    """
    # Here, not at the top: only attacks on servers need it.
    import httpx

    base, _, endpoint = address.rstrip("/").rpartition("/v1/")
    if not base or "/" in endpoint:
        raise ServerFailed(f"{address}: not the address of a task; write it as http://127.0.0.1:3000/v1/sentiment")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S) as client,
        ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads,
    ):
        card = _read(_Card, _request(client, "GET", f"/v1/models/{endpoint}"), address)
        server = _Server(client, endpoint, card)

        def submit(items: Sequence[Item]) -> Callable[[], Sequence[Answer]]:
            parts = [threads.submit(server.answer, part) for part in server.cut(items)]
            return lambda: [answer for part in parts for answer in part.result()]

        try:
            yield Victim(
                name=card.name,
                digest=card.digest,
                task=server.task,
                outputs=card.outputs,
                submit=submit,
                precision=card.precision,
            )
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


class _Limits(BaseModel):
    max_items: int
    max_body_bytes: int


class _Card(BaseModel):
    """The part of `GET /v1/models/TASK` that an attack needs; a server may say more."""

    task: str
    name: str
    digest: str
    precision: str
    labels: tuple[str, ...]
    score_range: tuple[float, float] | None
    limits: _Limits

    @property
    def outputs(self) -> Outputs:
        """The meaning of the model's numbers."""
        return Outputs(self.labels, score_range=self.score_range)


class _Body(BaseModel):
    """The part of an answer's body that an attack needs."""

    model: dict[str, Any]
    results: list[dict[str, Any]]


class _Server:
    """One task of a server, asked by several threads."""

    def __init__(self, client: "httpx.Client", endpoint: str, card: _Card) -> None:
        self.task = find_task(card.task)
        self._client = client
        self._path = f"/v1/{endpoint}"
        self._card = card
        self._result = result_type(self.task)

    def cut(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """The items in requests that the server takes."""
        limits = self._card.limits
        part: list[Item] = []
        size = 0
        for item in items:
            length = len(item.model_dump_json().encode())
            if part and (len(part) == limits.max_items or size + length > BODY_SHARE * limits.max_body_bytes):
                yield part
                part, size = [], 0
            part.append(item)
            size += length
        if part:
            yield part

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to one request's items."""
        inputs = [item.model_dump(mode="json", exclude_none=True) for item in items]
        response = _request(self._client, "POST", self._path, {"inputs": inputs, "on_error": "report"})
        body = _read(_Body, response, self._path)
        if body.model.get("digest") != self._card.digest:
            raise ServerFailed("the server exchanged its model during the attack; run the attack again")
        return _by_index([self._result.model_validate(result) for result in body.results], len(items))


def _request(client: "httpx.Client", method: str, path: str, body: dict[str, Any] | None = None) -> "httpx.Response":
    """The response to a request, asked again while the server is busy; raises ServerFailed."""
    import httpx

    for _ in range(TRIES):
        try:
            response = client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServerFailed(f"{client.base_url}{path}: no answer ({error}); is the server running there?") from error
        if response.status_code not in _BUSY:
            break
        time.sleep(_pause(response))
    if response.is_success:
        return response
    raise ServerFailed(f"{client.base_url}{path}: status {response.status_code}: {_detail(response)}")


def _pause(response: "httpx.Response") -> float:
    """Seconds to wait, as the server says them."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else 1.0


def _detail(response: "httpx.Response") -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "not an error that Steadfast gives"


def _read(kind: type[Kind], response: "httpx.Response", address: str) -> Kind:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise ServerFailed(f"{address}: not the answer of a Steadfast server of this version") from error


def _by_index(results: Sequence[Any], count: int) -> list[Answer]:
    """The result of each item in order; None for an item that was refused."""
    answers: list[Answer] = [None] * count
    for result in results:
        answers[result.index] = result
    return answers
