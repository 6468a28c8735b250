"""`python -m benchmarks.turns`: how long a short text waits while another caller floods the same model with long ones.

It asks for single texts with one key: while nothing else is asked for, behind one text of 49,000 tokens, and while
another key keeps 64 requests of 5,000 words under way. The times are those of a clock, so the machine must be quiet;
compare them as ratios within one run.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.serving import Server, serving
from benchmarks.texts import make_texts

FLOOD = 64
"""Long requests under way at the same time."""
LONG_WORDS = 5_000
LONGEST_WORDS = 48_000
"""Words of the single longest text: about 49,000 tokens."""
PAUSE_S = 1.0
"""Time for a flood to arrive before the short texts."""
MOST_RATIO = 5.0
"""The most that the 99th percentile beside a flood may be of that of the texts alone."""

app = typer.Typer()


@dataclass
class Waits:
    """The answers to the short texts of one part."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    long_statuses: Counter[int] = field(default_factory=Counter)
    """The answers to the long texts of the other key."""

    def percentile(self, share: int) -> float:
        """The time within which so many of a hundred texts were answered."""
        return float(np.percentile(self.milliseconds, share))


@app.command()
def main(
    package: Annotated[Path, typer.Argument(help="The package for sentiment to serve.")] = Path("zoo/sentiment"),
    texts: Annotated[int, typer.Option(help="Short texts in each part.")] = 300,
) -> None:
    """Print the times of short texts alone, behind a long text, and beside a flood of another key."""
    with serving([package], api_keys="long,short") as server:
        parts = asyncio.run(measure(server, texts))
    table = Table("short texts", "p50 ms", "p99 ms", "longest ms", "p99 / alone", "answers", "answers to the long")
    alone = parts["alone"].percentile(99)
    for name, waits in parts.items():
        times = [waits.percentile(50), waits.percentile(99), max(waits.milliseconds), waits.percentile(99) / alone]
        table.add_row(name, *(f"{value:.1f}" for value in times), _counts(waits.statuses), _counts(waits.long_statuses))
    console = Console()
    console.print(table)
    *_, flooded = parts.values()
    ratio = flooded.percentile(99) / alone
    unanswered = flooded.statuses.total() - flooded.statuses[200]
    is_met = ratio <= MOST_RATIO and not unanswered
    console.print(
        f"beside the flood, p99 is {ratio:.1f} times that alone (at most {MOST_RATIO:g}), and {unanswered} short texts "
        f"were not answered (none may be): {'met' if is_met else 'not met'}"
    )


async def measure(server: Server, count: int) -> dict[str, Waits]:
    """The answers of each part; the flood's is the last."""
    short = [text[:120] for text in make_texts(count)]
    long, longest = (" ".join(["good film"] * (words // 2)) for words in (LONG_WORDS, LONGEST_WORDS))
    await ask(server, short)
    parts = {"alone": await ask(server, short)}
    floods = {
        "behind a text of 49,000 tokens": (longest, 1),
        f"beside {FLOOD} requests of 5,000 words": (long, FLOOD),
    }
    for name, (text, at_once) in floods.items():
        async with flood(server, text, at_once) as statuses:
            parts[name] = await ask(server, short)
        parts[name].long_statuses = statuses
    return parts


async def ask(server: Server, texts: list[str]) -> Waits:
    """Ask for the texts one by one."""
    waits = Waits()
    async with client_of(server, "short") as client:
        for text in texts:
            began = time.perf_counter()
            answer = await client.post("/v1/sentiment", json={"inputs": [text]})
            waits.milliseconds.append((time.perf_counter() - began) * 1_000)
            waits.statuses[answer.status_code] += 1
    return waits


@asynccontextmanager
async def flood(server: Server, text: str, at_once: int) -> AsyncIterator[Counter[int]]:
    """Keep so many requests for `text` under way while the context lasts; gives their answers by status."""
    statuses: Counter[int] = Counter()

    async def work(client: httpx.AsyncClient) -> None:
        while True:
            answer = await client.post("/v1/sentiment", json={"inputs": [text], "truncation": "window"})
            statuses[answer.status_code] += 1
            # Who is refused comes again when told to.
            await asyncio.sleep(float(answer.headers.get("retry-after", 0)))

    async with client_of(server, "long") as client:
        tasks = [asyncio.create_task(work(client)) for _ in range(at_once)]
        await asyncio.sleep(PAUSE_S)
        try:
            yield statuses
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)


def _counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items())) or "none"


def client_of(server: Server, key: str) -> httpx.AsyncClient:
    """A client that sends this key."""
    limits = httpx.Limits(max_connections=FLOOD)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits, headers=headers)


if __name__ == "__main__":
    app()
