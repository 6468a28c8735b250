"""The interface through which engines report their counts."""

from typing import Protocol


class EngineMeter(Protocol):
    """Receives the counts of all engines of a process: batches, and the rows and tokens that wait.

    Its methods are called often and by several threads at once, so they must be quick and should not raise. Rows that
    an engine has at hand when a method does raise fail with that error.
    """

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        """Count a batch that a thread has taken up: its rows, their tokens, and its tokens with padding."""

    def queue(self, rows: int, tokens: int) -> None:
        """Record the rows and tokens that wait in all queues of the process; called after each change."""


class Unmetered:
    """An `EngineMeter` that counts nothing."""

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        """Do nothing."""

    def queue(self, rows: int, tokens: int) -> None:
        """Do nothing."""
