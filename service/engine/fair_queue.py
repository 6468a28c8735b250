"""Which of several queues is served next, so that each gets a fair share."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Start-time fair queueing (Goyal, Vin and Cheng, 1997) between flows of equal weight.

    It chooses the flow that was served least. While two flows both wait, the service that they got differs by at most
    one turn of each. A flow that comes back after a pause starts level with the others: the pause earns it nothing,
    and what it was served beyond the others still counts against it.
    """

    def __init__(self) -> None:
        """Start without flows."""
        self._served: dict[K, float] = {}
        self._now = 0.0
        """The paper's virtual time: the service that the flow of the last turn had got before that turn."""

    def begin(self, flow: K) -> None:
        """Let `flow` wait from now on."""
        self._served[flow] = max(self._served.get(flow, 0.0), self._now)

    def next(self, waiting: Iterable[K]) -> K | None:
        """The flow whose turn it is: the first of those served least, or None if none waits.

        Every flow in `waiting` must have begun.
        """
        return min(waiting, key=self._served.__getitem__, default=None)

    def charge(self, flow: K, amount: float) -> None:
        """Give `flow` a turn that costs `amount`."""
        self._now = self._served[flow]
        self._served[flow] += amount

    def ride(self, flow: K, amount: float, *, most: float) -> None:
        """Count `amount` that `flow` was served in the turn of another flow.

        It puts `flow` back to at most `most` beyond the start of that turn: nobody is to wait long for having filled up
        the turns of others.
        """
        self._served[flow] = max(self._served[flow], min(self._served[flow] + amount, self._now + most))

    def leave(self, flow: K) -> None:
        """Forget `flow`."""
        self._served.pop(flow, None)
