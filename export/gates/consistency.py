"""Gate: attention and rollout must be shares of a row's real tokens that add up to 1."""

from collections.abc import Sequence

import numpy as np

from export.errors import NotAnExplanation
from export.session import SHARES, Session
from models.text import Row

TOLERANCE = 1e-4
"""Largest distance from 1 of a sum of float32 shares; over 128 tokens and six layers it was 1e-6."""

BATCH_SIZE = 8


def check_shares(session: Session, rows: Sequence[Row]) -> float:
    """Largest distance from 1 of a row's sum of shares, over padded batches of the rows.

    Raises:
        NotAnExplanation: a share is negative, not a number, or on padding; or the shares of a row do not add up to 1.
    """
    apart = -(-len(rows) // BATCH_SIZE)
    # The list is sorted by length, so rows that are far apart in it make a batch with padding.
    return max(_check_batch(session, rows[start::apart]) for start in range(apart))


def _check_batch(session: Session, rows: Sequence[Row]) -> float:
    computed = session.run_padded(rows, [name for name in SHARES if name in session.outputs])
    positions = np.arange(max(map(len, rows)))
    padding = positions >= np.array([len(row) for row in rows])[:, None]
    distances = []
    for name, shares in computed.items():
        if not (shares >= 0).all():
            raise NotAnExplanation(f"{name}: a share is negative or no number; the graph is broken")
        if shares[padding].any():
            raise NotAnExplanation(f"{name}: {float(shares[padding].max()):.2g} on a padding token, which must get 0")
        distances.append(float(np.abs(shares.sum(axis=1) - 1).max()))
        if distances[-1] > TOLERANCE:
            raise NotAnExplanation(f"{name}: the shares of a row miss 1 by {distances[-1]:.2g}; the graph is broken")
    return max(distances)
