"""The training loop: one for every task and every method.

A run works in `OUT.training/` and becomes the checkpoint `OUT/` when it is done. Killed at any moment, the same command
goes on from the last saved step; on the CPU in float32 the weights come out the same as without the interruption.
"""

import importlib.metadata
import json
import math
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate.utils import set_seed
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from transformers import PreTrainedTokenizerFast

from models.checkpoint import (
    METHOD_FILE,
    RECORD_FILE,
    DataFile,
    EpochRecord,
    MethodRecord,
    TrainingRecord,
)
from models.data import Example, Part, draw_rows, load_train, load_unlabelled, load_validation
from models.evaluation import EvaluatedModel, measure
from models.networks.batches import collate, plan_batches, torch_runner
from models.networks.encoder import Encoder
from models.networks.heads import HEAD_TRAINING
from models.networks.masking import MaskedExamples, Masking
from models.robust import find_implementation, read_settings
from models.robust.method import Method, ParameterGroup, Start, StepContext, StepResult
from models.tasks import find_task
from models.tasks.task import AnyTask, Outputs
from models.text import Reader, ReadingLimits
from models.training.bases import Base, open_base
from models.training.replicas import Replicas, join_replicas
from models.training.resume import Parts, load_state, save_state
from models.training.settings import TrainingError, TrainingSettings

STATE_FILE = "state.safetensors"
CLAIM_FILE = "settings.json"


class Interrupted(Exception):
    """Asked to stop; everything up to the last step is saved."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What is told about a run while it goes on."""

    say: Callable[[str], None]
    advance: Callable[[int, int, Mapping[str, float]], None]
    """Steps taken, steps in all, and the latest step's losses and scalars."""


@dataclass
class _Progress:
    """Where a run stands; saved with its state."""

    epoch: int = 1
    batch: int = 0
    """Batches of this epoch already used."""
    step: int = 0
    cpu_s: float = 0.0
    """CPU time of the steps so far and of what methods do before epochs."""
    sums: dict[str, float] = field(default_factory=dict)
    """Losses summed over this epoch's batches."""
    epochs: list[dict[str, Any]] = field(default_factory=list)


class Soup:
    """Trainings from one start, mixed: a uniform model soup (Wortsman et al., ICML 2022, section 2).

    Each ingredient has its own learning rate, order of the data and random draws. Of the soups so far, one after each
    ingredient, the one that measures best is kept; the paper's greedy soup (recipe 1) leaves out single ingredients.
    """

    def __init__(self, encoder: Encoder, method: Method) -> None:
        """Remember the start, before any training."""
        self._trained = nn.ModuleList([encoder, method])
        self._start = {name: tensor.clone() for name, tensor in self._trained.state_dict().items()}
        self.mean = AveragedModel(self._trained)

    @property
    def mixed(self) -> tuple[Encoder, Method]:
        """The encoder and method with the mean weights."""
        modules: Any = self.mean.module
        return modules[0], modules[1]

    def add(self) -> None:
        """Mix in the weights as they are."""
        self.mean.update_parameters(self._trained)

    def start_anew(self, optimizer: torch.optim.Optimizer, seed: int) -> None:
        """Put everything back to the start, but for the random draws."""
        self._trained.load_state_dict(self._start)
        optimizer.state.clear()
        set_seed(seed % 2**32)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The fixed things of a run."""

    settings: TrainingSettings
    task: AnyTask
    outputs: Outputs
    work: Path
    parts: tuple[Part, ...]
    """Training parts, then the validation part."""
    measured: Sequence[Example]
    """Validation rows that each epoch is measured on."""
    unlabelled: tuple[Part, ...]
    base: Base
    reader: Reader
    replicas: Replicas
    encoder: Encoder
    method: Method
    optimizer: torch.optim.Optimizer
    soup: Soup | None
    watcher: Watcher

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return self.base.tokenizer

    @property
    def train_examples(self) -> list[Example]:
        return [example for part in self.parts[:-1] for example in part.examples]

    @property
    def origins(self) -> tuple[DataFile, ...]:
        """Of all data: for training, validation, without right answers, and what the base was made from."""
        return (*(part.origin for part in (*self.parts, *self.unlabelled)), *self.base.files)

    @property
    def bare(self) -> Parts:
        mean = None if self.soup is None else self.soup.mean
        return Parts(self.encoder, self.method, self.optimizer, mean)

    def result(self, epoch: int) -> tuple[Encoder, Method]:
        """The encoder and method that an epoch has led to: at the end of a soup's ingredient, the soup so far."""
        if self.soup is None or not self.ends_training(epoch):
            return self.bare.encoder, self.method
        return self.soup.mixed

    def ends_training(self, epoch: int) -> bool:
        """Whether the learning rate has fallen to 0 when this epoch is over."""
        return epoch % self.settings.epochs == 0


