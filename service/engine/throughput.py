"""The speed at which a model has been computed lately."""


class Throughput:
    """The time that one thread needs for a token, measured over recent batches."""

    MEMORY = 0.95
    """The weight that the past keeps at each new batch: about the last twenty batches count."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count in a batch of so many tokens, padding included."""
        self._tokens = self.MEMORY * self._tokens + tokens
        self._seconds = self.MEMORY * self._seconds + seconds

    def seconds_for(self, tokens: int) -> float:
        """The seconds that one thread would need for so many tokens; 0 while nothing was measured."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0
