"""How far a mean over rows can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
FLIPS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over rows."""

    mean: float
    interval: tuple[float, float]
    """95 % bootstrap interval."""


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of one value for each row, with its interval; raises as `bootstrap_interval` does."""
    interval = bootstrap_interval(values)
    return Mean(mean=float(np.mean(values)), interval=interval)


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


def sign_flip_p(differences: Sequence[float]) -> float:
    """The two-sided p-value that paired differences have a mean other than 0, by 10,000 random flips of their signs.

    It is the share of means that are at least as far from 0, the one that was found included (Phipson and Smyth 2010,
    SAGMB 9(1), equation 2), so it is never 0. The same differences give the same value, in any order.

    Raises:
        ValueError: there are no differences.
    """
    if len(differences) == 0:
        raise ValueError("a test of paired differences needs one pair or more, got none")
    ordered = np.sort(np.asarray(differences, dtype=np.float64))
    found = abs(ordered.sum())
    draw = np.random.default_rng(0)
    # In turns, so that thousands of rows take no memory to speak of.
    signs = (draw.integers(2, size=(100, len(ordered))) * 2.0 - 1 for _ in range(FLIPS // 100))
    # Sums of the same numbers in another order differ in their last bits.
    as_far = sum(int((abs(flips @ ordered) >= found - 1e-9).sum()) for flips in signs)
    return (1 + as_far) / (1 + FLIPS)
