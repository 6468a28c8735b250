"""CHECKPOINT/: the Hugging Face layout plus `training.json`, which records how the weights were trained.

The record is read without torch, so that a package and its card can be made and checked from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from models.correction.reading import CorrectionKind
from models.errors import UserError, first_mistake
from models.files.layout import USUAL_LAYOUT, Layout
from models.folders import why_no_folder
from models.tasks.task import Outputs

RECORD_FILE = "training.json"
WORK_ENDING = ".training"
"""The end of the name of a folder in which a training keeps its files until it is done."""
CLAIM_FILE = "settings.json"
"""The settings of the training that a folder with this ending belongs to."""
METHOD_FILE = "method.safetensors"
"""Weights that the training method adds; they are read again only for a method whose model answers with them."""


class CheckpointError(UserError):
    """A folder that is not a checkpoint, or a damaged checkpoint."""


class DataFile(BaseModel):
    """A data file that examples were read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Literal["train", "unlabelled", "validation", "vectors", "calibration"]
    name: str
    sha256: str | None = Field(description="Digest of the file; None for a part of a hub data set.")
    rows: int = Field(
        ge=0,
        description="Records used; one whose text or target cannot be read is not. For vectors, the words found.",
    )
    bad_rows: int = Field(default=0, ge=0)
    left_out_rows: int = Field(
        default=0, ge=0, description="Records that annotators skipped, or whose label the label map leaves out."
    )


class DataSource(Layout):
    """The data set that a model is trained on, the use of each of its parts, and the names in it."""

    data: str = Field(description="Folder, or a hub's data set as ID or ID:CONFIGURATION.")
    train: tuple[str, ...] = Field(default=("train",), min_length=1, description="Parts to train on, joined.")
    unlabelled: tuple[str, ...] = Field(
        default=(), description="Parts whose texts are learnt from without right answers, by a method that does so."
    )
    validation: str = Field(default="validation", description="Part to measure on.")

    @property
    def layout(self) -> Layout:
        """The names of columns and labels in it."""
        return Layout(columns=self.columns, label_map=self.label_map)


class MethodRecord(BaseModel):
    """A training method and all its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: dict[str, Any]


class Licences(BaseModel):
    """Licences of the weights, of the base model and of the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "not stated"
    base: str = "not stated"
    data: str = "not stated"


class HeadRecord(BaseModel):
    """The start of a head whose base had one: labels that the base's head had too began with their rows there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: dict[str, str] = Field(description="Labels that began with a row of the base's head, and its names for them.")
    drawn: tuple[str, ...] = Field(description="Labels that began with random numbers.")

    @property
    def told(self) -> str:
        """The labels that were kept and those that were drawn, as a phrase of a message."""
        kept = ", ".join(label if label == name else f"{label} ({name})" for label, name in self.kept.items())
        drawn = ", ".join(self.drawn)
        return "; ".join([*([f"kept for {kept}"] if kept else []), *([f"drawn anew for {drawn}"] if drawn else [])])


class EpochRecord(BaseModel):
    """The losses and metrics of one epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int = Field(ge=1)
    losses: dict[str, float] = Field(description="Means over the epoch's steps.")
    metrics: dict[str, float] = Field(description="Metrics on the validation part.")


class TrainingRecord(BaseModel):
    """`training.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    task: str
    labels: tuple[str, ...] = Field(min_length=1)
    score_range: tuple[FiniteFloat, FiniteFloat] | None = None
    no_answer_threshold: float = 0.5
    label_threshold: float = 0.5
    outside_threshold: float = 0.0
    blindness: float = Field(default=0.0, description="Of the package that the weights were taken from.")
    method: MethodRecord
    base: str
    head: HeadRecord | None = Field(default=None, description="None where the base had no head with labels.")
    max_tokens: int = Field(ge=8)
    correction: CorrectionKind | None = Field(
        default=None, description="How texts are corrected before they are read; for words with words.txt.gz."
    )
    settings: dict[str, Any] = Field(description="Learning rate, batch size, epochs and the like.")
    seed: int
    source: DataSource
    data: tuple[DataFile, ...]
    epochs: tuple[EpochRecord, ...]
    kept_epoch: int = Field(ge=1, description="The epoch whose weights these are; for a soup, the last epoch in it.")
    steps: int = Field(default=0, ge=0, description="Steps of training; 0 in records that do not say.")
    cpu_s: float = Field(default=0.0, ge=0, description="CPU time of the steps and of the method's work before epochs.")
    licences: Licences = Licences()
    versions: dict[str, str]

    @property
    def noise(self) -> dict[str, Any] | None:
        """The settings of the noise beside the method; None where there was none."""
        return self.settings.get("noise")

    @property
    def kept(self) -> str:
        """The origin of the weights in words: an epoch, or the mean of several trainings."""
        trainings = self.kept_epoch // self.settings.get("epochs", self.kept_epoch)
        if not isinstance(self.settings.get("learning_rate"), (list, tuple)) or trainings == 1:
            return f"epoch {self.kept_epoch}"
        return f"the mean of {trainings} trainings"

    @property
    def outputs(self) -> Outputs:
        """The meaning of the numbers that the head gives."""
        return Outputs.stated_by(self)

    @property
    def layout(self) -> Layout:
        """The names of columns and labels in its data."""
        return self.source.layout

    @property
    def metrics(self) -> dict[str, float]:
        """Validation metrics of the weights that were kept."""
        return next(record.metrics for record in self.epochs if record.epoch == self.kept_epoch)


IMPORTED = "imported"
"""Stands in place of a method's name for a training elsewhere, of which nothing is known."""


@dataclass(frozen=True, kw_only=True)
class ImportRecord:
    """The record of a checkpoint that was trained elsewhere, in place of a `training.json`."""

    task: str
    outputs: Outputs
    head: tuple[str, ...]
    """The names by which the checkpoint itself calls its labels, in the order of its head."""
    named: tuple[str, ...] | None = None
    """The names that the user gave them instead, in the same order; None where nobody gave any."""
    base: str
    """The folder or hub id that it was taken from."""
    max_tokens: int
    data: tuple[DataFile, ...] = ()
    """Files that its graph is calibrated and measured on; none where no data were given."""
    layout: Layout = USUAL_LAYOUT
    """The names of columns and labels in these files."""
    licences: Licences
    versions: dict[str, str]
    noise: None = None
    correction: None = None

    @property
    def method(self) -> MethodRecord:
        """The record of the unknown training, with the names that the checkpoint gives its labels."""
        return MethodRecord(name=IMPORTED, settings={"labels": list(self.head)})

    @property
    def kept(self) -> str:
        """The form of the weights in words."""
        return "the head's rows in the order of the labels"


def read_record(folder: Path) -> TrainingRecord:
    """Read the training record of the checkpoint in `folder`; raises CheckpointError."""
    path = folder / RECORD_FILE
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: {why_no_folder(folder)}")
    if not path.is_file():
        made = "`steadfast train` makes one, and `steadfast export` a package of it"
        raise CheckpointError(
            f"{folder}: {say_unfinished(folder) or f'not a checkpoint, it has no {RECORD_FILE}; {made}'}"
        )
    try:
        return TrainingRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_mistake(error)}") from error


def say_unfinished(folder: Path) -> str:
    """Say of the folder of an unfinished training what it is, and what to do; empty for any other folder."""
    if not folder.name.endswith(WORK_ENDING) or not (folder / CLAIM_FILE).is_file():
        return ""
    out = str(folder).removesuffix(WORK_ENDING)
    return f"an unfinished training; run its `steadfast train` again, which goes on and leaves the checkpoint {out}"
