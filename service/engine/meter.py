"""What an engine tells whoever counts."""

from typing import Protocol


class EngineMeter(Protocol):
    """Called often, by several threads at once: must be quick and must not raise."""

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        """A batch was taken up: its rows, their tokens, and the tokens computed, padding included."""

    def queue(self, rows: int, tokens: int) -> None:
        """What waits in all queues of this process together, after it changed."""


class Unmetered:
    """Where nobody counts."""

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        """Nothing."""

    def queue(self, rows: int, tokens: int) -> None:
        """Nothing."""
