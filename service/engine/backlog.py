"""What waits for one model: rows by the outputs they want and their length, each length in the order of arrival.

Not for several threads at once: whoever owns a backlog guards it.
"""

import math
from collections import deque
from collections.abc import Iterator

from service.engine.submission import QueuedRow, Submission


class Backlog:
    """The rows that wait for one model, and how many tokens they have."""

    def __init__(self) -> None:
        """Nothing waits."""
        self.rows = 0
        self.tokens = 0
        self._arrived = 0
        self._lines: dict[tuple[str, ...], dict[int, deque[QueuedRow]]] = {}
        self._rows_of: dict[Submission, int] = {}
        self._earliest = math.inf
        """No deadline of what waits is earlier."""

    def add(self, order: Submission) -> None:
        """Let all rows of `order` wait."""
        # Built first: a caller who is interrupted meanwhile has added nothing.
        arriving: dict[int, list[QueuedRow]] = {}
        for position, row in enumerate(order.rows):
            waiting = QueuedRow(self._arrived + position + 1, order, position)
            arriving.setdefault(len(row), []).append(waiting)
        lines = self._lines.setdefault(order.outputs, {})
        for length, waitings in arriving.items():
            lines.setdefault(length, deque()).extend(waitings)
        self._rows_of[order] = len(order.rows)
        self._earliest = min(self._earliest, order.deadline)
        self._arrived += len(order.rows)
        self.rows += len(order.rows)
        self.tokens += order.tokens

    def take(self, budget: int) -> list[QueuedRow]:
        """The oldest row and others of like length, nearest first, up to `budget` padded tokens; none if none waits."""
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
            # The oldest row goes whatever its length.
            taken = [line.popleft() for _ in range(min(len(line), max(room, 0 if batch else 1)))]
            if taken:
                batch += taken
                shortest, longest = low, high
                self.tokens -= length * len(taken)
                self._forget_if_empty(outputs, length)
        self.rows -= len(batch)
        for waiting in batch:
            self._count_out(waiting.order)
        return batch

    def take_late(self, now: float) -> list[Submission]:
        """Forget what is left of orders whose deadline has passed; returns them, the oldest first."""
        if now < self._earliest:
            return []
        late = [order for order in self._rows_of if order.deadline <= now]
        for order in late:
            self.remove(order)
        self._earliest = min((order.deadline for order in self._rows_of), default=math.inf)
        return late

    def remove(self, order: Submission) -> None:
        """Forget what is left of `order`."""
        if order not in self._rows_of:
            return
        lines = self._lines[order.outputs]
        for length in {len(row) for row in order.rows} & set(lines):
            kept = deque(waiting for waiting in lines[length] if waiting.order is not order)
            gone = len(lines[length]) - len(kept)
            self.rows -= gone
            self.tokens -= gone * length
            lines[length] = kept
            self._forget_if_empty(order.outputs, length)
        del self._rows_of[order]

    def clear(self) -> list[Submission]:
        """Forget everything; returns the orders that were waiting, the oldest first."""
        orders = list(self._rows_of)
        self._lines.clear()
        self._rows_of.clear()
        self.rows = self.tokens = 0
        return orders

    def _oldest(self) -> tuple[tuple[str, ...], int]:
        _, outputs, length = min(
            (line[0].number, outputs, length)
            for outputs, lines in self._lines.items()
            for length, line in lines.items()
        )
        return outputs, length

    def _count_out(self, order: Submission) -> None:
        self._rows_of[order] -= 1
        if not self._rows_of[order]:
            del self._rows_of[order]

    def _forget_if_empty(self, outputs: tuple[str, ...], length: int) -> None:
        if not self._lines[outputs][length]:
            del self._lines[outputs][length]


def _reach(length: int) -> int:
    """How much the rows of one batch may differ in length.

    A run costs about as much as 10 tokens on top of those it computes (int8 MiniLM-L6), and long rows gain a tenth when
    they are not alone. With that, of the rules tried on the lengths of SST-2 and on 5 to 300 tokens, with 8 to 128
    callers, this one was never more than 2 % from the best.
    """
    return 2 + length // 16


def _outwards(length: int) -> Iterator[int]:
    yield length
    for distance in range(1, _reach(length) + 1):
        yield length - distance
        yield length + distance
