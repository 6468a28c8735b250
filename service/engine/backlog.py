"""The rows that wait for one model, and whose turn it is: by tokens between callers, then between sizes of requests.

Rows are also kept by the outputs they want and by their length, so that a batch is filled with rows of like length.
"""

import math
from collections.abc import Iterator
from itertools import islice

from service.engine.demand import Expected, Load
from service.engine.fair_queue import FairQueue
from service.engine.submission import QueuedRow, Submission
from service.engine.tenant_backlog import TenantBacklog, WaitingRows, size_class


class Backlog:
    """The rows that wait for one model, and the tokens they have together.

    Not safe to share between threads: its owner holds a lock around every call.
    """

    def __init__(self, quantum: int) -> None:
        """Start empty; requests of at most `quantum` tokens are short."""
        self.quantum = quantum
        self.rows = 0
        self.tokens = 0
        """Tokens of the rows that wait, without padding."""
        self.tenants: dict[str, TenantBacklog] = {}
        """The backlog of each tenant that has rows here."""
        self.expected = Expected()
        """Requests that are being read and will wait here; no row of theirs does yet."""
        self._turns: FairQueue[str] = FairQueue()
        self._waiting: dict[Submission, WaitingRows] = {}
        self._alike: dict[tuple[str, ...], dict[int, dict[Submission, None]]] = {}
        """The submissions with rows of a length, by the outputs that they want and the length, in order of arrival."""
        self._earliest = math.inf
        """A lower bound on the deadlines of the rows that wait."""

    def add(self, submission: Submission) -> None:
        """Append all rows of `submission`."""
        # Built first, so that a caller who is interrupted meanwhile has added nothing.
        arriving = WaitingRows(submission)
        if not self.rows:
            # Nobody waits, so nobody has to be made up to for earlier turns.
            self._turns = FairQueue()
        tenant = self.tenants.get(submission.tenant)
        if tenant is None:
            tenant = self.tenants[submission.tenant] = TenantBacklog(self.quantum)
            self._turns.begin(submission.tenant)
        tenant.add(submission)
        alike = self._alike.setdefault(submission.outputs, {})
        for length in arriving.by_length:
            alike.setdefault(length, {})[submission] = None
        self._waiting[submission] = arriving
        self._earliest = min(self._earliest, submission.deadline)
        self.rows += len(submission.rows)
        self.tokens += submission.tokens

    def loads(self, tenant: str) -> dict[float, Load]:
        """The load of a tenant that waits or is expected, by the class of its size."""
        mine = self.tenants.get(tenant)
        loads: dict[float, Load] = (
            {size: Load(one.rows, one.tokens) for size, one in mine.sizes.items()} if mine else {}
        )
        for size, (rows, tokens) in self.expected.tenants.get(tenant, {}).items():
            there = loads.get(size, Load(0, 0))
            loads[size] = Load(there.rows + rows, there.tokens + tokens)
        return loads

    def loads_by_tenant(self) -> dict[str, Load]:
        """The load of each tenant that waits or is expected."""
        whole = {name: Load(tenant.rows, tenant.tokens) for name, tenant in self.tenants.items()}
        for name in self.expected.tenants:
            loads = self.loads(name).values()
            whole[name] = Load(sum(load.rows for load in loads), sum(load.tokens for load in loads))
        return whole

    def next(self) -> Submission:
        """The submission whose turn it is; some row must wait."""
        tenant = self._turns.next(self.tenants)
        assert tenant is not None
        return self.tenants[tenant].next(self._waiting)

    def take(self, first: Submission, budget: int) -> list[QueuedRow]:
        """Take out one batch: a row of `first`, then rows of like length that want the same outputs, nearest first.

        At each length the rows of `first` go before those of others. The batch has at most `budget` tokens, padding
        included, or else a single row. Call `charge` with it.
        """
        lead = self._waiting[first].first_length()
        batch: list[QueuedRow] = []
        shortest = longest = lead
        alike = self._alike[first.outputs]
        for length in _outwards(lead):
            if length not in alike:
                continue
            low, high = min(shortest, length), max(longest, length)
            if high - low > _reach(lead):
                continue
            # The first row is taken whatever its length.
            room = max(budget // high - len(batch), 0 if batch else 1)
            if room > 0:
                batch += self._pop_alike(first, length, room)
                shortest, longest = low, high
        return batch

    def charge(self, batch: list[QueuedRow]) -> None:
        """Count a batch as a turn of the submission of its first row, and the rows of others as served beside it."""
        longest = max(len(queued.row) for queued in batch)
        costs: dict[tuple[str, int], int] = {}
        for queued in batch:
            flow = (queued.submission.tenant, size_class(queued.submission.tokens, self.quantum))
            costs[flow] = costs.get(flow, 0) + longest
        # The first one is the leader's, and so is the first tenant's.
        tenants: dict[str, int] = {}
        for (name, size), cost in costs.items():
            tenant = self.tenants.get(name)
            if tenant:
                (tenant.ride if tenants else tenant.charge)(size, cost)
            tenants[name] = tenants.get(name, 0) + cost
        leader, *others = tenants
        self._turns.charge(leader, tenants[leader])
        for name in others:
            self._turns.ride(name, tenants[name], most=self.quantum)

    def take_late(self, now: float) -> list[Submission]:
        """Remove the submissions whose deadline has passed; returns them, the oldest first."""
        if now < self._earliest:
            return []
        late = [submission for submission in self._waiting if submission.deadline <= now]
        for submission in late:
            self.remove(submission)
        self._earliest = min((submission.deadline for submission in self._waiting), default=math.inf)
        return late

    def remove(self, submission: Submission) -> None:
        """Remove those rows of `submission` that still wait."""
        waiting = self._waiting.get(submission)
        for length in list(waiting.by_length) if waiting else ():
            self._pop_rows(submission, length, len(submission.rows))
        tenant = self.tenants.get(submission.tenant)
        if tenant:
            tenant.forget_others(self._waiting)

    def clear(self) -> list[Submission]:
        """Remove all rows; returns the submissions that had rows waiting, the oldest first."""
        submissions = list(self._waiting)
        for books in (self._waiting, self._alike, self.tenants):
            books.clear()
        self.rows = self.tokens = 0
        return submissions

    def _pop_alike(self, first: Submission, length: int, most: int) -> list[QueuedRow]:
        """Take out at most so many rows of one length, those of `first` before all others."""
        alike = self._alike[first.outputs][length]
        batch: list[QueuedRow] = []
        # Each has a row at least, so that no more than `most` are needed.
        others = list(islice((each for each in alike if each is not first), most))
        for submission in (first, *others) if first in alike else others:
            if len(batch) == most:
                break
            batch += self._pop_rows(submission, length, most - len(batch))
        return batch

    def _pop_rows(self, submission: Submission, length: int, most: int) -> list[QueuedRow]:
        """Take out the first rows of `submission` that have this length, at most so many."""
        waiting = self._waiting[submission]
        positions = waiting.by_length[length]
        batch = [QueuedRow(submission, positions.popleft()) for _ in range(min(most, len(positions)))]
        if not positions:
            del waiting.by_length[length]
            alike = self._alike[submission.outputs]
            del alike[length][submission]
            if not alike[length]:
                del alike[length]
        if not waiting.by_length:
            del self._waiting[submission]
        tokens = length * len(batch)
        self.rows -= len(batch)
        self.tokens -= tokens
        tenant = self.tenants[submission.tenant]
        tenant.count_out(submission, len(batch), tokens)
        if not tenant.rows:
            del self.tenants[submission.tenant]
        return batch


def _reach(length: int) -> int:
    """The most that lengths within one batch may differ, where the first row has this `length`.

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
