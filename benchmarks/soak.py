"""`python -m benchmarks.soak`: sends many mixed requests to a server and checks each answer against the model itself.

The requests go to every package. They have 1 to 2,000 words, one item or several, with and without explanations; one in
twenty must be refused. The benchmark counts wrong answers and 5xx, and measures whether the server's memory grows.
Ctrl-C stops it, and it reports what it saw until then.
"""

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.growth import Memory, Seen, find_growth, report
from benchmarks.serving import Server, serving
from benchmarks.texts import make_mixed_texts
from export.package import open_package
from models.tasks.task import takes_list
from service.answers.contract import request_type
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import QUIET_S, Pool

AT_ONCE = 32
"""Requests under way at the same time."""
LOOKS = 100
"""Looks at the server's memory, when nothing is under way: what is, takes more or less from moment to moment."""
REST_S = 3 * QUIET_S
"""Seconds before a look. By then a server at rest has given back what it does not need."""
BAD_SHARE = 0.05
"""Share of the requests that must be refused."""
QUESTIONS_PER_TASK = 400
"""Distinct requests for each model. Each is sent many times, but its reference answer is computed only once."""

BAD_BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[1, 2",
    b'"text"',
    b'{"inputs": []}',
    b'{"inputs": [{"nothing": "known"}]}',
    b'{"inputs": [{}], "explain": "magic"}',
    b'{"inputs": [7]}',
    b'{"inputs": ["\xff"]}',
    b'{"inputs": "' + b"a" * 100 + b'"}',
    json.dumps({"inputs": [""] * 65}).encode(),
)

app = typer.Typer()


@dataclass(frozen=True)
class Question:
    """One request and the answer that must come back."""

    endpoint: str
    body: bytes
    results: list[Any] | None
    """The expected results; None where the request must be refused."""
    errors: list[Any] = field(default_factory=list)


