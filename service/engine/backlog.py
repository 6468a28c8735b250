"""The rows that wait for one model.

They are kept apart by the outputs they want and by their length; rows of one kind keep the order of their arrival.
"""

import math
from collections import deque
from collections.abc import Iterator

from service.engine.submission import QueuedRow, Submission


class Backlog:
    """The rows that wait for one model, and the tokens they have together.

    Not safe to share between threads: its owner holds a lock around every call.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.rows = 0
        self.tokens = 0
        """Tokens of the rows that wait, without padding."""
        self._arrived = 0
        """All rows that ever came."""
        self._lines: dict[tuple[str, ...], dict[int, deque[QueuedRow]]] = {}
        self._rows_of: dict[Submission, int] = {}
        self._earliest = math.inf
        """A lower bound on the deadlines of the rows that wait."""

    def add(self, submission: Submission) -> None:
        """Append all rows of `submission`."""
        # These lists are built first, so that a caller who is interrupted meanwhile has added nothing.
        arriving: dict[int, list[QueuedRow]] = {}
        for position, row in enumerate(submission.rows):
            queued = QueuedRow(self._arrived + position + 1, submission, position)
            arriving.setdefault(len(row), []).append(queued)
        lines = self._lines.setdefault(submission.outputs, {})
        for length, rows in arriving.items():
            lines.setdefault(length, deque()).extend(rows)
        self._rows_of[submission] = len(submission.rows)
        self._earliest = min(self._earliest, submission.deadline)
        self._arrived += len(submission.rows)
        self.rows += len(submission.rows)
        self.tokens += submission.tokens

    def take(self, budget: int) -> list[QueuedRow]:
        """Take out one batch: the oldest row, then rows of like length that want the same outputs, nearest first.

        The batch has at most `budget` tokens, padding included, or else a single row; it is empty if no row waits.
        """
        if not self.rows:
            return []
        outputs, oldest = self._oldest()
        batch: list[QueuedRow] = []
        shortest = longest = oldest
        for length in _outwards(oldest):
            line = self._lines[outputs].get(length)
            if not line:
                continue
            low, high = min(shortest, length), max(longest, length)
            room = budget // high - len(batch) if high - low <= _reach(oldest) else 0
            # The oldest row is taken whatever its length.
            taken = [line.popleft() for _ in range(min(len(line), max(room, 0 if batch else 1)))]
            if taken:
                batch += taken
                shortest, longest = low, high
                self.tokens -= length * len(taken)
                self._forget_if_empty(outputs, length)
        self.rows -= len(batch)
        for queued in batch:
            self._count_out(queued.submission)
        return batch

    def take_late(self, now: float) -> list[Submission]:
        """Remove the submissions whose deadline has passed; returns them, the oldest first."""
        if now < self._earliest:
            return []
        late = [submission for submission in self._rows_of if submission.deadline <= now]
        for submission in late:
            self.remove(submission)
        self._earliest = min((submission.deadline for submission in self._rows_of), default=math.inf)
        return late

    def remove(self, submission: Submission) -> None:
        """Remove those rows of `submission` that still wait."""
        if submission not in self._rows_of:
            return
        lines = self._lines[submission.outputs]
        for length in {len(row) for row in submission.rows} & set(lines):
            kept = deque(queued for queued in lines[length] if queued.submission is not submission)
            gone = len(lines[length]) - len(kept)
            self.rows -= gone
            self.tokens -= gone * length
            lines[length] = kept
            self._forget_if_empty(submission.outputs, length)
        del self._rows_of[submission]

    def clear(self) -> list[Submission]:
        """Remove all rows; returns the submissions that had rows waiting, the oldest first."""
        submissions = list(self._rows_of)
        self._lines.clear()
        self._rows_of.clear()
        self.rows = self.tokens = 0
        return submissions

    def _oldest(self) -> tuple[tuple[str, ...], int]:
        _, outputs, length = min(
            (line[0].number, outputs, length)
            for outputs, lines in self._lines.items()
            for length, line in lines.items()
        )
        return outputs, length

    def _count_out(self, submission: Submission) -> None:
        self._rows_of[submission] -= 1
        if not self._rows_of[submission]:
            del self._rows_of[submission]

    def _forget_if_empty(self, outputs: tuple[str, ...], length: int) -> None:
        if not self._lines[outputs][length]:
            del self._lines[outputs][length]


def _reach(length: int) -> int:
    """The most that lengths within one batch may differ, where the oldest row has this `length`.

    Each run costs about as much as 10 tokens more than it computes (int8 MiniLM-L6), and a long row costs a tenth less
    when it is not alone. Several rules were tried at these costs on the lengths of SST-2 and on 5 to 300 tokens, with 8
    to 128 callers. This rule was never more than 2 % from the best.
    """
    return 2 + length // 16


def _outwards(length: int) -> Iterator[int]:
    """The lengths within reach of `length`, nearest first and the shorter of two first."""
    yield length
    for distance in range(1, _reach(length) + 1):
        yield length - distance
        yield length + distance
