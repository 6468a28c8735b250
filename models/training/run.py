"""A training run: its fixed parts, made from its settings, and the state it has reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedTokenizerFast

from models.checkpoint import DataFile, HeadRecord
from models.correction.reading import Correction
from models.data import Example, Part, draw_rows, load_train, load_unlabelled, load_validation
from models.networks.encoder import Encoder
from models.progress import Say
from models.robust import find_implementation, read_settings
from models.robust.method import BuildContext, Method, ParameterGroup
from models.synonyms.known_words import make_correction
from models.tables import format_count
from models.tasks import find_task
from models.tasks.labels.matching import has_named_labels
from models.tasks.task import AnyTask, Outputs
from models.text import Reader, ReadingLimits
from models.training.base_head import has_head
from models.training.bases import Base, open_base
from models.training.contrast import make_contrast
from models.training.replicas import Replicas, join_replicas
from models.training.resume import Stateful
from models.training.settings import TrainingError, TrainingSettings
from models.training.soup import Soup


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """The callbacks of whoever watches a run."""

    say: Say
    advance: Callable[[int, int, Mapping[str, float]], None]
    """Called after each step with the number of steps taken, the number of steps in all, and the step's losses and
    scalars."""


@dataclass
class RunState:
    """The state that a run has reached; it is saved with the weights."""

    epoch: int = 1
    batch: int = 0
    """Number of this epoch's batches that have been used."""
    step: int = 0
    cpu_s: float = 0.0
    """CPU time of all steps so far, and of the methods' work before epochs."""
    sums: dict[str, float] = field(default_factory=dict)
    """Losses summed over this epoch's steps."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """Records of the epochs that are finished."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The examples that a run learns from and is measured on."""

    train: tuple[Part, ...]
    unlabelled: tuple[Part, ...]
    validation: Part
    measured: Sequence[Example]
    """The validation examples that each epoch is measured on."""
    made: tuple[Example, ...] = ()
    """Examples made of the training parts'."""

    @property
    def train_examples(self) -> list[Example]:
        """The examples of all training parts, in their order, and then those made of them."""
        return [*(example for part in self.train for example in part.examples), *self.made]

    @property
    def origins(self) -> tuple[DataFile, ...]:
        """The files of the training, validation and unlabelled parts."""
        return tuple(part.origin for part in (*self.train, self.validation, *self.unlabelled))


@dataclass(frozen=True, kw_only=True)
class Run:
    """The parts of a run that stay the same from its first step to its last."""

    settings: TrainingSettings
    task: AnyTask
    outputs: Outputs
    work: Path
    """The folder in which an unfinished run keeps its files."""
    data: RunData
    base: Base
    reader: Reader
    correction: Correction | None
    """The correction by which the reader reads."""
    replicas: Replicas
    encoder: Encoder
    head: HeadRecord | None
    """The start of the head, where the base had one with labels."""
    method: Method
    optimizer: torch.optim.Optimizer
    soup: Soup | None
    """The mean of several trainings, or of one and its start; None if the run is a single one."""
    watcher: Watcher

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The base's tokenizer."""
        return self.base.tokenizer

    @property
    def origins(self) -> tuple[DataFile, ...]:
        """The files of all data: for training, for validation, without right answers, and those of the base."""
        return (*self.data.origins, *self.base.files)

    @property
    def stateful(self) -> Stateful:
        """The objects whose state is saved and restored."""
        mean = None if self.soup is None else self.soup.mean
        return Stateful(self.encoder, self.method, self.optimizer, mean)

    def result(self, epoch: int) -> tuple[Encoder, Method]:
        """The encoder and method after `epoch`: the soup's at the end of an ingredient, else those being trained."""
        if self.soup is None or not self.ends_training(epoch):
            return self.encoder, self.method
        return self.soup.mixed

    def ends_training(self, epoch: int) -> bool:
        """True if the learning rate has fallen to 0 at the end of `epoch`."""
        return epoch % self.settings.epochs == 0


