"""How far a mean over rows can be trusted."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by the percentile bootstrap (Efron 1979): the middle of 2000 resampled means.

    The same values give the same interval, in any order.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 0:
        raise ValueError("an interval of the mean needs one value or more, got none")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    draw = np.random.default_rng(0)
    means = [ordered[draw.integers(len(ordered), size=len(ordered))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
