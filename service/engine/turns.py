"""Which queue is served next: ordinary rows before those in the background, each kind fairly between the models."""

from collections.abc import Iterable

from service.engine.fair_queue import FairQueue
from service.engine.model_queue import ModelQueue

PATIENCE = 31
"""Tokens that ordinary rows may have while background rows wait, for each token that these may have then."""


class Turns:
    """The order in which the queues of a pool get their turns.

    While any ordinary row waits, background rows wait too. So that they do not wait for ever, they get one turn after
    ordinary rows have been given `PATIENCE` times as many tokens as a full batch of theirs has: about one token in 32.

    Not safe to share between threads: its pool holds a lock around every call.
    """

    def __init__(self) -> None:
        """Start without queues."""
        self._ordinary: FairQueue[ModelQueue] = FairQueue()
        self._background: FairQueue[ModelQueue] = FairQueue()
        self._given = 0
        """Tokens that ordinary rows have been given while background rows waited, since these had their last turn."""

    def begin(self, queue: ModelQueue) -> None:
        """Let `queue` wait from now on."""
        self._flows_of(queue).begin(queue)

    def next(self, waiting: Iterable[ModelQueue]) -> ModelQueue | None:
        """The queue whose turn it is, or None if none waits; every queue in `waiting` must have begun."""
        queues = list(waiting)
        background = [queue for queue in queues if queue.is_background]
        ordinary = [queue for queue in queues if not queue.is_background]
        if not background:
            self._given = 0
        patient = self._background.next(background)
        if patient and (not ordinary or self._given >= PATIENCE * patient.batch_tokens):
            return patient
        return self._ordinary.next(ordinary)

    def charge(self, queue: ModelQueue, tokens: int) -> None:
        """Give `queue` a turn that costs so many tokens."""
        self._given = 0 if queue.is_background else self._given + tokens
        self._flows_of(queue).charge(queue, tokens)

    def leave(self, queue: ModelQueue) -> None:
        """Forget `queue`."""
        self._flows_of(queue).leave(queue)

    def _flows_of(self, queue: ModelQueue) -> FairQueue[ModelQueue]:
        return self._background if queue.is_background else self._ordinary
