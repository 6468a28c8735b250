"""Which rows a queue lets in: those for which it has room, and those that can be done before their deadline."""

import math
from collections.abc import Iterable, Sequence

from service.engine.backlog import Backlog
from service.engine.demand import Demand, Load
from service.engine.errors import DeadlineUnreachable, Overloaded
from service.engine.limits import EngineLimits
from service.engine.throughput import Throughput

TENANTS_WITH_ROOM = 4
"""Tenants that may fill their queues at one time. When more try, each still has an equal part of so much room."""

LONGEST_RETRY_S = 60
"""The longest time that a caller is told to stay away, since today's speed says little about a later load."""


def has_room(backlog: Backlog, limits: EngineLimits, demand: Demand) -> bool:
    """Whether there is room within the limits.

    Only the same tenant's requests of this size or smaller take it: a long request is not to refuse those that need
    not wait for it. Where none of them waits, there is room for any. What is being read counts as though it waited.
    """
    mine = _in_the_way(backlog, demand)
    if not mine:
        return True
    rows = demand.rows + sum(load.rows for load in mine)
    tokens = demand.tokens + sum(load.tokens for load in mine)
    waiting = backlog.loads_by_tenant().values()
    return _fits(rows, demand.rows, [load.rows for load in waiting], limits.queued_rows) and _fits(
        tokens, demand.tokens, [load.tokens for load in waiting], limits.queued_tokens
    )


def overload(backlog: Backlog, throughput: Throughput, demand: Demand, threads: float) -> Overloaded:
    """The error where there is no room; `threads` is the number of threads that compute this backlog."""
    mine = _in_the_way(backlog, demand)
    larger = (load.tokens for size, load in backlog.loads(demand.tenant).items() if size > demand.size)
    own = _in_turns(sum(load.tokens for load in mine), larger)
    wait_s = throughput.seconds_for(_in_turns(own, _others(backlog, demand.tenant))) / threads
    announced = backlog.expected.tenants.get(demand.tenant, {}).items()
    read = sum(load.rows for size, load in announced if size <= demand.size)
    ahead = _ahead(sum(load.rows for load in mine) - read, read)
    return Overloaded(f"{ahead}; try again later", _retry_s(wait_s))


def refuse_unreachable(
    throughput: Throughput, demand: Demand, *, what: str = "", quantum: int, left_s: float, all_threads: int
) -> None:
    """Refuse rows that cannot be done in the `left_s` seconds until their deadline even if nothing else waits.

    Rows of at most `quantum` tokens together, which fit one batch, are always tried, so that the pace is measured
    again. The error tells the caller `what` takes too long, the rows where nothing is given.

    Raises:
        DeadlineUnreachable: not even `all_threads` threads without other work would be done by then.
    """
    if demand.tokens <= quantum:
        return
    least_s = throughput.least_seconds_for(demand.tokens) / min(all_threads, demand.rows)
    if least_s > left_s:
        raise DeadlineUnreachable(
            f"{what or f'{demand.rows:,} rows of {demand.tokens:,} tokens together take'} {_seconds(least_s)} even "
            f"when nothing else waits, and the request allows {_seconds(left_s)}; send fewer or shorter inputs at "
            "once, or allow more time"
        )


def refuse_late(backlog: Backlog, throughput: Throughput, demand: Demand, left_s: float, threads: float) -> None:
    """Refuse rows that would be done too late because of what waits, by the pace that was measured.

    `threads` is the number of threads that compute this backlog as long as the others have work. `left_s` is the time
    until the deadline. Where nothing waits, all are tried.

    Raises:
        Overloaded: what waits already takes too long.
    """
    waiting = backlog.loads_by_tenant().values()
    most_s = throughput.seconds_for(demand.tokens + sum(load.tokens for load in waiting)) / threads
    if not waiting or most_s <= left_s:
        return
    wait_s = throughput.seconds_for(tokens_until_done(backlog, demand)) / threads
    if wait_s > left_s:
        read = sum(load.rows for loads in backlog.expected.tenants.values() for load in loads.values())
        raise Overloaded(
            f"{_ahead(backlog.rows, read)}, so that an answer would take {_seconds(wait_s)}, and the request allows "
            f"{_seconds(left_s)}; try again later",
            _retry_s(most_s - left_s),
        )


def tokens_until_done(backlog: Backlog, demand: Demand) -> int:
    """Tokens that are computed until a request is done if it is added last and nothing comes after it, at most."""
    sizes = backlog.loads(demand.tenant)
    alike = demand.tokens + (sizes[demand.size].tokens if demand.size in sizes else 0)
    own = _in_turns(alike, (load.tokens for size, load in sizes.items() if size != demand.size))
    return _in_turns(own, _others(backlog, demand.tenant))


def _in_the_way(backlog: Backlog, demand: Demand) -> list[Load]:
    return [load for size, load in backlog.loads(demand.tenant).items() if size <= demand.size]


def _in_turns(own: int, others: Iterable[int]) -> int:
    """Tokens that are computed until a flow has got its `own`, when it takes turns with `others`."""
    return own + sum(min(own, other) for other in others)


def _others(backlog: Backlog, tenant: str) -> Iterable[int]:
    return (load.tokens for name, load in backlog.loads_by_tenant().items() if name != tenant)


def _fits(own: int, wanted: int, waiting: Sequence[int], limit: int) -> bool:
    # Of a request that was let in alone, however large, no more than the limit is counted against the others.
    together = wanted + sum(min(each, limit) for each in waiting)
    most = limit if together <= TENANTS_WITH_ROOM * limit else TENANTS_WITH_ROOM * limit // len(waiting)
    return own <= min(most, limit)


def _ahead(waiting: int, read: int) -> str:
    """A clause about the rows that wait, and about those that are being read, whose number is an estimate."""
    if not read:
        return f"{_rows(waiting)} waiting already"
    if not waiting:
        return f"about {_rows(read)} being read already"
    return f"{_rows(waiting)} waiting already and about {_rows(read)} being read"


def _rows(number: int) -> str:
    return "1 row is" if number == 1 else f"{number:,} rows are"


def _retry_s(seconds: float) -> int:
    return min(LONGEST_RETRY_S, max(1, math.ceil(seconds)))


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.2g} s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
