"""CHECKPOINT/: the Hugging Face layout plus `training.json`, which says how the weights came to be.

Readable without torch, so that a package and its card can be made and checked from what a checkpoint says of itself.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import UserError, first_mistake
from models.tasks.task import Outputs

RECORD_FILE = "training.json"
METHOD_FILE = "method.safetensors"
"""Weights that the method adds; they are read again only if it changes the model that answers."""


class CheckpointError(UserError):
    """A folder that is no checkpoint, or a damaged one."""


class DataFile(BaseModel):
    """Where rows came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Literal["train", "unlabelled", "validation", "vectors"]
    name: str
    sha256: str | None = Field(description="Of the file; None for a part of a hub data set.")
    rows: int = Field(
        ge=0, description="Rows used; a row whose text or target cannot be read is not. Of vectors, the words' own."
    )
    bad_rows: int = Field(default=0, ge=0)


class DataSource(BaseModel):
    """Where rows are and which are for what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(description="Folder, or a hub's data set as ID or ID:CONFIGURATION.")
    train: tuple[str, ...] = Field(default=("train",), min_length=1, description="Parts to train on, joined.")
    unlabelled: tuple[str, ...] = Field(
        default=(), description="Parts whose texts alone are learnt from, by a method that does that."
    )
    validation: str = Field(default="validation", description="Part to measure on.")


class MethodRecord(BaseModel):
    """A training method and all its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: dict[str, Any]


class Licences(BaseModel):
    """What the weights, and what they were made from, may be used for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "not stated"
    base: str = "not stated"
    data: str = "not stated"


class EpochRecord(BaseModel):
    """What was measured after an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int = Field(ge=1)
    losses: dict[str, float] = Field(description="Means over the epoch's steps.")
    metrics: dict[str, float] = Field(description="On the validation rows.")


class TrainingRecord(BaseModel):
    """`training.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    task: str
    labels: tuple[str, ...] = Field(min_length=1)
    score_range: tuple[float, float] | None = None
    no_answer_threshold: float = 0.5
    method: MethodRecord
    base: str
    max_tokens: int = Field(ge=8)
    settings: dict[str, Any] = Field(description="Learning rate, batch size, epochs and the like.")
    seed: int
    source: DataSource
    data: tuple[DataFile, ...]
    epochs: tuple[EpochRecord, ...]
    kept_epoch: int = Field(ge=1, description="The epoch whose weights these are; of a soup, the last that is in it.")
    steps: int = Field(default=0, ge=0, description="Taken in training; 0 in records that do not say.")
    cpu_s: float = Field(default=0.0, ge=0, description="CPU time of those steps and of what methods do before epochs.")
    licences: Licences = Licences()
    versions: dict[str, str]

    @property
    def kept(self) -> str:
        """Which weights these are, in words."""
        trainings = self.kept_epoch // self.settings.get("epochs", self.kept_epoch)
        if not isinstance(self.settings.get("learning_rate"), (list, tuple)) or trainings == 1:
            return f"epoch {self.kept_epoch}"
        return f"the mean of {trainings} trainings"

    @property
    def outputs(self) -> Outputs:
        """What the numbers that the head gives stand for."""
        return Outputs(self.labels, self.score_range, self.no_answer_threshold)

    @property
    def metrics(self) -> dict[str, float]:
        """Validation metrics of the weights that were kept."""
        return next(record.metrics for record in self.epochs if record.epoch == self.kept_epoch)


def read_record(folder: Path) -> TrainingRecord:
    """What the checkpoint in `folder` says of itself; raises CheckpointError."""
    path = folder / RECORD_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: not a checkpoint, it has no {RECORD_FILE}; `steadfast train` makes one")
    try:
        return TrainingRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_mistake(error)}") from error
