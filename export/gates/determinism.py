"""Gate: a row's logits must be the same bits whatever other rows are computed beside it."""

import random
from collections.abc import Iterator, Sequence

import numpy as np

from export.errors import NotDeterministic
from export.package import DeterminismReport
from export.session import Session
from models.text import Row

BATCH_SIZE = 8


def check_determinism(session: Session, rows: Sequence[Row]) -> DeterminismReport:
    """Compare the logits of each row alone, in mixed batches, and padded to the longest row.

    Raises:
        NotDeterministic: a bit differs.
    """
    differing = rows_that_differ(session, rows)
    if differing:
        lengths = ", ".join(str(len(rows[index])) for index in sorted(differing)[:5])
        raise NotDeterministic(
            f"{len(differing)} of {len(rows)} rows get other logits beside other rows than alone "
            f"(rows of {lengths} tokens); a package must answer the same at any load"
        )
    return DeterminismReport(rows=len(rows), bit_equal=True)


def rows_that_differ(session: Session, rows: Sequence[Row]) -> set[int]:
    """Indices of the rows whose logits are not the same bits each time."""
    alone = [session.run([row], ("logits",))[0]["logits"] for row in rows]
    differing = set()
    for batch in _batches(rows):
        computed = session.run([rows[index] for index in batch], ("logits",))
        differing |= {
            index
            for index, arrays in zip(batch, computed, strict=True)
            if not np.array_equal(arrays["logits"], alone[index])
        }
    return differing


def _batches(rows: Sequence[Row]) -> Iterator[list[int]]:
    draw = random.Random(0)
    order = list(range(len(rows)))
    for _ in range(3):
        draw.shuffle(order)
        yield from (order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE))
    longest = max(order, key=lambda index: len(rows[index]))
    yield from ([index, longest] for index in order)
