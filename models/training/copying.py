"""Noisy copies of training examples as padded rows, made in processes beside the training.

A copy is a pure function of the seed, the epoch, the example's number and the copy's number. No torch is loaded here,
so the processes start fast and stay small.
"""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from models.correction.reading import Correction
from models.edits.noise import Noise
from models.errors import UserError
from models.tasks import find_task
from models.tasks.task import AnyTask, Item
from models.tasks.token_positions import answer_places
from models.text import BadInput, Encoded, Reader, ReadingLimits, pad

OTHER_TEXTS_SHARE = 0.5
"""Share of copies in which the texts before the last are noisy too; the last text of an item always is."""


@dataclass(frozen=True, kw_only=True)
class CopySettings:
    """Everything that copies depend on but the items; it can be sent to another process."""

    task: str
    tokenizer: str
    """The content of `tokenizer.json`."""
    max_tokens: int
    pad_id: int
    noise: Noise
    seed: int
    correction: Correction | None = None
    """The correction by which copies are read too."""


@dataclass(frozen=True, kw_only=True)
class CopyJob:
    """The examples of one batch, to be copied `copies` times."""

    items: Sequence[Item]
    indices: Sequence[int]
    """Number of each example among all."""
    epoch: int
    copies: int


@dataclass(frozen=True, kw_only=True)
class CopiedRows:
    """The copies of one batch as rows, all padded to one width."""

    inputs: Mapping[str, npt.NDArray[np.int64]]
    """The model's inputs by name, each (copies, rows, width)."""
    places: Sequence[Sequence[Sequence[int]]]
    """By copy and example, the places of answers, as `answer_places` gives them."""
    cpu_s: float
    """CPU time that it took to make them."""


class CopyMaker:
    """Makes the copies of batches."""

    def __init__(self, settings: CopySettings) -> None:
        self._settings = settings
        self._task = find_task(settings.task)
        limits = ReadingLimits(max_tokens=settings.max_tokens)
        self._reader = Reader(Tokenizer.from_str(settings.tokenizer), limits, settings.correction)

    def make(self, job: CopyJob) -> CopiedRows:
        """The rows of all copies of a batch."""
        before = time.process_time()
        copies = [self._copy_all(job, number) for number in range(job.copies)]
        rows = [row for copy in copies for encoded in copy for row in encoded.rows]
        padded = pad(rows, self._settings.pad_id)
        del padded["read_at"]
        return CopiedRows(
            inputs={name: array.reshape(job.copies, -1, array.shape[1]) for name, array in padded.items()},
            places=[[answer_places(self._task.head, encoded) for encoded in copy] for copy in copies],
            cpu_s=time.process_time() - before,
        )

    def _copy_all(self, job: CopyJob, number: int) -> list[Encoded]:
        draws = (random.Random(f"{self._settings.seed}/{job.epoch}/{index}/{number}") for index in job.indices)
        return [self._read_copy(item, draw) for item, draw in zip(job.items, draws, strict=True)]

    def _read_copy(self, item: Item, draw: random.Random) -> Encoded:
        """The item with noise as training reads it; the item itself where noise makes it too long to be read."""
        try:
            return self._task.encode(copy_item(item, self._task, self._settings.noise, draw), self._reader, "right")
        except BadInput:
            return self._task.encode(item, self._reader, "right")


def copy_item(item: Item, task: AnyTask, noise: Noise, draw: random.Random) -> Item:
    """A noisy copy of an item of training data: its last noisy field, and each of the others in half of the copies.

    Where names are exchanged, they are in all of the noisy fields. Of an item of words with labels, all fields are.
    """
    fields = task.robustness.noisy_fields
    values = [getattr(item, field) for field in fields]
    if any(not isinstance(value, str) for value in values):
        changed: Sequence[str | tuple[str, ...]] = [noise.copy_words(words, draw) for words in values]
    else:
        *others, last = range(len(fields))
        changed = noise.copy_texts(values, [*(one for one in others if draw.random() < OTHER_TEXTS_SHARE), last], draw)
    return item.model_copy(update=dict(zip(fields, changed, strict=True)))


class CopyingError(UserError):
    """A process that makes copies has ended before its time."""


class CopyProcesses:
    """Processes that make copies while the training computes; results come in the order of the jobs."""

    def __init__(self, settings: CopySettings, count: int) -> None:
        self._ahead = 2 * count
        # Forked processes would inherit torch's threads in any state.
        self._pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _prepare, (settings,))

    def make_all(self, jobs: Iterable[CopyJob]) -> Iterator[CopiedRows]:
        """The copies of each job; some jobs ahead are worked on before they are asked for.

        Raises:
            CopyingError: the system has ended a process.
        """
        waiting: deque[Future[CopiedRows]] = deque()
        try:
            for job in jobs:
                with _interrupts_held():
                    waiting.append(self._pool.submit(_make, job))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise CopyingError(
                "a process that makes noisy copies was ended from outside, as the system does where memory runs out; "
                "the same command goes on from the last step that was saved"
            ) from error

    def close(self) -> None:
        """End the processes; jobs that nobody waits for are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the training stops at the end of a step, and then ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_settings_here: list[CopySettings] = []
"""The settings of the copies that this process makes."""


def _prepare(settings: CopySettings) -> None:
    """Get a process ready; it ends when the training does, however that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _settings_here.append(settings)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes that a training started come here"
    parent.join()
    os._exit(1)


def _make(job: CopyJob) -> CopiedRows:
    return _maker().make(job)


@cache
def _maker() -> CopyMaker:
    """The maker of this process. What goes wrong here is raised as it is; in `_prepare` it would end the process."""
    return CopyMaker(_settings_here[0])
