"""How fast a model computes."""


class Throughput:
    """How fast one thread computes, by what it did of late."""

    MEMORY = 0.95
    """What is kept of the past at each new batch: about the last twenty count."""

    def __init__(self) -> None:
        """Nothing was measured."""
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count a batch in."""
        self._tokens = self.MEMORY * self._tokens + tokens
        self._seconds = self.MEMORY * self._seconds + seconds

    def seconds_for(self, tokens: int) -> float:
        """How long so many take; 0 while nothing was measured."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0
