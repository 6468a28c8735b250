"""Opens the checkpoint that an export starts from, and reads the data that it was trained on."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from export.errors import IncompleteCheckpoint
from export.package import TOKENIZER_FILE, WEIGHTS_FILE
from export.preconditions import read_exportable
from export.session import evaluated_graph
from models.checkpoint import DataSource, ImportRecord, TrainingRecord
from models.correction.reading import Correction, open_correction
from models.data import Part, load_train, load_validation
from models.evaluation import EvaluatedModel
from models.networks.loading import load_served, load_tokenizer, load_trained
from models.synonyms.known_words import make_correction
from models.tasks import find_task
from models.tasks.task import AnyTask
from models.text import Encoded, Reader, ReadingLimits, Row

CALIBRATION_ROWS = 512

CONFIG_FILES = ("config.json", "tokenizer_config.json")
"""Files by which optimum and transformers load a folder; packages have them too."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """An opened checkpoint: a training's, or one from elsewhere with its labels as the task names them."""

    folder: Path
    record: TrainingRecord | ImportRecord
    task: AnyTask
    reader: Reader
    pad_id: int
    correction: Correction | None = None
    """The correction by which the reader reads."""

    def evaluated(self, graph: Path) -> EvaluatedModel:
        """Open a graph made from this checkpoint, to measure it."""
        return evaluated_graph(
            graph, task=self.task, outputs=self.record.outputs, reader=self.reader, pad_id=self.pad_id
        )

    def load(self) -> Any:
        """The model by which the checkpoint answers; raises as `load_served` does."""
        load = load_served if isinstance(self.record, TrainingRecord) else load_trained
        return load(self.folder, self.task.head)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The texts that a graph is calibrated and measured on; they are read when they are asked for."""

    calibration: Callable[[], Sequence[Row]]
    source: str
    """The kind of the texts behind `calibration`, as a noun in the singular."""
    validation: Callable[[], Part] | None
    """Records with right answers; None where there are none."""
    texts: Callable[[], Sequence[Encoded]] = tuple
    """Items without right answers, which are measured on where there are no others."""


def open_origin(folder: Path, *, correct: bool = False, data: str | None = None) -> Origin:
    """Read the checkpoint in `folder`.

    Where it was trained without correction, `correct` adds one, with the words of its training texts.

    Raises:
        CheckpointError: the folder is not a checkpoint, or its record is damaged.
        OnlyPretrained: the checkpoint was only pre-trained.
        IncompleteCheckpoint: a file is missing.
        DataError, WordNetError: the words to correct with cannot be read.
    """
    record = read_exportable(folder)
    for file in (WEIGHTS_FILE, TOKENIZER_FILE, *CONFIG_FILES):
        if not (folder / file).is_file():
            raise IncompleteCheckpoint(f"{folder / file}: missing; train the checkpoint again, or copy it whole")
    task = find_task(record.task)
    correction = open_correction(folder, record.correction, task.corrected)
    if correct and correction is None:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        correction = make_correction(_source(record, data), task, tokenizer, record.settings.get("rows"))
    return open_stock(folder, record, correction)


def open_stock(folder: Path, record: TrainingRecord | ImportRecord, correction: Correction | None = None) -> Origin:
    """The model and the tokenizer in `folder`, of which `record` says what they are."""
    return Origin(
        folder=folder,
        record=record,
        task=find_task(record.task),
        reader=Reader.from_file(folder / TOKENIZER_FILE, ReadingLimits(max_tokens=record.max_tokens), correction),
        correction=correction,
        pad_id=int(load_tokenizer(folder).pad_token_id),
    )


def training_evidence(origin: Origin, data: str | None) -> Evidence:
    """The data of a checkpoint's training; `data` is their place, if that has moved."""
    return Evidence(
        calibration=lambda: read_calibration_rows(origin, data),
        source="training text",
        validation=lambda: read_validation(origin, data),
    )


def read_calibration_rows(origin: Origin, data: str | None) -> list[Row]:
    """Draw training texts that set activation ranges, by the training seed: 512, or all where there are fewer.

    Raises:
        DataError: the data cannot be read.
        IncompleteCheckpoint: the data are not those of the training.
    """
    record = _training_of(origin)
    parts = load_train(_source(record, data), origin.task, record.outputs, origin.reader, record.settings.get("rows"))
    _refuse_other_data(origin, parts)
    return draw_calibration_rows((example.encoded for part in parts for example in part.examples), record.seed)


def draw_calibration_rows(items: Iterable[Encoded], seed: int) -> list[Row]:
    """Draw 512 of the items' rows, or take all where there are fewer."""
    rows = [row for item in items for row in item.rows]
    return random.Random(seed).sample(rows, min(CALIBRATION_ROWS, len(rows)))


def read_validation(origin: Origin, data: str | None) -> Part:
    """Read the part that the checkpoint was measured on; raises as `read_calibration_rows` does."""
    record = _training_of(origin)
    part = load_validation(_source(record, data), origin.task, record.outputs, origin.reader)
    _refuse_other_data(origin, (part,))
    return part


def _training_of(origin: Origin) -> TrainingRecord:
    assert isinstance(origin.record, TrainingRecord), "only a checkpoint of ours knows the data of its training"
    return origin.record


def _source(record: TrainingRecord, data: str | None) -> DataSource:
    source = record.source
    return source if data is None else source.model_copy(update={"data": data})


def _refuse_other_data(origin: Origin, parts: Iterable[Part]) -> None:
    recorded = {(file.part, file.name): file.sha256 for file in origin.record.data}
    for part in parts:
        found = part.origin
        if recorded.get((found.part, found.name)) != found.sha256:
            raise IncompleteCheckpoint(
                f"{found.part} part {found.name!r} is not the file {origin.folder} was made with; "
                "name the folder of the original data with --data"
            )
