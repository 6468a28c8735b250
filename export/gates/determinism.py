"""Gate: a row's logits must be the same bits whatever other rows are computed beside it, and whatever is explained.

Its decomposition must be the same within a millionth of a logit: some CPUs add floats up in another order in a batch.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from export.errors import NotDeterministic
from export.package import DeterminismReport
from export.session import CONTRIBUTIONS, Session
from models.text import Row

BATCH_SIZE = 8

TOLERANCE = 1e-6
"""Largest difference of a token's share in a decomposition, in units of the logit."""


@dataclass(frozen=True)
class Differences:
    """The differences between rows alone and the same rows in batches."""

    rows: set[int]
    """Indices of the rows whose logits are not the same bits each time."""
    decomposition: float | None
    """Largest difference of a token's share; None where the graph has no decomposition."""


def check_determinism(session: Session, rows: Sequence[Row]) -> DeterminismReport:
    """Compare the logits of each row alone, in mixed batches, and padded to the longest row.

    Raises:
        NotDeterministic: a bit differs.
    """
    found = find_differences(session, rows)
    if found.rows:
        lengths = ", ".join(str(len(rows[index])) for index in sorted(found.rows)[:5])
        raise NotDeterministic(
            f"{len(found.rows)} of {len(rows)} rows get other logits beside other rows than alone "
            f"(rows of {lengths} tokens); a package must answer the same at any load"
        )
    # Not `>`: a difference that is not a number must not pass.
    if found.decomposition is not None and not found.decomposition <= TOLERANCE:
        raise NotDeterministic(
            f"a decomposition differs by {found.decomposition:.2g} beside other rows from alone; at most "
            f"{TOLERANCE:g} is accepted, because a package must answer the same at any load"
        )
    return DeterminismReport(rows=len(rows), bit_equal=True, decomposition_difference=found.decomposition)


def find_differences(session: Session, rows: Sequence[Row]) -> Differences:
    """Compute each row alone without explanation, and in batches with its decomposition if the graph has one."""
    explained = [name for name in CONTRIBUTIONS if name in session.outputs]
    logits = [session.run([row], ("logits",))[0]["logits"] for row in rows]
    alone = [session.run([row], explained)[0] if explained else {} for row in rows]
    differing, distances = set(), [0.0]
    for batch in _batches(rows):
        computed = session.run([rows[index] for index in batch], ("logits", *explained))
        for index, arrays in zip(batch, computed, strict=True):
            if not np.array_equal(arrays["logits"], logits[index]):
                differing.add(index)
            distances += [float(np.abs(arrays[name] - alone[index][name]).max()) for name in explained]
    # Python's `max` would lose what is not a number.
    return Differences(differing, float(np.max(distances)) if explained else None)


def _batches(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Batches of up to eight that hold each row thrice, in a new order each time, and once beside the longest.

    The latter are of two to eight rows in turn.
    """
    draw = random.Random(0)
    order = list(range(len(rows)))
    for _ in range(3):
        draw.shuffle(order)
        yield from (order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE))
    longest = max(order, key=lambda index: len(rows[index]))
    others, sizes = iter(order), cycle(range(1, BATCH_SIZE))
    while batch := list(islice(others, next(sizes))):
        yield [longest, *batch]
