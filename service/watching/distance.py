"""The distance of two spreads of counts: 0 where they have the same shares, 1 where they have no bin in common."""

import math
from collections.abc import Mapping


def measure_distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The Jensen-Shannon distance to base 2 (Endres and Schindelin 2003), which is a metric between 0 and 1.

    It depends on the shares alone, not on how much was counted. Bins that a spread lacks have the share 0 there.

    Raises:
        ValueError: one of the two counts nothing.
    """
    totals = sum(one.values()), sum(other.values())
    if not all(totals):
        raise ValueError("a spread that counts nothing has no shares")
    divergence = 0.0
    for name in one.keys() | other.keys():
        shares = [counts.get(name, 0) / total for counts, total in zip((one, other), totals, strict=True)]
        mean = sum(shares) / 2
        divergence += sum(share / 2 * math.log2(share / mean) for share in shares if share)
    # Rounding may put it a little outside.
    return math.sqrt(min(max(divergence, 0.0), 1.0))
