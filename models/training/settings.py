"""Settings of a training run, from a TOML file or the command line, checked before anything starts.

Importing this module loads no torch, so that the command line can refuse wrong settings at once.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from models.checkpoint import DataSource, Licences
from models.cpu import cpu_flags
from models.edits import FAMILIES, find_family
from models.edits.names import NAMES
from models.edits.noise import LEAST_SHARE
from models.errors import UserError, describe_mistake
from models.files.layout import check_layout
from models.folders import check_folder
from models.methods import METHODS, find_method, name_variant
from models.tasks import TASKS, find_task
from models.tasks.task import ONE_VECTOR, AnyTask, Outputs, takes_list


class TrainingError(UserError):
    """A run that cannot start or go on."""


BILSTM = "bilstm"
"""Name of the base that is no model yet: a BiLSTM is made for the training data."""


class BilstmSettings(BaseModel):
    """The sizes, words and vectors of a new BiLSTM."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_documents: int = Field(
        default=1,
        gt=0,
        description="Number of training records that a word must be in; a word in fewer is an unknown word.",
    )
    vectors: str | None = Field(
        default=None,
        description="Text file of word vectors to start from, in fastText's or GloVe's form; other words are random.",
    )
    word_width: int = Field(default=300, gt=0, description="Size of a word's vector.")
    state_width: int = Field(default=128, gt=0, description="Size of a state, for each direction.")


