"""Probes: items whose outputs a package records at export; `verify` and a starting server compare them.

Each task names its items in `Task.probe_items`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from export.package import Package, Probe
from export.session import CONTRIBUTIONS, Session
from models.tasks.task import READ_AT_TOKENS, AnyTask
from models.text import BadInput, Reader, Row


def record_probes(task: AnyTask, reader: Reader, session: Session) -> tuple[Probe, ...]:
    """Record the graph's outputs for each of the task's probe items that this model can read."""
    return tuple(
        Probe(item=item, outputs=probe_outputs(task, reader, session, item, session.outputs))
        for item in task.probe_items
        if _is_readable(task, reader, item)
    )


def probe_again(before: Package, after: Package) -> tuple[Probe, ...]:
    """The probes of a package whose texts are now read otherwise; those that are read as before stay as they are."""
    task, session = before.task, None
    readers = before.reader(), after.reader()
    probes = []
    for probe in before.probes:
        was, now = ([row.ids for row in probe_rows(task, reader, probe.item)] for reader in readers)
        if was != now:
            session = session or Session(after.graph, pad_id=after.manifest.pad_id)
            outputs = probe_outputs(task, readers[1], session, probe.item, session.outputs)
            probe = probe.model_copy(update={"outputs": outputs})
        probes.append(probe)
    return tuple(probes)


def probe_outputs(
    task: AnyTask, reader: Reader, session: Session, item: dict[str, Any], outputs: Sequence[str]
) -> dict[str, list[list[float]]]:
    """The graph's outputs for an item by name, with one list for each row. The rows are computed in one batch."""
    computed = session.run(probe_rows(task, reader, item), outputs)
    return {name: [arrays[name].ravel().tolist() for arrays in computed] for name in outputs}


def probe_rows(task: AnyTask, reader: Reader, item: dict[str, Any]) -> tuple[Row, ...]:
    """The rows of an item; where answers stand at tokens, explanations are of the first logit of the middle token."""
    rows = task.encode(task.item.model_validate(item), reader, "window").rows
    if task.head not in READ_AT_TOKENS:
        return rows
    return tuple(replace(row, read_at=len(row) // 2, target={(len(row) // 2, 0): 1.0}) for row in rows)


def rows_of_many_lengths(task: AnyTask, reader: Reader, count: int = 64) -> list[Row]:
    """Make rows of the probe items' first words, no two of the same length, from the shortest to a full row."""
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
    """Cut the item's longest text after each of its words, and give the first row of each cut until a row is full."""
    longest = max(task.columns, key=lambda field: len(item[field]) if isinstance(item[field], str) else 0)
    words = item[longest].split()
    for count in range(1, len(words) + 1):
        row = probe_rows(task, reader, item | {longest: " ".join(words[:count])})[0]
        yield row
        if len(row) == reader.limits.max_tokens:
            return


def distance(name: str, expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Largest absolute difference of an output, to be compared with `PROBE_TOLERANCE`.

    It is infinite where the rows differ in shape or hold something that is not a number. A decomposition adds up what
    both passes round, in shares of several logits: it counts in units of twice its largest share, and at least of 2.
    """
    if list(map(len, expected)) != list(map(len, found)):
        return math.inf
    # Python's `max` would lose what is not a number.
    difference = float(np.max([np.abs(np.subtract(*pair)).max() for pair in zip(expected, found, strict=True)]))
    if name in CONTRIBUTIONS:
        difference /= 2 * max(1.0, *(float(np.abs(row).max()) for row in expected))
    return math.inf if math.isnan(difference) else difference
