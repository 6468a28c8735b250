"""The control of a run over a file: the tokenizer and the bare graph, on the same texts in batches of the same rule."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from export.package import open_package
from export.session import Session
from models.machine import available_cores
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import TextItem
from models.text import Row
from service.answers.contract import Options
from service.engine.backlog import Backlog
from service.engine.limits import EngineLimits
from service.engine.submission import Submission
from service.outcomes.answering import WINDOW_RECORDS

OUTPUTS = ("logits",)


@dataclass(frozen=True)
class Bare:
    """What some texts cost."""

    tokens: tuple[int, ...]
    """The tokens of each text, in all its windows."""
    reading_s: float
    """CPU time of the tokenizer."""
    graph_s: float
    """CPU time of the graph."""

    @property
    def text_s(self) -> float:
        """CPU time of a text."""
        return (self.reading_s + self.graph_s) / len(self.tokens)


def measure(package: Path, texts: Sequence[str]) -> Bare:
    """Compute the texts, on every core at once as the run does: cores that share a cache slow each other down."""
    cores = available_cores()
    stretches = [texts[place::cores] for place in range(cores)]
    # Started anew: a process that is forked has locks of this one's threads without the threads.
    with ProcessPoolExecutor(cores, get_context("spawn")) as processes:
        parts = list(processes.map(_measure, [package] * cores, stretches))
    return Bare(
        tokens=tuple(count for part in parts for count in part.tokens),
        reading_s=sum(part.reading_s for part in parts),
        graph_s=sum(part.graph_s for part in parts),
    )


def _measure(folder: Path, texts: Sequence[str]) -> Bare:
    package = open_package(folder)
    session, reader = Session(package.graph, pad_id=package.manifest.pad_id), package.reader()
    truncation = Options().truncation
    reading_s = graph_s = 0.0
    tokens: list[int] = []
    for start in range(0, len(texts), WINDOW_RECORDS):
        began = time.process_time()
        items = [TextItem(text=text) for text in texts[start : start + WINDOW_RECORDS]]
        read = [SENTIMENT.encode(item, reader, truncation).rows for item in items]
        reading_s += time.process_time() - began
        tokens += [sum(map(len, rows)) for rows in read]
        batches = list(_cut(read))
        began = time.process_time()
        for batch in batches:
            session.run_padded(batch, OUTPUTS)
        graph_s += time.process_time() - began
    return Bare(tuple(tokens), reading_s, graph_s)


def _cut(read: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
    """The rows in the batches that the engine makes of them where all wait."""
    budget = EngineLimits().batch_tokens
    backlog = Backlog(budget)
    for rows in read:
        backlog.add(Submission(rows, OUTPUTS, None))
    while backlog.rows:
        batch = backlog.take(backlog.next(), budget)
        backlog.charge(batch)
        yield [queued.submission.rows[queued.position] for queued in batch]