def train(settings: TrainingSettings, out: Path, watcher: Watcher, measured_rows: int | None = None) -> TrainingRecord:
    """Train, or go on training, and leave a checkpoint in `out`.

    Started several times by `torchrun`, or on several GPUs by `accelerate launch`, the processes train one checkpoint
    together, and only the first of them tells its watcher. What they reach is what one would with the same batches, but
    for random draws and for losses that are no mean over rows: of entities, whose mean is over words, and those that a
    method defines on whole batches. All must see the same folders.

    With `measured_rows`, each epoch is measured on at most so many validation rows, the same in all.

    Raises:
        TrainingError: `out` is taken, or an unfinished run with other settings lies beside it.
        Interrupted: on SIGINT or SIGTERM, after saving the state.
    """
    work = out.with_name(out.name + ".training")
    _check_free(settings, out, work)
    run = _prepare(settings, work, watcher, measured_rows)
    if run.replicas.is_main:
        _claim(settings, work)
    progress = _resume(run)
    with _stop_requested(alone=run.replicas.count == 1) as stop:
        while progress.epoch <= settings.all_epochs:
            _train_epoch(run, progress, stop)
            _finish_epoch(run, progress)
    record = _record(run, progress)
    if run.replicas.is_main:
        _write_checkpoint(run, record, out)
    run.replicas.wait()
    return record


