"""Distributions of numbers that are seen once: counted as they come, with quantiles and a histogram at the end.

Numbers are kept as whole steps. So the result is exact to a step, and the same whatever order or parts they come in.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

SHARES = tuple(number / 20 for number in range(21))
"""The edges of the bins of shares and probabilities."""

LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096)
"""The edges of the bins of lengths."""


class Distribution(BaseModel):
    """How numbers are spread."""

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float
    least: float
    median: float
    p95: float = Field(description="19 of 20 numbers are at most this.")
    most: float
    edges: tuple[float, ...] = Field(description="Each bin goes from one edge up to the next, which is not in it.")
    counts: tuple[int, ...] = Field(description="By bin; the last bin holds its upper edge and all that is above.")

    def below(self, number: float) -> float:
        """The share of the numbers below `number`, which must be one of the edges."""
        return sum(self.counts[: self.edges.index(number)]) / self.count


class Tally:
    """Numbers counted as they come."""

    def __init__(self, edges: Sequence[float], steps: int = 1) -> None:
        """Count numbers in steps of 1 / `steps`; `edges` are those of the histogram."""
        self._edges = tuple(edges)
        self._steps = steps
        self._counts: Counter[int] = Counter()

    def add(self, number: float) -> None:
        """Count one number."""
        self._counts[round(number * self._steps)] += 1

    def merge(self, other: Self) -> None:
        """Count what `other`, of the same steps, has counted."""
        self._counts += other.counted()

    def add_counted(self, counted: Iterable[tuple[int, int]]) -> None:
        """Count what `counted` gave, as pairs of a step and how often it came."""
        self._counts.update(dict(counted))

    def counted(self) -> Counter[int]:
        """How often each number came, in steps."""
        return Counter(self._counts)

    def distribution(self) -> Distribution | None:
        """How the numbers are spread; None where none came."""
        total = self._counts.total()
        if not total:
            return None
        ordered = sorted(self._counts)
        return Distribution(
            count=total,
            mean=sum(step * times for step, times in self._counts.items()) / total / self._steps,
            least=ordered[0] / self._steps,
            median=self._quantile(ordered, total, 0.5),
            p95=self._quantile(ordered, total, 0.95),
            most=ordered[-1] / self._steps,
            edges=self._edges,
            counts=self._bins(),
        )

    def _quantile(self, ordered: Sequence[int], total: int, share: float) -> float:
        """The smallest number that so large a share of all is at most."""
        seen = 0
        for step in ordered:
            seen += self._counts[step]
            if seen >= share * total:
                break
        return step / self._steps

    def _bins(self) -> tuple[int, ...]:
        bins = [[round(edge * self._steps) for edge in pair] for pair in pairwise(self._edges)]
        last = len(bins) - 1
        return tuple(
            sum(times for step, times in self._counts.items() if low <= step and (step < high or number == last))
            for number, (low, high) in enumerate(bins)
        )