@dataclass
class Observed:
    """Observations during the run: the status codes, the wrong answers and the memory of the server."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[Seen] = field(default_factory=list)


@app.command()
def main(
    packages: Annotated[
        list[Path], typer.Argument(help="Model packages; each is served over HTTP and also asked directly.")
    ],
    requests: Annotated[int, typer.Option(min=400, help="Number of requests.")] = 50_000,
    seed: Annotated[int, typer.Option(help="Seed of the random requests.")] = 0,
) -> None:
    """Send the requests and compare the answers; the exit code is 1 if one was wrong or 5xx, or if memory grew."""
    pools = {}
    for folder in track(packages, "asking the models directly"):
        package = open_package(folder)
        with Pool(2) as pool, Predictor(package, EngineLimits(), pool) as predictor:
            pools[package.task.endpoint] = make_questions(predictor, seed)
    with serving(packages) as server:
        observed = Observed()
        with suppress(KeyboardInterrupt):
            asyncio.run(ask(server, pools, requests, seed, observed))
    console = Console()
    answered = observed.statuses.total()
    console.print(f"{answered:,} requests: {dict(sorted(observed.statuses.items()))}, {len(observed.wrong)} wrong")
    for wrong in observed.wrong[:10]:
        console.print(wrong)
    for line in report(observed.memory):
        console.print(line, highlight=False, soft_wrap=True)
    has_grown = find_growth(observed.memory).verdict == "growth"
    if observed.wrong or has_grown or any(status >= 500 for status in observed.statuses):
        raise typer.Exit(1)


def make_questions(predictor: Predictor, seed: int) -> list[Question]:
    """Random requests, each with the answer that the model gives when it is asked directly."""
    draw = random.Random(f"{seed}/{predictor.task.name}")
    texts = iter(make_mixed_texts(20 * QUESTIONS_PER_TASK, words=(1, 2_000), seed=draw.randrange(2**32)))
    Request = request_type(predictor.task, 64)
    questions = []
    for _ in range(QUESTIONS_PER_TASK):
        items = [_make_item(predictor, texts, draw) for _ in range(draw.choice((1, 1, 1, 2, 4)))]
        explain = draw.choice((None, None, None, *predictor.explanations))
        body = json.dumps({"inputs": items, "explain": explain, "on_error": "report"}).encode()
        request: Any = Request.model_validate_json(body)
        answers = predictor.answer(request.inputs, request)
        results = [result.model_dump(mode="json") for result in answers.results]
        errors = [{"index": one.index, "code": one.reason.code, "detail": str(one.reason)} for one in answers.rejected]
        errors += [
            {"index": one.index, "code": "explanation_too_long", "detail": str(one.reason)}
            for one in answers.unexplained
        ]
        errors.sort(key=lambda error: error["index"])
        questions.append(Question(predictor.task.endpoint, body, results, errors))
    return questions


async def ask(
    server: Server, pools: Mapping[str, Sequence[Question]], requests: int, seed: int, observed: Observed
) -> None:
    """Ask `requests` questions, `AT_ONCE` at a time; compare every answer, and keep what was seen in `observed`."""
    draw = random.Random(seed)
    numbers = iter(track(range(requests), "asking the server"))
    bad = [Question(endpoint, body, None) for endpoint in pools for body in BAD_BODIES]
    every = math.ceil(requests / LOOKS)

    async def work(client: httpx.AsyncClient, stretch: Iterator[int]) -> None:
        for _ in stretch:
            question = draw.choice(bad) if draw.random() < BAD_SHARE else draw.choice(pools[draw.choice(list(pools))])
            await _ask_one(client, question, observed)

    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=server.url, timeout=700, limits=limits) as client:
        for asked in range(0, requests, every):
            observed.memory.append(Seen(asked, Memory.of(server.process)))
            stretch = islice(numbers, every)
            await asyncio.gather(*(work(client, stretch) for _ in range(AT_ONCE)))
            await asyncio.sleep(REST_S)
    observed.memory.append(Seen(requests, Memory.of(server.process)))


# Occlusion waits for all other requests, and there are some for minutes.
_HEADERS = {"content-type": "application/json", "x-request-timeout-ms": "600000"}


async def _ask_one(client: httpx.AsyncClient, question: Question, observed: Observed) -> None:
    answer = await client.post(f"/v1/{question.endpoint}", content=question.body, headers=_HEADERS)
    observed.statuses[answer.status_code] += 1
    shown = f"{question.endpoint}: {answer.status_code} to {question.body[:80]!r}"
    if question.results is None:
        if not 400 <= answer.status_code < 500 or answer.headers["content-type"] != "application/problem+json":
            observed.wrong.append(shown)
    elif answer.status_code == 429:
        await asyncio.sleep(float(answer.headers["retry-after"]))
    elif answer.status_code != 200 or not _same(question, answer.json()):
        observed.wrong.append(shown)


def _same(question: Question, body: Mapping[str, Any]) -> bool:
    """Whether an answer is as expected.

    Results must be equal to the last bit. The scores of words may differ by 1e-6, because they depend slightly on the
    other rows of the batch.
    """
    assert question.results is not None
    if body["errors"] != question.errors or len(body["results"]) != len(question.results):
        return False
    return all(
        {**found, "explanation": None} == {**wanted, "explanation": None}
        and _word_scores(found["explanation"]) == pytest.approx(_word_scores(wanted["explanation"]), abs=1e-6)
        for found, wanted in zip(body["results"], question.results, strict=True)
    )


def _word_scores(explanation: Any) -> list[float]:
    each = explanation if isinstance(explanation, list) else [explanation] if explanation else []
    return [item["score"] for one in each for item in one["items"]]


def _make_item(predictor: Predictor, texts: Iterator[str], draw: random.Random) -> dict[str, Any]:
    """A random item, in which one field may be long; a list gets 2 to 5 short texts, as choices are."""
    fields = list(predictor.task.columns)
    long = draw.choice([name for name in fields if not takes_list(predictor.task.item, name)])
    return {
        name: [next(texts)[:60] for _ in range(draw.randint(2, 5))]
        if takes_list(predictor.task.item, name)
        else (next(texts) if name == long else next(texts)[:200])
        for name in fields
    }


if __name__ == "__main__":
    app()
