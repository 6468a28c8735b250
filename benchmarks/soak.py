"""`python -m benchmarks.soak`: many mixed requests to a server, each answer compared with the model asked directly.

Requests of every package, of 1 to 2,000 words, alone and several at once, explained and not, with one in twenty that
must be refused. What is counted: wrong answers, 5xx, and how the server's memory grows.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import pytest
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.serving import Server, serving
from benchmarks.texts import make_mixed_texts
from export.package import open_package
from models.tasks.task import takes_list
from service.answers.contract import request_type
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool

AT_ONCE = 32
BAD_SHARE = 0.05
ITEMS_A_TASK = 400
"""Distinct inputs of each model, so that the reference is computed once for each and not once a request."""

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
    """One request and what must come of it."""

    endpoint: str
    body: bytes
    results: list[Any] | None
    """None: it must be refused."""
    errors: list[Any] = field(default_factory=list)


@dataclass
class Tally:
    """What was seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)
    """Requests answered so far, and the server's proportional set size in MB."""


@app.command()
def main(
    packages: Annotated[list[Path], typer.Argument(help="Packages to ask; each is served and asked directly.")],
    requests: Annotated[int, typer.Option(help="How many.")] = 50_000,
    seed: Annotated[int, typer.Option(help="Fixes every request.")] = 0,
) -> None:
    """Ask and compare; exit code 1 where an answer was wrong or a server error."""
    pools = {}
    for folder in track(packages, "asking the models directly"):
        package = open_package(folder)
        with Pool(2) as pool, Predictor(package, EngineLimits(), pool) as predictor:
            pools[package.task.endpoint] = make_questions(predictor, seed)
    with serving(packages) as server:
        tally = asyncio.run(ask(server, pools, requests, seed))
    console = Console()
    console.print(f"{requests:,} requests: {dict(sorted(tally.statuses.items()))}, {len(tally.wrong)} wrong")
    for wrong in tally.wrong[:10]:
        console.print(wrong)
    slope, noise = memory_slope(tally.memory)
    first, last = tally.memory[0][1], tally.memory[-1][1]
    console.print(
        f"memory (PSS): {first:.0f} MB at first, {last:.0f} MB at last; in the second half "
        f"{slope:+.2f} MB for 10,000 requests, give or take {noise:.2f}"
    )
    if tally.wrong or any(status >= 500 for status in tally.statuses):
        raise typer.Exit(1)


def make_questions(predictor: Predictor, seed: int) -> list[Question]:
    """Requests with the answers that the model itself gives to them."""
    draw = random.Random(f"{seed}/{predictor.task.name}")
    texts = iter(make_mixed_texts(20 * ITEMS_A_TASK, words=(1, 2_000), seed=draw.randrange(2**32)))
    Request = request_type(predictor.task, 64)
    questions = []
    for _ in range(ITEMS_A_TASK):
        items = [_make_item(predictor, texts, draw) for _ in range(draw.choice((1, 1, 1, 2, 4)))]
        explain = draw.choice((None, None, None, *predictor.explanations))
        body = json.dumps({"inputs": items, "explain": explain, "on_error": "report"}).encode()
        request: Any = Request.model_validate_json(body)
        answers = predictor.answer(request.inputs, request)
        results = [result.model_dump(mode="json") for result in answers.results]
        errors = [{"index": one.index, "code": one.reason.code, "detail": str(one.reason)} for one in answers.rejected]
        questions.append(Question(predictor.task.endpoint, body, results, errors))
    return questions


async def ask(server: Server, pools: Mapping[str, Sequence[Question]], requests: int, seed: int) -> Tally:
    """Ask `requests` questions, so many at once, and compare every answer."""
    draw = random.Random(seed)
    tally = Tally()
    numbers = iter(track(range(requests), "asking the server"))
    bad = [Question(endpoint, body, None) for endpoint in pools for body in BAD_BODIES]

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if number % 250 == 0:
                tally.memory.append((number, server.memory_mb()))
            question = draw.choice(bad) if draw.random() < BAD_SHARE else draw.choice(pools[draw.choice(list(pools))])
            await _ask_one(client, question, tally)

    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    return tally


def memory_slope(memory: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """MB for 10,000 requests over the second half of the samples, and the standard error of that."""
    late = np.array(memory[len(memory) // 2 :])
    (slope, _), covariance = np.polyfit(late[:, 0], late[:, 1], 1, cov=True)
    return float(slope * 10_000), float(np.sqrt(covariance[0, 0]) * 10_000)


async def _ask_one(client: httpx.AsyncClient, question: Question, tally: Tally) -> None:
    answer = await client.post(
        f"/v1/{question.endpoint}", content=question.body, headers={"content-type": "application/json"}
    )
    tally.statuses[answer.status_code] += 1
    shown = f"{question.endpoint}: {answer.status_code} to {question.body[:80]!r}"
    if question.results is None:
        if not 400 <= answer.status_code < 500 or answer.headers["content-type"] != "application/problem+json":
            tally.wrong.append(shown)
    elif answer.status_code == 429:
        await asyncio.sleep(float(answer.headers["retry-after"]))
    elif answer.status_code != 200 or not _same(question, answer.json()):
        tally.wrong.append(shown)


def _same(question: Question, body: Mapping[str, Any]) -> bool:
    """Answers are the same to the last bit; the shares of words only nearly, for they depend on a row's company."""
    assert question.results is not None
    if body["errors"] != question.errors or len(body["results"]) != len(question.results):
        return False
    return all(
        {**found, "explanation": None} == {**wanted, "explanation": None}
        and _shares(found["explanation"]) == pytest.approx(_shares(wanted["explanation"]), abs=1e-6)
        for found, wanted in zip(body["results"], question.results, strict=True)
    )


def _shares(explanation: Any) -> list[float]:
    each = explanation if isinstance(explanation, list) else [explanation] if explanation else []
    return [item["score"] for one in each for item in one["items"]]


def _make_item(predictor: Predictor, texts: Iterator[str], draw: random.Random) -> dict[str, Any]:
    """One field may be long; a list has a few texts, as short as choices are."""
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
