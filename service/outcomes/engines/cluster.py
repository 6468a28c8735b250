"""Computes outcomes on many machines with Ray: an actor for each free core, which is a worker with a predictor.

These are plain actors that are sent blocks of records. Ray Data is not used: its writers lose the order of rows, and it
hangs without a word where actors leave no core for its readers. A block of a machine that died is answered by another
worker. Blocks come back in any order, and their outcomes leave here in the order of the records.
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError, WorkerCrashedError

from models.errors import UserError, shorten
from models.machine import available_cores
from models.tables import format_count
from service.outcomes.answering import Failure
from service.outcomes.engines.blocks import Block, cut_blocks
from service.outcomes.engines.engine import Engine, EngineStopped
from service.outcomes.engines.worker import Worker, WorkerOrder
from service.outcomes.outcome import Outcome
from service.outcomes.records import Values

KNOCK_S = 20.0
"""Seconds in which a cluster must take a connection."""

BLOCKS_PER_WORKER = 2
"""Blocks that a worker has at once: while one is answered, the next is on its way."""

BLOCKS_AHEAD = 4
"""Blocks for each worker that may be on their way or wait for one before them, which bounds memory."""

MOST_LOSSES = 3
"""Times that a block may be lost with its worker. A block that is lost oftener seems to be what kills them."""

_LOST = (RayActorError, ObjectLostError, WorkerCrashedError)


@contextmanager
def open_cluster(
    order: WorkerOrder,
    address: str | None,
    *,
    deadline_s: float,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Engine]:
    """An engine on the cluster at `address`, or on the cores of this machine, while the context lasts.

    `say` takes a sentence for each worker that is lost; the run goes on.

    Raises:
        EngineStopped: the cluster cannot be reached, or gives no core, or no worker can begin before the deadline.
    """
    _connect(address)
    try:
        cores = int(ray.available_resources().get("CPU", 0))
        if cores < 1:
            total = int(ray.cluster_resources().get("CPU", 0))
            raise EngineStopped(
                f"{_name(address)}: has {format_count(total, 'core')}, and none is free; "
                "wait until other jobs are done, or start more machines"
            )
        yield _Run(order, cores, deadline_s, say).outcomes
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
    try:
        if address:
            _knock(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", num_cpus=available_cores(), include_dashboard=False, **quiet)
    # Ray raises Exception itself where a node of its own does not start in time.
    except Exception as error:
        raise EngineStopped(
            f"{_name(address)}: Ray cannot be reached there ({_first_line(error)}); name a running cluster with "
            "--address HOST:PORT, and set RAY_AUTH_MODE as its machines do"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError where nobody listens, because Ray would try for minutes; an address without a port is Ray's."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


def _name(address: str | None) -> str:
    return address or "this machine"


@dataclass(eq=False)
class _Hand:
    """A worker on some machine."""

    actor: Any
    blocks: int = 0
    """Blocks that it has."""
    is_ready: bool = False


@dataclass(frozen=True)
class _Sent:
    """A block that a worker has."""

    block: Block
    hand: _Hand


@dataclass
class _Run:
    """The workers of one run, the blocks that they have, and those that are done before their turn."""

    order: WorkerOrder
    cores: int
    deadline_s: float
    say: Callable[[str], None]
    hands: list[_Hand] = field(default_factory=list)
    starting: dict[Any, _Hand] = field(default_factory=dict)
    """By the reference that Ray settles when a worker is ready."""
    sent: dict[Any, _Sent] = field(default_factory=dict)
    """By the reference that Ray settles when a block is answered."""
    lost: deque[Block] = field(default_factory=deque)
    """Blocks that are to be handed out again."""
    losses: Counter[int] = field(default_factory=Counter)
    """How often each block was lost."""
    failed_starts: int = 0
    done: dict[int, list[Outcome]] = field(default_factory=dict)

    def outcomes(self, records: Iterable[Values | Failure]) -> Iterator[Outcome]:
        """The outcome of each record, in their order.

        Raises:
            EngineStopped: nothing happens until the deadline, or the same block is lost time after time.
        """
        blocks = _Blocks(records)
        if blocks.is_over:
            return
        while len(self.hands) < self.cores:
            self._start()
        upcoming = 0
        while self.sent or self.lost or self.done or not blocks.is_over:
            self._hand_out(blocks)
            if upcoming in self.done:
                yield from self.done.pop(upcoming)
                upcoming += 1
            else:
                self._wait()

    def _start(self) -> None:
        """Ask Ray for one more worker; it comes when a core is free."""
        actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker).remote(self.order)
        hand = _Hand(actor)
        self.hands.append(hand)
        self.starting[actor.begin.remote()] = hand

    def _hand_out(self, blocks: "_Blocks") -> None:
        """Give every worker that is ready what it may have, first the blocks that were lost."""
        for hand in self.hands:
            while hand.is_ready and hand.blocks < BLOCKS_PER_WORKER:
                has_room = len(self.sent) + len(self.done) < BLOCKS_AHEAD * self.cores
                block = self.lost.popleft() if self.lost else blocks.take() if has_room else None
                if block is None:
                    return
                hand.blocks += 1
                self.sent[hand.actor.answer.remote(block)] = _Sent(block, hand)

    def _wait(self) -> None:
        """Wait until a worker is ready, is lost, or has answered a block."""
        references = [*self.sent, *self.starting]
        settled, _ = ray.wait(references, num_returns=1, timeout=self.deadline_s)
        if not settled:
            workers = f"{sum(hand.is_ready for hand in self.hands)} of {format_count(self.cores, 'worker')}"
            raise EngineStopped(
                f"nothing came from Ray for {self.deadline_s:g} s, with {workers} ready; look at `ray status`, or wait "
                "longer with --deadline"
            )
        for reference in settled:
            if reference in self.starting:
                self._take_worker(reference)
            elif reference in self.sent:
                self._take_block(reference)

    def _take_worker(self, reference: Any) -> None:
        hand = self.starting.pop(reference)
        try:
            ray.get(reference)
        except RayTaskError as error:
            raise _cause(error) from error
        except _LOST as error:
            self.failed_starts += 1
            if self.failed_starts > MOST_LOSSES * self.cores:
                raise EngineStopped(
                    f"workers die before they begin ({_first_line(error)}); have they memory?"
                ) from error
            self._replace(hand, error)
        else:
            hand.is_ready = True

    def _take_block(self, reference: Any) -> None:
        sent = self.sent.pop(reference)
        number, records = sent.block.number, len(sent.block.records)
        try:
            self.done[number] = ray.get(reference)
        except RayTaskError as error:
            raise _cause(error) from error
        except _LOST as error:
            self.losses[number] += 1
            if self.losses[number] >= MOST_LOSSES:
                raise EngineStopped(
                    f"block {number + 1}, of {format_count(records, 'record')}, was lost with its worker {MOST_LOSSES} "
                    f"times ({_first_line(error)}); are its texts too large for the memory of a machine?"
                ) from error
            self.lost.append(sent.block)
            self._replace(sent.hand, error)
        else:
            sent.hand.blocks -= 1

    def _replace(self, hand: _Hand, error: Exception) -> None:
        """Do without a worker that is lost, and ask for another in its place."""
        # Each of its blocks reports the loss.
        if hand in self.hands:
            self.hands.remove(hand)
            self.say(f"a worker was lost ({_first_line(error)}); others answer what it had")
            self._start()


class _Blocks:
    """Blocks that are taken when there is room for them."""

    def __init__(self, records: Iterable[Values | Failure]) -> None:
        """Read the first block."""
        self._blocks = cut_blocks(records)
        self._next = next(self._blocks, None)

    @property
    def is_over(self) -> bool:
        """Whether all blocks were taken."""
        return self._next is None

    def take(self) -> Block | None:
        """The next block; None where there is none."""
        taken, self._next = self._next, next(self._blocks, None)
        return taken


def _cause(error: RayTaskError) -> Exception:
    """The end of the run, where the user can put right what the worker says; else Ray's error, with its traceback."""
    return EngineStopped(str(error.cause)) if isinstance(error.cause, UserError) else error


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shorten(lines[0]) if lines else type(error).__name__
