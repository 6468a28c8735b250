"""The training loop: one for every task and every method.

A run works in `OUT.training/`, which becomes the checkpoint `OUT/` when the run is done. If the run is killed at any
moment, the same command goes on from the last saved step. On the CPU in float32 the weights come out the same as
without the interruption.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from models.checkpoint import WORK_ENDING, EpochRecord, TrainingRecord
from models.data import Example
from models.evaluation import EvaluatedModel, measure
from models.folders import check_new
from models.networks.batches import plan_batches, torch_runner
from models.networks.heads import HEAD_TRAINING
from models.networks.masking import MaskedExamples, Masking
from models.training.interruption import Interrupted, stop_requested
from models.training.labels import with_labels
from models.training.noise import Copying, copying
from models.training.run import Run, RunState, Watcher, prepare_run
from models.training.saving import (
    best_epoch,
    check_claim,
    claimed_folder,
    make_record,
    remove_worse_weights,
    resume_run,
    save_run,
    save_weights,
    write_checkpoint,
)
from models.training.settings import TrainingSettings
from models.training.step import StepPlan, learning_rate_factor, make_context, take_step


def train(settings: TrainingSettings, out: Path, watcher: Watcher, measured_rows: int | None = None) -> TrainingRecord:
    """Train, or go on training, and leave a checkpoint in `out`.

    If `torchrun`, or `accelerate launch` on several GPUs, starts several processes, they train one checkpoint together.
    Only the first process calls its watcher. All must see the same folders. The result is that of one process with the
    same batches, with two exceptions: random draws, and losses that are no mean over rows. These are the loss of
    entities, a mean over words, and losses that a method defines on whole batches.

    With `measured_rows`, each epoch is measured on at most that many validation records, the same ones each time.

    Raises:
        DataError, EncoderError: the data or the base cannot be read.
        AlreadyThere, NotWritable: `out` exists, or cannot be made.
        TrainingError: an unfinished run with other settings lies beside it.
        InUse: another run is working beside `out`.
        Interrupted: on SIGINT or SIGTERM, after the state was saved.
    """
    check_new(out)
    work = out.with_name(out.name + WORK_ENDING)
    # To find labels, all training data are read.
    check_claim(settings, work, unknown=() if settings.labels else ("labels",))
    settings = with_labels(settings)
    check_claim(settings, work)
    run = prepare_run(settings, work, watcher, measured_rows)
    with claimed_folder(settings, work) if run.replicas.is_main else nullcontext():
        state = resume_run(run)
        with stop_requested(alone=run.replicas.count == 1) as stop, copying(run) as source:
            while state.epoch <= settings.all_epochs:
                _train_epoch(run, state, stop, source)
                _finish_epoch(run, state)
        record = make_record(run, state)
        if run.replicas.is_main:
            write_checkpoint(run, record, out)
    run.replicas.wait()
    return record


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """The examples of one epoch in their batches, and its place in the run."""

    examples: Sequence[Example]
    batches: Sequence[list[int]]
    steps: int
    """Number of steps in this epoch, and in every other."""
    number_in_training: int
    """Number of the epoch in its training, from 0."""
    full_rate: float
    """Learning rate after the warm-up."""

    def plan_step(self, run: Run, state: RunState) -> StepPlan:
        """The next step: its batches, and its learning rate."""
        settings = run.settings
        all_steps = self.steps * settings.epochs
        done = self.number_in_training * self.steps + state.batch // settings.accumulate
        return StepPlan(
            batches=self.batches[state.batch : state.batch + settings.accumulate],
            step=state.step,
            learning_rate=self.full_rate * learning_rate_factor(done, all_steps, settings.warmup_share),
            share_done=done / all_steps,
        )


def _train_epoch(run: Run, state: RunState, stop: threading.Event, source: Copying) -> None:
    settings = run.settings
    epoch = _plan_epoch(run, state)
    copies = source.of_epoch(run, state, epoch.examples, epoch.batches)
    total = epoch.steps * settings.all_epochs
    run.encoder.train()
    while state.batch < len(epoch.batches):
        plan = epoch.plan_step(run, state)
        with _timed(state):
            reported = take_step(run, epoch.examples, plan, copies)
        for name, value in reported.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.batch += len(plan.batches)
        state.step += 1
        run.watcher.advance(state.step, total, reported)
        if run.replicas.any(stop.is_set()):
            save_run(run, state)
            run.replicas.wait()
            raise Interrupted(f"stopped after step {state.step} of {total}; the same command goes on from there")
        if state.step % settings.save_every == 0:
            save_run(run, state)
    state.sums = {name: summed / epoch.steps for name, summed in state.sums.items()}


def _plan_epoch(run: Run, state: RunState) -> _Epoch:
    settings = run.settings
    context = make_context(run, state.step, share_done=0.0)
    originals = run.data.train_examples
    run.encoder.eval()
    with _timed(state):
        examples = run.method.before_epoch(originals, state.epoch, context)
    lengths = [max(map(len, example.encoded.rows)) for example in examples]
    batches = plan_batches(lengths, settings.batch_size, settings.seed, state.epoch)
    if HEAD_TRAINING[run.task.head].masks:
        examples = MaskedExamples(examples, Masking.of(run.tokenizer), settings.seed, state.epoch)
    training, number_in_training = divmod(state.epoch - 1, settings.epochs)
    return _Epoch(
        examples=examples,
        batches=batches,
        steps=-(-len(batches) // settings.accumulate),
        number_in_training=number_in_training,
        full_rate=settings.learning_rates[training],
    )


@contextmanager
def _timed(state: RunState) -> Iterator[None]:
    before = time.process_time()
    yield
    state.cpu_s += time.process_time() - before


def _finish_epoch(run: Run, state: RunState) -> None:
    epoch, ends_training = state.epoch, run.ends_training(state.epoch)
    if run.soup is not None and ends_training:
        run.soup.add()
    metrics = run.replicas.from_main(_measure(run, epoch) if run.replicas.is_main else {})
    record = EpochRecord(epoch=epoch, losses=state.sums, metrics=metrics)
    state.epochs.append(record.model_dump())
    if best_epoch(run, state) == epoch and run.replicas.is_main:
        save_weights(run, epoch)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in {**record.losses, **metrics}.items())
    run.watcher.say(f"epoch {epoch} of {run.settings.all_epochs}: {shown}")
    if run.soup is not None and ends_training:
        run.soup.start_again(run.optimizer, run.settings.seed + epoch)
    state.epoch, state.batch, state.sums = epoch + 1, 0, {}
    save_run(run, state)
    if run.replicas.is_main:
        remove_worse_weights(run, state)


def _measure(run: Run, epoch: int) -> dict[str, float]:
    encoder, method = run.result(epoch)
    runner = torch_runner(method.served(encoder), run.task.head, run.tokenizer)
    evaluated = EvaluatedModel(task=run.task, outputs=run.outputs, reader=run.reader, run=runner)
    return measure(evaluated, run.data.measured)