class TextNoise(BaseModel):
    """Noise that is learnt from beside any method: copies of texts with changed words, and moved word vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    families: tuple[str, ...] = Field(
        default=(), description="Kinds of noise in the copies, by families of edits; with none there are no copies."
    )
    share: float = Field(
        default=0.25, ge=LEAST_SHARE, le=1, description="Largest share of a copy's words that are changed."
    )
    copies: int = Field(
        default=1, gt=0, description="Copies of each text, of which the one with the highest loss is learnt from."
    )
    worst_epochs: int | None = Field(
        default=None,
        gt=0,
        description="Last epochs of a training that have so many copies; those before have one. Not given: all.",
    )
    consistency: float = Field(
        default=1.0, ge=0, description="Weight of the disagreement between a text and its noisy versions."
    )
    word_noise: float = Field(
        default=0.0, ge=0, description="Length by which each word vector is moved along its gradient; 0 moves none."
    )
    contrast_pairs: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the texts of which pairs are made: one that says something else, one that says the same.",
    )

    @field_validator("families")
    @classmethod
    def _refuse_unknown(cls, families: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in families if name not in FAMILIES]
        if unknown:
            raise ValueError(f"no noise {', '.join(map(repr, unknown))}; choose from: {', '.join(FAMILIES)}")
        return families

    @model_validator(mode="after")
    def _refuse_idle(self) -> "TextNoise":
        idle = [name for name in ("share", "copies", "worst_epochs") if self._is_given(name)]
        if idle and not self.families:
            raise ValueError(f"{', '.join(idle)}: there are no noisy copies; name families of noise, or leave it out")
        if self._is_given("consistency") and not self.has_strength:
            raise ValueError("consistency: there is no noise to agree under; name families, or give word_noise")
        if self.contrast_pairs and not {*self.families} - {NAMES.name}:
            raise ValueError(
                f"contrast_pairs: their copies that say the same need noise; name families of it beside {NAMES.name}"
            )
        if self.worst_epochs is not None and self.copies == 1:
            raise ValueError("worst_epochs: of a single copy none is the worst; give copies")
        return self

    @property
    def has_strength(self) -> bool:
        """False if there are neither noisy copies nor word noise: then training is as it is without noise."""
        return bool(self.families or self.word_noise)

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)


class TrainingSettings(BaseModel):
    """Everything that a run depends on, from a TOML file or the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: str
    method: str = "plain"
    base: str = Field(
        description="Folder or hub id of the encoder to start from, or bilstm for a new BiLSTM; a checkpoint of "
        "another task may be a base too."
    )
    base_name: str | None = Field(default=None, description="Name of the base in training.json; `base` if not given.")
    source: DataSource
    labels: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names of the labels, in the order of their numbers; the task's own if not given, or those of the "
        "training data.",
    )
    score_range: tuple[float, float] | None = Field(
        default=None,
        description="Lowest and highest score of a task whose answer is a number; the task's own if not given.",
    )
    no_answer_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="No answer is given if its probability is at least this, in tasks that allow it.",
    )
    label_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A text has a label if its probability is at least this, in tasks that give several.",
    )
    outside_threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="A word is part of an entity if the probability that it is outside is below this, even where that "
        "is likeliest, in tasks that find entities.",
    )
    rows: int | None = Field(
        default=None,
        gt=0,
        description="Train on this many records, drawn from all training parts; the same ones for every seed.",
    )
    epochs: int = Field(default=3, gt=0)
    batch_size: int = Field(default=32, gt=0)
    accumulate: int = Field(default=1, gt=0, description="Batches whose gradients are averaged for one step.")
    learning_rate: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        default=5e-5,
        description="Learning rate after the warm-up; it falls to 0 linearly. If there are several, each has a "
        "training of its own from the base, and the trainings' weights are averaged.",
    )
    base_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the base's weights in those that come out, for a base that is trained for the task "
        "already; 0 takes none. They are mixed, measured and kept at the end of a training alone.",
    )
    warmup_share: float = Field(default=0.06, ge=0, lt=1, description="Share of the steps that warm up.")
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay; biases and LayerNorm have none.")
    clip_norm: float = Field(default=1.0, gt=0, description="Largest gradient norm of each parameter group.")
    max_tokens: int = Field(default=128, ge=8, description="Longest row, special tokens included.")
    correct: bool = Field(
        default=False,
        description="Correct texts before they are read: look-alikes of letters, and unknown words one "
        "typing error away from known ones. Packages made of the checkpoint do the same.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto means bf16 on hardware that has it, else fp32."
    )
    seed: int = Field(default=42, ge=0, lt=2**32)
    save_every: int = Field(default=500, gt=0, description="Number of steps between saved states.")
    method_settings: dict[str, Any] = {}
    noise: TextNoise | None = Field(default=None, description="Noise beside the method; none if not given.")
    bilstm: BilstmSettings | None = Field(
        default=None, description="Settings of a new BiLSTM; the defaults if not given."
    )
    licences: Licences = Licences()

    @field_validator("labels")
    @classmethod
    def _check_names(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and not all(label.strip() for label in labels):
            raise ValueError("a label has no name; look for a comma too many")
        if labels is not None and len(set(labels)) < len(labels):
            raise ValueError("a label stands there twice")
        return labels

    @field_validator("learning_rate")
    @classmethod
    def _refuse_no_rate(cls, learning_rate: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if learning_rate == ():
            raise ValueError("one or more are needed")
        return learning_rate

    @field_validator("noise")
    @classmethod
    def _leave_out_idle(cls, noise: TextNoise | None) -> TextNoise | None:
        # Else a model that was trained plainly would be called one that was trained with noise.
        return noise if noise is not None and noise.has_strength else None

    @field_validator("score_range")
    @classmethod
    def _refuse_empty_range(cls, score_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if score_range is not None and not score_range[0] < score_range[1]:
            raise ValueError("the first number must be the lower")
        return score_range

    @property
    def outputs(self) -> Outputs:
        """The meaning of the head's numbers: as set, or the task's own."""
        own = find_task(self.task).outputs
        return Outputs(
            self.labels or own.labels,
            self.score_range or own.score_range,
            no_answer_threshold=self.no_answer_threshold,
            label_threshold=self.label_threshold,
            outside_threshold=self.outside_threshold,
        )

    @property
    def variant(self) -> str:
        """The name by which a comparison tells trainings apart."""
        return name_variant(self.method, has_noise=self.noise is not None)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning rate of each training."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)

    @property
    def mixes_weights(self) -> bool:
        """Whether the weights that come out are of several trainings, or of the base too."""
        return len(self.learning_rates) > 1 or self.base_share > 0

    @property
    def all_epochs(self) -> int:
        """Epochs of all trainings together."""
        return self.epochs * len(self.learning_rates)

    @property
    def uses_bf16(self) -> bool:
        """True if this machine will compute in bf16."""
        return self.precision == "bf16" or (self.precision == "auto" and _has_native_bf16())


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, unchecked; raises TrainingError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not TOML ({error})") from error


def check_settings(given: Mapping[str, Any]) -> TrainingSettings:
    """The settings of a run, all of them checked before anything slow starts. The method's own are checked last.

    Raises:
        TrainingError: names every setting that is missing, unknown or wrong.
        UnknownTask, UnknownMethod: with the names there are.
        LayoutError: columns are named that the task does not read, or labels that it does not have.
        NoSuchFolder: the base or the data look like a folder, and there is none.
    """
    settings = check_general_settings(given)
    # Imported here, since the methods' modules load torch.
    from models.robust import read_settings

    try:
        read_settings(settings.method, settings.method_settings)
    except ValidationError as error:
        raise _wrong_settings(error) from error
    return settings


def check_general_settings(given: Mapping[str, Any]) -> TrainingSettings:
    """Check all settings but the method's own; it loads no torch, so it answers at once. Raises as `check_settings`."""
    try:
        settings = TrainingSettings.model_validate(given)
    except ValidationError as error:
        raise _wrong_settings(error) from error
    task = find_task(settings.task)
    find_method(settings.method)
    _check_answers(settings, task)
    _check_base(settings, task)
    _check_method(settings, task)
    _check_noise(settings, task)
    check_layout(settings.source.layout, task)
    check_folder(settings.source.data)
    return settings


def _check_answers(settings: TrainingSettings, task: AnyTask) -> None:
    if task.has_own_labels or settings.labels is not None:
        try:
            task.check_outputs(settings.outputs)
        except ValueError as error:
            raise TrainingError(f"settings: labels: {error}") from error
    if settings.score_range is not None and task.outputs.score_range is None:
        raise TrainingError(f"settings: score_range: {task.name} gives no score")


def _check_base(settings: TrainingSettings, task: AnyTask) -> None:
    if settings.base != BILSTM:
        if settings.bilstm is not None:
            raise TrainingError(f"settings: bilstm: is for a new BiLSTM; leave it out, or set base to {BILSTM!r}")
        check_folder(settings.base)
    elif task.head not in ONE_VECTOR:
        able = ", ".join(name for name, one in TASKS.items() if one.head in ONE_VECTOR)
        raise TrainingError(f"settings: base: {BILSTM} cannot answer {task.name}; it can: {able}")


def _check_method(settings: TrainingSettings, task: AnyTask) -> None:
    method = find_method(settings.method)
    if settings.source.unlabelled and not method.reads_unlabelled:
        reading = ", ".join(one.name for one in METHODS.values() if one.reads_unlabelled)
        raise TrainingError(
            f"settings: source.unlabelled: method {method.name} learns from labelled records alone; "
            f"leave it out, or choose one of: {reading}"
        )
    if task.head not in method.heads:
        able = ", ".join(one.name for one in METHODS.values() if task.head in one.heads)
        raise TrainingError(f"method {method.name} means nothing for {task.name}; choose one of: {able}")


def _check_noise(settings: TrainingSettings, task: AnyTask) -> None:
    noise = settings.noise
    if noise is None:
        return
    fields = task.robustness.noisy_fields
    if not fields:
        raise TrainingError(f"settings: noise: {task.name} has no right answers to hold on to; leave it out")
    allowed = allowed_families(task)
    refused = [name for name in noise.families if name not in allowed]
    if refused:
        raise TrainingError(
            f"settings: noise.families: {', '.join(refused)} would change what {task.name} must answer; "
            f"choose from: {', '.join(allowed)}"
        )
    _check_contrast(noise, settings.outputs, task)
    for name in noise.families:
        find_family(name)  # A missing WordNet is found now.


def _check_contrast(noise: TextNoise, outputs: Outputs, task: AnyTask) -> None:
    if not noise.contrast_pairs:
        return
    labels = task.robustness.contrast
    if labels is None:
        able = ", ".join(name for name, one in TASKS.items() if one.robustness.contrast)
        raise TrainingError(
            f"settings: noise.contrast_pairs: {task.name} does not compare two texts by label; leave it out, or choose "
            f"one of: {able}"
        )
    missing = [label for label in labels if label not in outputs.labels]
    if missing:
        raise TrainingError(
            f"settings: noise.contrast_pairs: made pairs are {' or '.join(labels)}, and {', '.join(missing)} is not "
            "among the labels; leave it out"
        )


def allowed_families(task: AnyTask) -> tuple[str, ...]:
    """The families of noise under which a task's right answers stay as they are.

    Where answers belong to words, words stay one word each, and only their letters change. Names are exchanged alike
    in all noisy texts of a record, so they must stay where it has others, such as the choices of an answer.
    """
    kind = task.example or task.item
    fields = task.robustness.noisy_fields
    if any(takes_list(kind, field) for field in fields):
        return ("typos",)
    return tuple(name for name in FAMILIES if name != NAMES.name or {*task.columns} == {*fields})


def _wrong_settings(error: ValidationError) -> TrainingError:
    said: dict[str, list[str]] = {}
    for mistake in error.errors():
        subject, message = _say_wrong(mistake)
        said.setdefault(subject, []).append(message)
    # A value that may be of two kinds has a mistake for each.
    told = (subject + ", or ".join(dict.fromkeys(messages)) for subject, messages in said.items())
    return TrainingError(f"settings: {'; '.join(told)}")


def _say_wrong(mistake: ErrorDetails) -> tuple[str, str]:
    """The beginning and the rest of a sentence about one setting; a rule over several settings names none of them."""
    # Between the names, pydantic puts the kinds that a value may be of. The last part is a name where it is not known.
    *outer, last = mistake["loc"] or ("",)
    is_named = isinstance(last, int) or last.isidentifier() or mistake["type"] == "extra_forbidden"
    place = [part for part in outer if isinstance(part, int) or part.isidentifier()] + [last] * is_named
    name = ".".join(map(str, place))
    if mistake["type"] == "missing":
        return f"{name} ", f"is not set; pass --{place[-1]}, or set it in the file of --config"
    return f"{name}: " if place else "", describe_mistake(mistake)


def _has_native_bf16() -> bool:
    # Imported here, so that settings can be checked without torch.
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return "avx512_bf16" in cpu_flags()
