"""Counts how a package's answers are spread, by the bins of its reference."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Any, cast

from prometheus_client import Counter

from export.figures.signals import Signal, read_signals
from service.watching.window import Counts


class Watch:
    """The counters of one package's answers, one for each bin of a signal."""

    def __init__(self, find: Callable[[Signal, str], Counter]) -> None:
        """Count nothing yet; `find` gives the counter of a bin, and is asked once for each."""
        self._find = cache(find)

    def count(self, results: Iterable[Any]) -> None:
        """Count results of the type `result_type(task)`."""
        for (signal, name), times in Tally(chain.from_iterable(map(read_signals, results))).items():
            self._find(signal, name).inc(times)


def read_counts(samples: Iterable[tuple[Mapping[str, str], float]]) -> Counts:
    """The counts of each package that answered, also of those that do no more, from all counters' labels and values."""
    found: dict[str, dict[Signal, dict[str, float]]] = {}
    for labels, value in samples:
        signal = cast("Signal", labels["signal"])
        found.setdefault(labels["digest"], {}).setdefault(signal, {})[labels["bin"]] = value
    return found
