"""The speed at which a model has been computed lately."""

import time
from collections import deque

FORGET_S = 600.0
"""Seconds after its last batch for which a model's fastest pace is believed: what is refused measures nothing anew."""


class Throughput:
    """The time that one thread needs for a token, measured over recent batches."""

    MEMORY = 0.95
    """The weight that the past keeps at each new batch: about the last twenty batches count."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self._tokens = 0.0
        self._seconds = 0.0
        self._paces: deque[float] = deque(maxlen=32)
        """Seconds a token of the last batches."""
        self._measured = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count in a batch of so many tokens, padding included."""
        self._tokens = self.MEMORY * self._tokens + tokens
        self._seconds = self.MEMORY * self._seconds + seconds
        self._paces.append(seconds / tokens)
        self._measured = time.monotonic()

    def seconds_for(self, tokens: int) -> float:
        """The seconds that one thread would need for so many tokens; 0 while nothing was measured."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0

    def least_seconds_for(self, tokens: int) -> float:
        """The same at the pace of the fastest of the last batches; 0 if the last one is long past.

        One batch that took long, because the machine halted, makes this no larger.
        """
        is_known = time.monotonic() - self._measured < FORGET_S
        return tokens * min(self._paces, default=0.0) if is_known else 0.0
