"""Puts answers into bins, the same for a package's reference and for what a server counts, so that the two compare."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

Signal = Literal["label", "confidence", "similarity", "unknown_share", "length"]
"""A thing that is counted of each answer: its labels or kinds of entities, how probable each is, how alike two texts
are, the share of tokens without a known word, and the tokens of a text. An answer has some of them."""

STEPS = 10_000
"""Probabilities and shares are counted to four decimals."""

WITHOUT_DECISION = "(none)"
"""The label of an answer that decides nothing, such as a text without entities."""


@dataclass(frozen=True)
class Bins:
    """The bins of a number: each goes from one edge up to the next, which is not in it, and the last has no end."""

    edges: tuple[float, ...]
    """The lower edges of the bins."""
    steps: int = 1
    """Numbers are rounded to whole multiples of 1 / `steps`."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the bins in order, such as `0.8-0.9` and `0.95+`."""
        return (*(f"{low:g}-{high:g}" for low, high in pairwise(self.edges)), f"{self.edges[-1]:g}+")

    @cached_property
    def _later(self) -> list[int]:
        return [round(edge * self.steps) for edge in self.edges[1:]]

    def find(self, number: float) -> str:
        """The name of the bin that holds a number; numbers below the first edge are in the first bin."""
        return self.names[bisect_right(self._later, round(number * self.steps))]

    def gather(self, edges: Sequence[float | int], counts: Sequence[int]) -> dict[str, int]:
        """The counts of narrower bins with these `edges`, among which all of ours are; empty bins are left out.

        Raises:
            ValueError: an edge of these bins is none of theirs.
        """
        if not set(self.edges) <= set(edges):
            raise ValueError(f"the bins begin at {edges}, and not all of {self.edges} are among these")
        found = Counter[str]()
        # The last of their edges is where the last bin ends.
        for edge, count in zip(edges[: len(counts)], counts, strict=True):
            found[self.find(float(edge))] += count
        return dict(+found)


BINS: Mapping[Signal, Bins] = {
    "confidence": Bins((0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95), STEPS),
    "similarity": Bins((0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), STEPS),
    "unknown_share": Bins((0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5), STEPS),
    "length": Bins((0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0)),
}
"""The bins of each signal that is a number. Their edges are among those of the summary that `score` writes."""


def in_order(signal: Signal, counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of a signal in the order of its bins, or by name where these have none."""
    names = BINS[signal].names if signal in BINS else sorted(counts)
    return {name: counts[name] for name in names if name in counts}


def read_signals(result: Any) -> Iterator[tuple[Signal, str]]:
    """The signals of one result, of the type `result_type(task)`, each with its bin."""
    yield "unknown_share", BINS["unknown_share"].find(result.unknown_share)
    yield "length", BINS["length"].find(float(result.tokens))
    similarity = getattr(result, "normalized", None)
    if similarity is not None:
        yield "similarity", BINS["similarity"].find(similarity)
        return
    judgements = result.judgements()
    if not judgements:
        yield "label", WITHOUT_DECISION
    for label, probability in judgements:
        yield "confidence", BINS["confidence"].find(probability)
        if label is not None:
            yield "label", label
