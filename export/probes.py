"""Items that every package is tried with: their outputs are recorded at export and compared by `verify` and at start.

Each task names its items, `Task.probe_items`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from export.package import Probe
from export.session import Session
from models.tasks.task import AnyTask
from models.text import BadInput, Reader, Row


def record_probes(task: AnyTask, reader: Reader, session: Session) -> tuple[Probe, ...]:
    """Each of the task's items that this model's rows can hold, with what the graph says of it."""
    return tuple(
        Probe(item=item, outputs=probe_outputs(task, reader, session, item, session.outputs))
        for item in task.probe_items
        if _is_readable(task, reader, item)
    )


def probe_outputs(
    task: AnyTask, reader: Reader, session: Session, item: dict[str, Any], outputs: Sequence[str]
) -> dict[str, list[list[float]]]:
    """What the graph says of an item, one list a row, its rows computed together."""
    computed = session.run(probe_rows(task, reader, item), outputs)
    return {name: [arrays[name].ravel().tolist() for arrays in computed] for name in outputs}


def probe_rows(task: AnyTask, reader: Reader, item: dict[str, Any]) -> tuple[Row, ...]:
    """An item's rows, to be read at the middle by a graph that can read anywhere."""
    rows = task.encode(task.item.model_validate(item), reader, "window").rows
    return tuple(replace(row, read_at=len(row) // 2) for row in rows)


def rows_of_many_lengths(task: AnyTask, reader: Reader, count: int = 64) -> list[Row]:
    """Rows made of the items' first words, no two of one length, from the shortest to a full one."""
    rows: dict[int, Row] = {}
    for whole in task.probe_items:
        if _is_readable(task, reader, whole):
            rows |= {len(row): row for row in _growing_rows(task, reader, whole)}
    lengths = sorted(rows)
    chosen = {lengths[index * (len(lengths) - 1) // (count - 1)] for index in range(count)}
    return [rows[length] for length in sorted(chosen)]


def _is_readable(task: AnyTask, reader: Reader, item: dict[str, Any]) -> bool:
    try:
        probe_rows(task, reader, item)
    except BadInput:
        return False
    return True


def _growing_rows(task: AnyTask, reader: Reader, item: dict[str, Any]) -> Iterator[Row]:
    """First rows of the item with its longest text cut after each of its words, until one is full."""
    longest = max(task.columns, key=lambda field: len(item[field]) if isinstance(item[field], str) else 0)
    words = item[longest].split()
    for count in range(1, len(words) + 1):
        row = probe_rows(task, reader, item | {longest: " ".join(words[:count])})[0]
        yield row
        if len(row) == reader.limits.max_tokens:
            return


def distance(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Largest absolute difference; infinite where the rows are of other shapes or hold what is no number."""
    if list(map(len, expected)) != list(map(len, found)):
        return math.inf
    difference = max(float(np.abs(np.subtract(*pair)).max()) for pair in zip(expected, found, strict=True))
    return math.inf if math.isnan(difference) else difference
