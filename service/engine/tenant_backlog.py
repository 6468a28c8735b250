"""The requests of one caller that wait for one model, and which of them is next.

Short requests and long ones take turns by tokens, so that a short one never waits for the end of a long one.
"""

import heapq
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import count

from service.engine.fair_queue import FairQueue
from service.engine.submission import Submission


def size_class(tokens: int, quantum: int) -> int:
    """The class of a request's size: 0 up to `quantum` tokens, then one more for each factor of four."""
    return ((max(tokens - 1, 0) // quantum).bit_length() + 1) // 2


class WaitingRows:
    """The rows of one submission that still wait."""

    def __init__(self, submission: Submission) -> None:
        """Let all of them wait."""
        self.by_length: dict[int, deque[int]] = {}
        """Their positions among the rows of the submission, by the length of the rows."""
        for position, row in enumerate(submission.rows):
            self.by_length.setdefault(len(row), deque()).append(position)

    def first_length(self) -> int:
        """The length of the first row that waits."""
        if len(self.by_length) == 1:
            return next(iter(self.by_length))
        return min(self.by_length, key=lambda length: self.by_length[length][0])


@dataclass
class SizeBacklog:
    """The requests of one class of sizes, by deadline."""

    rows: int = 0
    tokens: int = 0
    order: list[tuple[float, int, Submission]] = field(default_factory=list)
    """A heap: the time by which a submission is due, its number, and the submission, which may have left."""


class TenantBacklog:
    """The requests of one tenant that wait.

    The classes of sizes take turns, each as many tokens as another. Within a class the earliest deadline is first:
    requests of about the same size would only hold each other up, did they take turns too.
    """

    def __init__(self, quantum: int) -> None:
        """Start empty; requests of at most `quantum` tokens make up the class of the shortest."""
        self.rows = 0
        self.tokens = 0
        self.sizes: dict[int, SizeBacklog] = {}
        """Those that wait, by the class of their size."""
        self._quantum = quantum
        self._turns: FairQueue[int] = FairQueue()
        self._numbers = count()

    def add(self, submission: Submission) -> None:
        """Let all rows of `submission` wait."""
        size = size_class(submission.tokens, self._quantum)
        backlog = self.sizes.get(size)
        if backlog is None:
            backlog = self.sizes[size] = SizeBacklog()
            self._turns.begin(size)
        heapq.heappush(backlog.order, (submission.due, next(self._numbers), submission))
        backlog.rows += len(submission.rows)
        backlog.tokens += submission.tokens
        self.rows += len(submission.rows)
        self.tokens += submission.tokens

    def next(self, waiting: Container[Submission]) -> Submission:
        """The submission whose turn it is; `waiting` holds those that have rows left."""
        # Of two classes that were served alike the shorter requests go first.
        size = self._turns.next(sorted(self.sizes))
        assert size is not None
        order = self.sizes[size].order
        while order[0][2] not in waiting:
            heapq.heappop(order)
        return order[0][2]

    def forget_others(self, waiting: Container[Submission]) -> None:
        """Let go of the submissions that are not `waiting`, where they are most of those that are held."""
        for backlog in self.sizes.values():
            # Those that wait have a row each at least.
            if len(backlog.order) > 2 * backlog.rows:
                backlog.order = [entry for entry in backlog.order if entry[2] in waiting]
                heapq.heapify(backlog.order)

    def charge(self, size: int, tokens: int) -> None:
        """Give a class of sizes a turn that costs so many tokens."""
        self._turns.charge(size, tokens)

    def ride(self, size: int, tokens: int) -> None:
        """Count so many tokens that a class of sizes was served in the turn of others."""
        self._turns.ride(size, tokens, most=self._quantum)

    def count_out(self, submission: Submission, rows: int, tokens: int) -> None:
        """Let so many rows of `submission`, with so many tokens together, wait no longer."""
        size = size_class(submission.tokens, self._quantum)
        backlog = self.sizes[size]
        backlog.rows -= rows
        backlog.tokens -= tokens
        self.rows -= rows
        self.tokens -= tokens
        if not backlog.rows:
            del self.sizes[size]
