"""Clients of a running server, one for usual programs and one for asyncio; they differ only in how they wait.

Inputs without number go in requests as large as the server takes. What a busy server refuses is asked again when it
says.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, overload
from urllib.parse import quote

import httpx

from models.text import Truncation
from service.address import DEFAULT_PORT
from service.answers.certificate import CertifiedFamily
from service.answers.contract import ModelCard
from service.answers.explanation import ExplanationMethod
from service.answers.offsets import OffsetUnit
from service.client.exchange import (
    Answers,
    Batch,
    Tries,
    check_inputs,
    check_key,
    check_url,
    cut,
    join,
    read_answers,
    read_card,
)

if TYPE_CHECKING:
    from service.python.results import EntitiesResult, LabelResult, LabelsResult, ReadingResult, SimilarityResult

DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
TIMEOUT_S = 120.0
TRIES = 5
REQUESTS_AT_ONCE = 4
"""Most requests of one call that an asynchronous client has under way."""

Labels = Literal["sentiment", "nli", "paraphrase", "text-classification", "pair-classification"]
Inputs = Iterable[str | Mapping[str, Any] | tuple[Any, ...]]


class Asked(TypedDict, total=False):
    """The options of a request, as HTTP takes them, and an id of the caller's for it."""

    model: str | None
    explain: bool | ExplanationMethod | Mapping[str, Any] | None
    certify: CertifiedFamily | None
    truncation: Truncation
    on_error: Literal["fail", "report"]
    top_k: int | None
    offset_unit: OffsetUnit
    request_id: str | None


class Client:
    """A client of one server. Threads may share it. It is a context manager."""

    def __init__(
        self, url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = TIMEOUT_S, tries: int = TRIES
    ) -> None:
        """Ask the server at `url` with a key of its callers, each request up to so many times.

        Raises:
            ClientError: the URL names no server, or no header can hold the key.
        """
        self._http = httpx.Client(base_url=check_url(url), headers=_headers(key), timeout=timeout_s)
        self._tries = tries

    @overload
    def ask(self, task: Labels, inputs: Inputs, **options: Unpack[Asked]) -> "Answers[LabelResult]": ...

    @overload
    def ask(
        self, task: Literal["multi-label-classification"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[LabelsResult]": ...

    @overload
    def ask(self, task: Literal["sts"], inputs: Inputs, **options: Unpack[Asked]) -> "Answers[SimilarityResult]": ...

    @overload
    def ask(self, task: Literal["ner"], inputs: Inputs, **options: Unpack[Asked]) -> "Answers[EntitiesResult]": ...

    @overload
    def ask(
        self, task: Literal["reading-comprehension"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[ReadingResult]": ...

    @overload
    def ask(self, task: str, inputs: Inputs, **options: Unpack[Asked]) -> Answers[Any]: ...

    def ask(self, task: str, inputs: Inputs, **options: Unpack[Asked]) -> Answers[Any]:
        """The answers to inputs: texts, objects, or tuples of the fields in their order.

        Raises:
            UnknownTask: there is no such task.
            Refused: the server says why it does not answer.
            Unreachable, NoSteadfast: no Steadfast server answers at the URL.
        """
        given = check_inputs(task, inputs)
        batches = cut(given, options, self.model(task).limits)
        outcomes = (self._send(_request(self._http, task, batch)) for batch in batches)
        return join(read_answers(task, outcomes, batches), batches)

    def model(self, task: str) -> ModelCard:
        """The default model of a task, with its labels and limits; raises as `ask` does."""
        return read_card(self._send(self._http.build_request("GET", f"/v1/models/{quote(task, safe='')}")))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, request: httpx.Request) -> httpx.Response | httpx.TransportError:
        """The last outcome of a request."""
        tries = Tries(self._tries)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            wait_s = tries.wait_s(outcome)
            if wait_s is None:
                return outcome
            time.sleep(wait_s)


class AsyncClient:
    """A client of one server for asyncio. It is an asynchronous context manager."""

    def __init__(
        self, url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = TIMEOUT_S, tries: int = TRIES
    ) -> None:
        """Ask the server at `url` with a key of its callers, each request up to so many times.

        Raises:
            ClientError: the URL names no server, or no header can hold the key.
        """
        self._http = httpx.AsyncClient(base_url=check_url(url), headers=_headers(key), timeout=timeout_s)
        self._tries = tries

    @overload
    async def ask(self, task: Labels, inputs: Inputs, **options: Unpack[Asked]) -> "Answers[LabelResult]": ...

    @overload
    async def ask(
        self, task: Literal["multi-label-classification"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[LabelsResult]": ...

    @overload
    async def ask(
        self, task: Literal["sts"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[SimilarityResult]": ...

    @overload
    async def ask(
        self, task: Literal["ner"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[EntitiesResult]": ...

    @overload
    async def ask(
        self, task: Literal["reading-comprehension"], inputs: Inputs, **options: Unpack[Asked]
    ) -> "Answers[ReadingResult]": ...

    @overload
    async def ask(self, task: str, inputs: Inputs, **options: Unpack[Asked]) -> Answers[Any]: ...

    async def ask(self, task: str, inputs: Inputs, **options: Unpack[Asked]) -> Answers[Any]:
        """The answers to inputs, as `Client.ask` gives them; several requests are under way at once."""
        given = check_inputs(task, inputs)
        batches = cut(given, options, (await self.model(task)).limits)
        under_way = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def answer(batch: Batch) -> httpx.Response | httpx.TransportError:
            async with under_way:
                return await self._send(_request(self._http, task, batch))

        outcomes = await asyncio.gather(*map(answer, batches))
        return join(read_answers(task, outcomes, batches), batches)

    async def model(self, task: str) -> ModelCard:
        """The default model of a task, with its labels and limits; raises as `ask` does."""
        return read_card(await self._send(self._http.build_request("GET", f"/v1/models/{quote(task, safe='')}")))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, request: httpx.Request) -> httpx.Response | httpx.TransportError:
        """The last outcome of a request."""
        tries = Tries(self._tries)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            wait_s = tries.wait_s(outcome)
            if wait_s is None:
                return outcome
            await asyncio.sleep(wait_s)


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {check_key(key)}"} if key else {}


def _request(http: httpx.Client | httpx.AsyncClient, task: str, batch: Batch) -> httpx.Request:
    return http.build_request("POST", f"/v1/{task}", content=batch.content, headers=batch.headers)
