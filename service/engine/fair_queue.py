"""Fair turns: of those who wait, the one who was served least comes next."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Who was served how much, by start-time fair queueing (Goyal, Vin and Cheng, 1997), all with equal weights.

    While two both wait, neither is served more than the other by more than one turn of each. Who comes back after a
    pause begins where the others are: pauses are not saved up, nor is a debt forgotten.
    """

    def __init__(self) -> None:
        """Nobody was served."""
        self._served: dict[K, float] = {}
        self._now = 0.0
        """Where the one who was served last stood when its turn came."""

    def begin(self, who: K) -> None:
        """Say that `who` waits from now on."""
        self._served[who] = max(self._served.get(who, 0.0), self._now)

    def next(self, waiting: Iterable[K]) -> K | None:
        """Whose turn it is; among equals the first, None where nobody waits. All have begun."""
        return min(waiting, key=self._served.__getitem__, default=None)

    def charge(self, who: K, amount: float) -> None:
        """Say that it is the turn of `who`, and what that takes."""
        self._now = self._served[who]
        self._served[who] += amount

    def leave(self, who: K) -> None:
        """Forget `who`."""
        self._served.pop(who, None)