def prepare_run(settings: TrainingSettings, work: Path, watcher: Watcher, measured_rows: int | None) -> Run:
    """Read the data, then make the encoder, the method and the optimizer.

    Raises:
        DataError, EncoderError: the data or the base cannot be read.
        WordNetError: texts are to be corrected, and WordNet is not installed here.
        TrainingError: the base reads no rows of `max_tokens`.
    """
    replicas = join_replicas()
    if not replicas.is_main:
        watcher = Watcher(say=_stay_silent, advance=_stay_silent)
    task = find_task(settings.task)
    base = open_base(settings, task)
    correction = _make_correction(settings, task, base)
    reader = Reader(base.tokenizer.backend_tokenizer, ReadingLimits(max_tokens=settings.max_tokens), correction)
    watcher.say(f"reading {settings.source.data}: {', '.join(settings.source.train)}; {settings.source.validation}")
    data = _read_data(settings, task, reader, measured_rows)
    _say_unused(data.origins, settings.source.data, watcher)
    if data.made:
        watcher.say(f"training on {len(data.made)} made records beside the {len(data.train_examples) - len(data.made)}")
    set_seed(settings.seed)
    encoder, head = _make_encoder(settings, base)
    _check_share(settings, encoder, head)
    if head is not None:
        watcher.say(f"the head of {settings.base}: {head.told}")
    method = _build_method(settings, task, base, encoder, data).to(replicas.device)
    encoder.to(replicas.device)
    return Run(
        settings=settings,
        task=task,
        outputs=settings.outputs,
        work=work,
        data=data,
        base=base,
        reader=reader,
        correction=correction,
        replicas=replicas,
        encoder=encoder,
        head=head,
        method=method,
        optimizer=_make_optimizer(settings, encoder, method),
        soup=Soup(encoder, method, settings.base_share) if settings.mixes_weights else None,
        watcher=watcher,
    )


def _stay_silent(*_: object) -> None:
    """Take the place of a watcher's callbacks in all processes but the first."""


def _make_correction(settings: TrainingSettings, task: AnyTask, base: Base) -> Correction | None:
    if not settings.correct:
        return None
    return make_correction(settings.source, task, base.tokenizer.backend_tokenizer, settings.rows)


def _read_data(settings: TrainingSettings, task: AnyTask, reader: Reader, measured_rows: int | None) -> RunData:
    source, outputs = settings.source, settings.outputs
    unlabelled = load_unlabelled(source, task, outputs, reader)
    train = load_train(source, task, outputs, reader, settings.rows)
    validation = load_validation(source, task, outputs, reader)
    groups = [example.group for example in validation.examples]
    examples = [example for part in train for example in part.examples]
    return RunData(
        train=train,
        unlabelled=unlabelled,
        validation=validation,
        measured=draw_rows(validation.examples, measured_rows, groups),
        made=make_contrast(examples, task, outputs, reader, settings.noise, settings.seed),
    )


def _say_unused(files: Sequence[DataFile], data: str, watcher: Watcher) -> None:
    """Say how many records of each part are not used, and why."""
    more = "; `steadfast data check` shows them" if Path(data).is_dir() else ""
    for file in files:
        records = format_count(file.rows + file.bad_rows + file.left_out_rows, "record")
        if file.bad_rows:
            watcher.say(f"{file.name}: {file.bad_rows:,} of {records} cannot be used{more}")
        if file.left_out_rows:
            watcher.say(f"{file.name}: {file.left_out_rows:,} of {records} left out, by annotators or the label map")


def _make_encoder(settings: TrainingSettings, base: Base) -> tuple[Encoder, HeadRecord | None]:
    encoder, head = base.make_encoder()
    if settings.max_tokens > encoder.max_tokens:
        raise TrainingError(
            f"max_tokens {settings.max_tokens}: {settings.base} reads at most {encoder.max_tokens} tokens"
        )
    return encoder, head


def _check_share(settings: TrainingSettings, encoder: Encoder, head: HeadRecord | None) -> None:
    task = find_task(settings.task)
    is_known = not head.drawn if head else not has_named_labels(task) and has_head(settings.base, encoder, task.head)
    if settings.base_share and not is_known:
        drawn = f" of {', '.join(head.drawn)}" if head else ""
        raise TrainingError(
            f"settings: base_share: the head of {settings.base} does not answer {task.name}{drawn}; leave it out, or "
            "give a base that is trained for that"
        )


def _build_method(settings: TrainingSettings, task: AnyTask, base: Base, encoder: Encoder, data: RunData) -> Method:
    context = BuildContext(
        encoder=encoder,
        head=task.head,
        tokenizer=base.tokenizer,
        seed=settings.seed,
        example_count=len(data.train_examples),
        max_tokens=settings.max_tokens,
        unlabelled=[example for part in data.unlabelled for example in part.examples],
        epochs=settings.epochs,
        score_range=settings.outputs.score_range,
    )
    return find_implementation(settings.method).build(read_settings(settings.method, settings.method_settings), context)


def _make_optimizer(settings: TrainingSettings, encoder: nn.Module, method: Method) -> torch.optim.Optimizer:
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
