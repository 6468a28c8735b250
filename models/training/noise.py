"""Noise in a run: the copies that a step needs, made ahead in other processes, and the versions of each batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from models.data import Example
from models.edits.noise import Noise
from models.machine import available_cores
from models.networks.alignment import move_targets, pad_places
from models.networks.encoder import Batch
from models.robust.noisy_step import NoiseStrength, Version
from models.tasks.task import Head, Item
from models.tasks.token_positions import answer_places
from models.training.copying import CopiedRows, CopyJob, CopyProcesses, CopySettings
from models.training.run import Run, RunState
from models.training.settings import TextNoise

MOST_PROCESSES = 8
"""Processes that make copies; each makes some thousands a second."""


@dataclass(frozen=True, kw_only=True)
class Copying:
    """Where a run gets its copies from; nothing where it has none."""

    processes: CopyProcesses | None

    def of_epoch(
        self, run: Run, state: RunState, examples: Sequence[Example], batches: Sequence[Sequence[int]]
    ) -> Iterator[CopiedRows | None]:
        """The copies of this process's part of each batch, from the run's place in the epoch on; else None for each."""
        left = batches[state.batch :]
        if self.processes is None:
            yield from (None for _ in left)
            return
        count = copies_in(run.settings.noise, state.epoch, run.settings.epochs)
        jobs = (
            CopyJob(items=[_item(examples[index]) for index in share], indices=share, epoch=state.epoch, copies=count)
            for share, _ in map(run.replicas.take_share, left)
        )
        for rows in self.processes.make_all(jobs):
            state.cpu_s += rows.cpu_s
            yield rows


def _item(example: Example) -> Item:
    assert example.item is not None, "training examples are read from items"
    return example.item


def copies_in(noise: TextNoise | None, epoch: int, epochs: int) -> int:
    """Number of copies of each text in `epoch`, counted from 1 over all trainings of `epochs` each."""
    assert noise is not None, "only noise has copies"
    left = epochs - (epoch - 1) % epochs
    return noise.copies if noise.worst_epochs is None or left <= noise.worst_epochs else 1


@contextmanager
def copying(run: Run) -> Iterator[Copying]:
    """Start the processes that make copies, if the run wants any, and end them afterwards."""
    noise = run.settings.noise
    if noise is None or not noise.families:
        yield Copying(processes=None)
        return
    settings = CopySettings(
        task=run.task.name,
        tokenizer=run.tokenizer.backend_tokenizer.to_str(),
        max_tokens=run.settings.max_tokens,
        pad_id=int(run.tokenizer.pad_token_id),
        noise=Noise(families=noise.families, share=noise.share),
        seed=run.settings.seed,
        correction=run.correction,
    )
    cores = available_cores() // run.replicas.count
    processes = CopyProcesses(settings, min(max(cores - 1, 1), MOST_PROCESSES))
    try:
        yield Copying(processes=processes)
    finally:
        processes.close()


def strength_of(noise: TextNoise | None) -> NoiseStrength:
    """The strength that the settings ask for."""
    return NoiseStrength(
        word_noise=0.0 if noise is None else noise.word_noise, consistency=0.0 if noise is None else noise.consistency
    )


def read_versions(
    batch: Batch, examples: Sequence[Example], head: Head, copied: CopiedRows | None
) -> tuple[Version, tuple[Version, ...]]:
    """The batch of these examples and its copies, with the places of their answers."""
    device = batch.ids.device
    own = [answer_places(head, example.encoded) for example in examples]
    of_copies = () if copied is None else copied.places
    count = max((len(places) for some in (own, *of_copies) for places in some), default=0)
    text = Version(batch=batch, places=pad_places(own, count, device))
    if copied is None:
        return text, ()
    inputs = {name: torch.from_numpy(array).to(device) for name, array in copied.inputs.items()}
    copies = []
    for number, places in enumerate(of_copies):
        moved = pad_places(places, count, device)
        ids = inputs["input_ids"][number]
        one = replace(
            batch,
            ids=ids,
            type_ids=inputs["token_type_ids"][number],
            mask=inputs["attention_mask"][number].bool(),
            targets=move_targets(batch.targets, head, text.places, moved, ids.shape[1]),
        )
        copies.append(Version(batch=one, places=moved))
    return text, tuple(copies)