def learning_rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Share of the full learning rate for step `step` of `steps`, from 0: a linear rise, then a linear fall to 0."""
    warmup = int(steps * warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(steps - warmup, 1)


def _check_free(settings: TrainingSettings, out: Path, work: Path) -> None:
    if out.exists():
        raise TrainingError(f"{out}: exists already; choose another name or remove it")
    wanted = settings.model_dump(mode="json")
    claim = work / CLAIM_FILE
    if claim.is_file():
        found = json.loads(claim.read_text())
        differing = sorted(key for key in wanted if wanted[key] != found.get(key))
        if differing:
            raise TrainingError(
                f"{work}: holds an unfinished run with another {', '.join(differing)}; "
                "finish that one, remove the folder, or choose another name"
            )


def _claim(settings: TrainingSettings, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    aside = work / "settings.writing"
    aside.write_text(settings.model_dump_json(indent=1))
    aside.replace(work / CLAIM_FILE)


def _prepare(settings: TrainingSettings, work: Path, watcher: Watcher, measured_rows: int | None) -> _Run:
    replicas = join_replicas()
    if not replicas.is_main:
        watcher = Watcher(say=_say_nothing, advance=_say_nothing)
    task = find_task(settings.task)
    method_settings = read_settings(settings.method, settings.method_settings)
    outputs = settings.outputs
    base = open_base(settings, task)
    reader = Reader(base.tokenizer.backend_tokenizer, ReadingLimits(max_tokens=settings.max_tokens))
    watcher.say(f"reading {settings.source.data}: {', '.join(settings.source.train)}; {settings.source.validation}")
    unlabelled = load_unlabelled(settings.source, task, outputs, reader)
    parts = (
        *load_train(settings.source, task, outputs, reader, settings.rows),
        load_validation(settings.source, task, outputs, reader),
    )
    set_seed(settings.seed)
    encoder = base.make_encoder()
    if settings.max_tokens > encoder.max_tokens:
        raise TrainingError(
            f"max_tokens {settings.max_tokens}: {settings.base} reads at most {encoder.max_tokens} tokens"
        )
    start = Start(
        encoder=encoder,
        head=task.head,
        tokenizer=base.tokenizer,
        seed=settings.seed,
        examples=sum(len(part.examples) for part in parts[:-1]),
        max_tokens=settings.max_tokens,
        unlabelled=[example for part in unlabelled for example in part.examples],
        epochs=settings.epochs,
        score_range=outputs.score_range,
    )
    method = find_implementation(settings.method).build(method_settings, start).to(replicas.device)
    encoder.to(replicas.device)
    return _Run(
        settings=settings,
        task=task,
        outputs=outputs,
        work=work,
        parts=parts,
        measured=draw_rows(parts[-1].examples, measured_rows, [example.group for example in parts[-1].examples]),
        unlabelled=unlabelled,
        base=base,
        reader=reader,
        replicas=replicas,
        encoder=encoder,
        method=method,
        optimizer=_optimizer(settings, encoder, method),
        soup=Soup(encoder, method) if len(settings.learning_rates) > 1 else None,
        watcher=watcher,
    )


def _say_nothing(*_: object) -> None:
    """What a process does that is not the first of several."""


def _optimizer(settings: TrainingSettings, encoder: nn.Module, method: Method) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = []
    whole = ParameterGroup(name="encoder", parameters=tuple(encoder.parameters()))
    for group in (whole, *method.parameter_groups()):
        shared = {"clip_group": group.name, "scale": group.learning_rate_scale}
        # Biases, LayerNorm and scalars are not decayed.
        decayed = [parameter for parameter in group.parameters if parameter.ndim > 1]
        plain = [parameter for parameter in group.parameters if parameter.ndim <= 1]
        decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
        groups.append({"params": decayed, "weight_decay": decay, **shared})
        groups.append({"params": plain, "weight_decay": 0.0, **shared})
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)


def _resume(run: _Run) -> _Progress:
    path = run.work / STATE_FILE
    if not path.is_file():
        return _Progress()
    saved = load_state(path, run.bare)
    progress = _Progress(**saved["progress"])
    if saved["circumstances"] != _circumstances(run):
        raise TrainingError(
            f"{run.work}: begun with other data, in another precision or on another number of processes than now; "
            "put those back, or remove the folder"
        )
    run.watcher.say(f"going on from step {progress.step} (epoch {progress.epoch}) of {run.work}")
    return progress


def _save(run: _Run, progress: _Progress) -> None:
    if not run.replicas.is_main:
        return
    saved = {"progress": vars(progress), "circumstances": _circumstances(run)}
    save_state(run.work / STATE_FILE, run.bare, saved)


def _circumstances(run: _Run) -> dict[str, Any]:
    """What the settings do not fix and yet decides the weights."""
    return {
        "data": [origin.model_dump() for origin in run.origins],
        "bf16": run.settings.uses_bf16,
        "processes": run.replicas.count,
    }


def _train_epoch(run: _Run, progress: _Progress, stop: threading.Event) -> None:
    settings = run.settings
    originals = run.train_examples
    context = _context(run, progress.step, 0.0)
    run.encoder.eval()
    with _timed(progress):
        examples = run.method.before_epoch(originals, progress.epoch, context)
    lengths = [max(map(len, example.encoded.rows)) for example in examples]
    batches = plan_batches(lengths, settings.batch_size, settings.seed, progress.epoch)
    if HEAD_TRAINING[run.task.head].masks:
        examples = MaskedExamples(examples, Masking.of(run.tokenizer), settings.seed, progress.epoch)
    steps_an_epoch = -(-len(batches) // settings.accumulate)
    steps, total = steps_an_epoch * settings.epochs, steps_an_epoch * settings.all_epochs
    run.encoder.train()
    while progress.batch < len(batches):
        chosen = batches[progress.batch : progress.batch + settings.accumulate]
        done = (progress.epoch - 1) % settings.epochs * steps_an_epoch + progress.batch // settings.accumulate
        rate = settings.learning_rates[(progress.epoch - 1) // settings.epochs]
        rate *= learning_rate_factor(done, steps, settings.warmup_share)
        with _timed(progress):
            seen = _step(run, examples, chosen, progress.step, rate, done / steps)
        for name, value in seen.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value
        progress.batch += len(chosen)
        progress.step += 1
        run.watcher.advance(progress.step, total, seen)
        if run.replicas.any(stop.is_set()):
            _save(run, progress)
            run.replicas.wait()
            raise Interrupted(f"stopped after step {progress.step} of {total}; the same command goes on from there")
        if progress.step % settings.save_every == 0:
            _save(run, progress)
    progress.sums = {name: total / steps_an_epoch for name, total in progress.sums.items()}


@contextmanager
def _timed(progress: _Progress) -> Iterator[None]:
    before = time.process_time()
    yield
    progress.cpu_s += time.process_time() - before


def _context(run: _Run, step: int, share: float) -> StepContext:
    task_loss = HEAD_TRAINING[run.task.head].loss
    return StepContext(
        encoder=run.encoder,
        task_loss=task_loss,
        seed=run.settings.seed,
        step=step,
        progress=share,
        say=run.watcher.say,
        process=run.replicas.number,
    )


def _step(
    run: _Run, examples: Sequence[Example], chosen: list[list[int]], step: int, rate: float, share_done: float
) -> dict[str, float]:
    pad_id, device = int(run.tokenizer.pad_token_id), run.replicas.device
    own_state = _own_state(run.method)
    seen: dict[str, float] = {}
    rows = sum(map(len, chosen))
    for number, indices in enumerate(chosen):
        share, counted = run.replicas.share(indices)
        # As wide as the whole batch, for what a method counts over padding.
        width = max(len(row) for index in indices for row in examples[index].encoded.rows)
        batch = collate(examples, share, run.task.head, pad_id, device, width)
        context = _context(run, step * run.settings.accumulate + number, share_done)
        run.replicas.draw_apart(run.settings.seed, context.step)
        with torch.autocast(device.type, torch.bfloat16, enabled=run.settings.uses_bf16):
            result = run.method.step(batch, context)
        # Each batch weighs as its rows do, so that accumulated gradients equal those of one big batch.
        (_total(result) * (counted / rows)).backward()  # type: ignore[no-untyped-call]
        run.replicas.average(own_state, counted / len(indices))
        for name, value in _report(result).items():
            seen[name] = seen.get(name, 0.0) + value * counted / rows
    run.replicas.sum_gradients(parameter for group in run.optimizer.param_groups for parameter in group["params"])
    seen = run.replicas.add_up(seen)
    norms = _clip(run.optimizer, run.settings.clip_norm)
    if not all(map(math.isfinite, [*seen.values(), *norms])):
        run.optimizer.zero_grad()
        raise TrainingError(f"step {step}: the loss or its gradient is not finite ({seen}); lower the learning rate")
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    run.optimizer.step()
    run.optimizer.zero_grad()
    return seen


def _own_state(method: Method) -> list[Tensor]:
    """What a method changes by itself: buffers, and parameters that the loop does not train."""
    trained = {id(parameter) for group in method.parameter_groups() for parameter in group.parameters}
    return [tensor for tensor in (*method.parameters(), *method.buffers()) if id(tensor) not in trained]


def _total(result: StepResult) -> Tensor:
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def _report(result: StepResult) -> dict[str, float]:
    return {name: float(loss.value.detach()) for name, loss in result.losses.items()} | dict(result.scalars)


def _clip(optimizer: torch.optim.Optimizer, norm: float) -> list[float]:
    """Clip each clip group on its own; the norms from before."""
    together: dict[str, list[nn.Parameter]] = {}
    for group in optimizer.param_groups:
        together.setdefault(group["clip_group"], []).extend(group["params"])
    return [float(nn.utils.clip_grad_norm_(parameters, norm)) for parameters in together.values()]


def _finish_epoch(run: _Run, progress: _Progress) -> None:
    ends_training = run.ends_training(progress.epoch)
    if run.soup is not None and ends_training:
        run.soup.add()
    metrics = run.replicas.as_main_says(_measure(run, progress.epoch) if run.replicas.is_main else {})
    record = EpochRecord(epoch=progress.epoch, losses=progress.sums, metrics=metrics)
    progress.epochs.append(record.model_dump())
    if _best_epoch(run, progress) == progress.epoch and run.replicas.is_main:
        _save_weights(run, progress.epoch)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in {**record.losses, **metrics}.items())
    run.watcher.say(f"epoch {progress.epoch} of {run.settings.all_epochs}: {shown}")
    if run.soup is not None and ends_training:
        run.soup.start_anew(run.optimizer, run.settings.seed + progress.epoch)
    progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, {}
    _save(run, progress)
    if not run.replicas.is_main:
        return
    # Only now: a run killed before this line may yet need the epoch that was best until now.
    for folder in run.work.glob("epoch-*"):
        if folder.name != f"epoch-{_best_epoch(run, progress)}":
            shutil.rmtree(folder)


def _measure(run: _Run, epoch: int) -> dict[str, float]:
    encoder, method = run.result(epoch)
    runner = torch_runner(method.served(encoder), run.task.head, run.tokenizer)
    evaluated = EvaluatedModel(task=run.task, outputs=run.outputs, reader=run.reader, run=runner)
    return measure(evaluated, run.measured)


def _best_epoch(run: _Run, progress: _Progress) -> int | None:
    """Of a soup only what has all of an ingredient counts. Ties go to the later epoch, which has seen more."""
    counting = [record for record in progress.epochs if run.soup is None or run.ends_training(record["epoch"])]
    ranked = [(record["metrics"][run.task.main_metric], record["epoch"]) for record in counting]
    return max(ranked)[1] if ranked else None


def _save_weights(run: _Run, epoch: int) -> None:
    folder = run.work / f"epoch-{epoch}"
    aside = folder.with_suffix(".writing")
    shutil.rmtree(aside, ignore_errors=True)
    encoder, method = run.result(epoch)
    encoder.model.save_pretrained(aside)
    _save_tokenizer(run.tokenizer, aside)
    # Parameters alone: buffers are the run's, such as labels of its training data.
    if weights := dict(method.named_parameters()):
        save_file({name: tensor.detach().contiguous() for name, tensor in weights.items()}, aside / METHOD_FILE)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    backend = Tokenizer.from_file(str(path))
    backend.no_padding()  # published files often pad every text to a fixed length
    backend.no_truncation()
    backend.save(str(path))


def _record(run: _Run, progress: _Progress) -> TrainingRecord:
    settings = run.settings
    method_settings = read_settings(settings.method, settings.method_settings)
    kept = _best_epoch(run, progress)
    assert kept is not None, "a run that is done has the end of a training"
    elsewhere = {
        "task",
        "method",
        "base",
        "base_name",
        "source",
        "labels",
        "score_range",
        "no_answer_threshold",
        "max_tokens",
        "seed",
        "method_settings",
        "licences",
    }
    return TrainingRecord(
        task=settings.task,
        labels=run.outputs.labels,
        score_range=run.outputs.score_range,
        no_answer_threshold=run.outputs.no_answer_threshold,
        method=MethodRecord(name=settings.method, settings=method_settings.model_dump(mode="json")),
        base=settings.base_name or settings.base,
        max_tokens=settings.max_tokens,
        settings=settings.model_dump(mode="json", exclude=elsewhere)
        | {
            "bf16": settings.uses_bf16,
            "processes": run.replicas.count,
            "device": _device_name(run.replicas.device),
        },
        seed=settings.seed,
        source=settings.source,
        data=run.origins,
        epochs=tuple(EpochRecord.model_validate(record) for record in progress.epochs),
        kept_epoch=kept,
        steps=progress.step,
        cpu_s=progress.cpu_s,
        licences=settings.licences,
        versions={
            name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers", "accelerate")
        },
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def _write_checkpoint(run: _Run, record: TrainingRecord, out: Path) -> None:
    best = run.work / f"epoch-{record.kept_epoch}"
    (best / RECORD_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    best.rename(out)
    shutil.rmtree(run.work)


@contextmanager
def _stop_requested(*, alone: bool) -> Iterator[threading.Event]:
    """Set on SIGINT or SIGTERM, so that a step is never cut in two; a second signal ends the process as usual.

    Not so one of several processes: it gets Ctrl-C from the terminal, and again from what launched it.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        if alone:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
