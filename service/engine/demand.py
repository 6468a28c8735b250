"""The room that requests need in a queue, before they are read too: what is being read counts as though it waited."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from service.engine.submission import Submission
from service.engine.tenant_backlog import size_class


class Load(NamedTuple):
    """Rows, and the tokens that they have together."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Demand:
    """The room that somebody asks for."""

    tenant: str
    rows: int = 0
    tokens: int = 0
    size: float = math.inf
    """The class of its size (see `size_class`); infinite where all that waits is to count."""

    @classmethod
    def of(cls, submission: Submission, quantum: int) -> Self:
        """The room that a submission needs; see `size_class` for `quantum`."""
        return cls(submission.tenant, len(submission.rows), submission.tokens, size_class(submission.tokens, quantum))


class Expected:
    """The requests for one model that are being read. Not safe to share between threads."""

    def __init__(self) -> None:
        """Start with none."""
        self._loads: dict[str, dict[float, Load]] = {}

    @property
    def tenants(self) -> Mapping[str, Mapping[float, Load]]:
        """The requests of each tenant that are being read, by the class of their size."""
        return self._loads

    def add(self, demand: Demand) -> None:
        """Count a request."""
        sizes = self._loads.setdefault(demand.tenant, {})
        rows, tokens = sizes.get(demand.size, (0, 0))
        sizes[demand.size] = Load(rows + demand.rows, tokens + demand.tokens)

    def remove(self, demand: Demand) -> None:
        """Count a request no more."""
        sizes = self._loads[demand.tenant]
        rows, tokens = sizes.pop(demand.size)
        if rows > demand.rows:
            sizes[demand.size] = Load(rows - demand.rows, tokens - demand.tokens)
        if not sizes:
            del self._loads[demand.tenant]


class Density:
    """The tokens and rows for each byte of the bodies that were read lately, by which those to come are estimated."""

    MEMORY = 0.95
    """The weight that the past keeps at each new body."""

    def __init__(self) -> None:
        """Start from English: four bytes a token."""
        self._bytes, self._rows, self._tokens = 4.0, 0.0, 1.0

    def add(self, size: int, load: Load) -> None:
        """Count in a body of so many bytes."""
        self._bytes = self.MEMORY * self._bytes + size
        self._rows = self.MEMORY * self._rows + load.rows
        self._tokens = self.MEMORY * self._tokens + load.tokens

    def estimate(self, size: int, tenant: str, quantum: int) -> Demand:
        """The room that a body of so many bytes will need; see `size_class` for `quantum`."""
        rows = max(1, round(size * self._rows / self._bytes))
        tokens = max(rows, round(size * self._tokens / self._bytes))
        return Demand(tenant, rows, tokens, size_class(tokens, quantum))


class Densities:
    """The density of each tenant's bodies: what one sends says nothing about what another will.

    Not safe to share between threads.
    """

    MOST = 1_000
    """Most tenants that are remembered; the one whose last body came first is forgotten."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_tenant: OrderedDict[str, Density] = OrderedDict()

    def add(self, size: int, tenant: str, load: Load) -> None:
        """Count in a tenant's body of so many bytes."""
        self._by_tenant.setdefault(tenant, Density()).add(size, load)
        self._by_tenant.move_to_end(tenant)
        if len(self._by_tenant) > self.MOST:
            self._by_tenant.popitem(last=False)

    def estimate(self, size: int, tenant: str, quantum: int) -> Demand:
        """The room that a tenant's body of so many bytes will need; see `Density.estimate`."""
        return self._by_tenant.get(tenant, Density()).estimate(size, tenant, quantum)


class Expectation:
    """A request that counts as waiting while it is read. Safe to share between threads; whoever makes it ends it."""

    def __init__(self, end: Callable[[Load | None], None]) -> None:
        """Call `end` once, with what was read if that is known."""
        self._end = end
        self._is_open = threading.Lock()

    def end(self, read: Load | None = None) -> None:
        """Count it no more; only the first call does anything."""
        if self._is_open.acquire(blocking=False):
            self._end(read)
