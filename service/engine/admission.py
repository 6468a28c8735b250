"""Which rows a queue lets in: those for which it has room, and those that can be done before their deadline."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from service.engine.backlog import Backlog
from service.engine.errors import DeadlineUnreachable, Overloaded
from service.engine.limits import EngineLimits
from service.engine.submission import Submission
from service.engine.tenant_backlog import SizeBacklog, size_class
from service.engine.throughput import Throughput

TENANTS_WITH_ROOM = 4
"""Tenants that may fill their queues at one time. When more try, each still has an equal part of so much room."""

LONGEST_RETRY_S = 60
"""The longest time that a caller is told to stay away, since today's speed says little about a later load."""


@dataclass(frozen=True)
class Demand:
    """The room that somebody asks for."""

    tenant: str
    rows: int = 0
    tokens: int = 0
    size: float = math.inf
    """The class of its size (see `size_class`); infinite where all that waits is to count."""

    @classmethod
    def of(cls, submission: Submission, backlog: Backlog) -> Self:
        """The room that a submission needs."""
        size = size_class(submission.tokens, backlog.quantum)
        return cls(submission.tenant, len(submission.rows), submission.tokens, size)


def has_room(backlog: Backlog, limits: EngineLimits, demand: Demand) -> bool:
    """Whether there is room within the limits.

    Only the same tenant's requests of this size or smaller take it: a long request is not to refuse those that need
    not wait for it. Where none of them waits, there is room for any.
    """
    mine = _in_the_way(backlog, demand)
    if not mine:
        return True
    rows = demand.rows + sum(each.rows for each in mine)
    tokens = demand.tokens + sum(each.tokens for each in mine)
    waiting = backlog.tenants.values()
    return _fits(rows, demand.rows, [each.rows for each in waiting], limits.queued_rows) and _fits(
        tokens, demand.tokens, [each.tokens for each in waiting], limits.queued_tokens
    )


def overload(backlog: Backlog, throughput: Throughput, demand: Demand, threads: float) -> Overloaded:
    """The error where there is no room; `threads` is the number of threads that compute this backlog."""
    mine = _in_the_way(backlog, demand)
    larger = (each.tokens for size, each in backlog.tenants[demand.tenant].sizes.items() if size > demand.size)
    own = _in_turns(sum(each.tokens for each in mine), larger)
    wait_s = throughput.seconds_for(_in_turns(own, _others(backlog, demand.tenant))) / threads
    rows = sum(each.rows for each in mine)
    return Overloaded(f"{rows:,} rows are waiting already; try again later", _retry_s(wait_s))


def refuse_late(
    backlog: Backlog, throughput: Throughput, submission: Submission, left_s: float, threads: float, all_threads: int
) -> None:
    """Refuse rows that cannot be done in the `left_s` seconds until their deadline, by the pace that was measured.

    `threads` is the number of threads that compute this backlog as long as the others have work. Rows that fit one
    batch are always tried when nothing waits, so that the pace is measured again.

    Raises:
        DeadlineUnreachable: not even `all_threads` threads without other work would be done by then.
        Overloaded: what waits already takes too long.
    """
    if submission.tokens > backlog.quantum:
        least_s = throughput.least_seconds_for(submission.tokens) / min(all_threads, len(submission.rows))
        if least_s > left_s:
            raise DeadlineUnreachable(
                f"{len(submission.rows):,} rows of {submission.tokens:,} tokens together take {_seconds(least_s)} even "
                f"when nothing else waits, and the request allows {_seconds(left_s)}; send fewer or shorter inputs at "
                "once, or allow more time"
            )
    most_s = throughput.seconds_for(backlog.tokens + submission.tokens) / threads
    if not backlog.rows or most_s <= left_s:
        return
    wait_s = throughput.seconds_for(tokens_until_done(backlog, submission)) / threads
    if wait_s > left_s:
        raise Overloaded(
            f"{backlog.rows:,} rows are waiting already, so that an answer would take {_seconds(wait_s)}, and the "
            f"request allows {_seconds(left_s)}; try again later",
            _retry_s(most_s - left_s),
        )


def tokens_until_done(backlog: Backlog, submission: Submission) -> int:
    """Tokens that are computed until `submission` is done if it is added last and nothing comes after it, at most."""
    size = size_class(submission.tokens, backlog.quantum)
    mine = backlog.tenants.get(submission.tenant)
    sizes = mine.sizes if mine else {}
    alike = submission.tokens + (sizes[size].tokens if size in sizes else 0)
    own = _in_turns(alike, (each.tokens for other, each in sizes.items() if other != size))
    return _in_turns(own, _others(backlog, submission.tenant))


def _in_the_way(backlog: Backlog, demand: Demand) -> list[SizeBacklog]:
    mine = backlog.tenants.get(demand.tenant)
    return [each for size, each in mine.sizes.items() if size <= demand.size] if mine else []


def _in_turns(own: int, others: Iterable[int]) -> int:
    """Tokens that are computed until a flow has got its `own`, when it takes turns with `others`."""
    return own + sum(min(own, other) for other in others)


def _others(backlog: Backlog, tenant: str) -> Iterable[int]:
    return (each.tokens for name, each in backlog.tenants.items() if name != tenant)


def _fits(own: int, wanted: int, waiting: Sequence[int], limit: int) -> bool:
    # Of a request that was let in alone, however large, no more than the limit is counted against the others.
    together = wanted + sum(min(each, limit) for each in waiting)
    most = limit if together <= TENANTS_WITH_ROOM * limit else TENANTS_WITH_ROOM * limit // len(waiting)
    return own <= min(most, limit)


def _retry_s(seconds: float) -> int:
    return min(LONGEST_RETRY_S, max(1, math.ceil(seconds)))


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
