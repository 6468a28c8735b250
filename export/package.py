"""PACKAGE/: an immutable folder that a server can trust; `package.json` is its manifest.

The manifest holds the digest of every file, and its own. So a tampered, truncated or half-copied package is refused
before anything in it is used. Reading a package needs no torch.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.external_data import data_file, names_other_files
from export.figures.passport import Passport
from export.figures.reference import Reference
from models.checkpoint import RECORD_FILE, DataFile, Licences, MethodRecord, say_unfinished
from models.correction.reading import CorrectionKind, open_correction
from models.correction.spelling import WORDS_FILE
from models.errors import UserError, first_mistake
from models.files.layout import USUAL_LAYOUT, Layout
from models.folders import why_no_folder
from models.methods import name_variant
from models.tasks import TASKS, find_task
from models.tasks.task import AnyTask, Outputs
from models.text import Reader, ReadingLimits

MANIFEST_FILE = "package.json"
GRAPH_FILE = "model.onnx"
FALLBACK_FILE = "model.fp32.onnx"
"""The graph before it was quantised; some packages hold it for machines on which int8 may give other results."""
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "model.safetensors"
"""The checkpoint's weights; no package holds this file."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Precision = Literal["int8", "fp16", "fp32"]

ShareOutput = Literal["attention", "rollout"]
"""An output of the graph that shares 1 among the tokens of a row. Only where tokens attend to each other is there a
rollout."""

ContributionOutput = Literal["decomposition"]
"""An output of the graph that takes a sum of logits apart into a signed contribution of each token of a row."""

ExplanationOutput = Literal[ShareOutput, ContributionOutput]
"""An output of the graph that explains the logits by the tokens of a row."""

PROBE_TOLERANCE: dict[Precision, float] = {"int8": 0.15, "fp16": 0.05, "fp32": 1e-3}
"""Largest accepted distance of outputs from those recorded. On the same kind of CPU every bit is the same; another kind
rounds floats differently, which now and then moves a value to the next of int8's 256 steps. Other kernels on one CPU
moved logits by at most 0.1, shares by at most 0.04, and a decomposition by 0.07 of twice its largest share, in 300 rows
of a package for sentiment. In fp16 a logit has about three digits."""


MOST_TOKENS = 65_536
"""Longest row that a manifest may name. No text is read that takes more tokens in all its windows."""
MOST_IDS = 2**31 - 1


class PackageError(UserError):
    """A package must not be used."""


class MissingFile(PackageError):
    """A file of the package is missing."""


class DamagedFile(PackageError):
    """A file differs from the one that the package was made with."""


class WrongFormat(PackageError):
    """This version cannot read the manifest."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorInfo(_Frozen):
    """An input or output of the graph."""

    name: str
    dtype: str
    axes: tuple[str, ...]


class ParityReport(_Frozen):
    """How far the fp32 graph's outputs are from those of eager torch."""

    shapes: tuple[tuple[int, int], ...] = Field(description="(batch, sequence) of each comparison, with padding.")
    largest_difference: dict[str, float] = Field(description="Largest absolute difference of each output.")
    tolerance: float


class QualityReport(_Frozen):
    """The cost of the precision, measured on the validation part."""

    metric: str
    rows: int
    fp32: float
    exported: float
    tolerance: float = Field(description="Largest loss that is accepted.")
    calibration_rows: int = Field(description="Training texts that set the activation ranges; 0 where nothing is int8.")
    excluded_nodes: tuple[str, ...] = Field(description="Nodes left in fp32 because quantising them cost too much.")
    best_int8: float | None = Field(default=None, description="Metric of int8, where it cost too much.")
    measured: bool = Field(
        default=True,
        description="False where no records with right answers were given: how good the answers are is not known, and "
        "the metric is the share of made-up texts that are answered as in fp32.",
    )
    without: tuple[Literal["correction", "blindness"], ...] = Field(
        default=(), description="What was added to the package after this was measured."
    )


class DeterminismReport(_Frozen):
    """Whether a row's logits are the same bits alone, batched and padded."""

    rows: int
    bit_equal: bool
    decomposition_difference: float | None = Field(
        default=None, description="Largest difference between decompositions alone and batched; 0: the same bits."
    )


class Probe(_Frozen):
    """A recorded input with the package's outputs for it; `steadfast verify` and a starting server replay it."""

    item: dict[str, Any]
    outputs: dict[str, list[list[float]]] = Field(description="By output name, one list per row.")


class Twin(_Frozen):
    """A package for the same labels from the same base and data, trained or read otherwise."""

    method: str = Field(
        description="Its method, with `+noise` if trained with noise, and `+correction` if its texts are corrected."
    )
    precision: Precision
    digest: str
    metrics: dict[str, dict[str, float]]
    passport: Passport | None = None


class Faithfulness(_Frozen):
    """How faithful one way of explaining is on the validation part, by the measures of ERASER (DeYoung et al. 2020)."""

    rows: int
    comprehensiveness: float = Field(
        description="Drop of the explained answer's score when its most important words are deleted; higher is better."
    )
    comprehensiveness_interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    sufficiency: float = Field(description="Drop when only its most important words are kept; lower is better.")
    sufficiency_interval: tuple[float, float]
    random_comprehensiveness: float = Field(description="The same for words in random order.")
    random_sufficiency: float
    cost: float = Field(description="CPU time of an answer with the explanation, as a multiple of one without.")


class Manifest(_Frozen):
    """`package.json`: what a package says about itself."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    task: str
    labels: tuple[str, ...] = Field(min_length=1)
    score_range: tuple[float, float] | None = None
    no_answer_threshold: float = Field(default=0.5, ge=0, le=1)
    label_threshold: float = Field(
        default=0.5, ge=0, le=1, description="From this probability on, a text has a label, where it may have several."
    )
    outside_threshold: float = Field(
        default=0, ge=0, le=1, description="Below this probability of lying outside, a word belongs to an entity."
    )
    method: MethodRecord
    noise: dict[str, Any] | None = Field(default=None, description="Settings of the noise beside the method.")
    base: str
    weights: str = Field(default="", description="sha256 of the checkpoint's weights.")
    precision: Precision
    portable: bool = Field(default=False, description="Whether the graph holds standard ONNX operators only.")
    max_tokens: int = Field(ge=8, le=MOST_TOKENS, description="Longest row, special tokens included.")
    pad_id: int = Field(ge=0, le=MOST_IDS, description="The token that fills rows; one of the tokenizer's.")
    correction: CorrectionKind | None = Field(
        default=None, description="How texts are corrected before they are read; for words with words.txt.gz."
    )
    blindness: float = Field(
        default=0,
        ge=0,
        le=1,
        description="How far embeddings of terms of nationality, religion and orientation were moved to their mean.",
    )
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    files: dict[str, str] = Field(description="sha256 of every file but this one.")
    parity: ParityReport
    quality: QualityReport
    determinism: DeterminismReport
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics of the exported graph, by data set; none where its quality was not measured."
    )
    passport: Passport | None = Field(default=None, description="What it withstands, where that was measured.")
    faithfulness: dict[str, Faithfulness] = Field(default={}, description="By explanation method, where measured.")
    reference: Reference | None = Field(
        default=None, description="How its answers are spread where nothing has changed, to compare a server's with."
    )
    twins: tuple[Twin, ...] = Field(default=(), description="Packages to compare methods by.")
    probes: tuple[Probe, ...]
    fallback_probes: tuple[Probe, ...] = Field(default=(), description="Probes of the fp32 graph, if it is here.")
    data: tuple[DataFile, ...]
    layout: Layout = Field(default=USUAL_LAYOUT, description="The names of columns and labels in these data.")
    licences: Licences
    versions: dict[str, str]
    digest: str = Field(default="", description="sha256 of this manifest without this field; names the package.")

    @property
    def meaning(self) -> Outputs:
        """The meaning of the numbers that the head gives."""
        return Outputs.stated_by(self)

    @property
    def variant(self) -> str:
        """The method of its training, with `+noise` where there was noise, and what was added to it since."""
        return name_variant(
            self.method.name,
            has_noise=self.noise is not None,
            corrects=self.correction is not None,
            is_blind=self.blindness > 0,
        )

    @property
    def most_faithful(self) -> str | None:
        """The explanation in the graph of the largest comprehensiveness less sufficiency; None where none was measured.

        Occlusion, which costs the runs of as many texts as there are words, must be asked for by name.
        """
        in_graph = {tensor.name for tensor in self.outputs}
        gains = {
            name: one.comprehensiveness - one.sufficiency for name, one in self.faithfulness.items() if name in in_graph
        }
        return max(gains, key=gains.__getitem__, default=None)

    def sealed(self) -> "Manifest":
        """A copy of the manifest with its digest filled in."""
        return self.model_copy(update={"digest": _digest_of(self.model_dump(mode="json"))})


def _digest_of(content: dict[str, Any]) -> str:
    """The digest of a manifest as its file has it, so that it stays the same when manifests gain fields."""
    named = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Package:
    """A package whose every file was checked."""

    folder: Path
    manifest: Manifest
    uses_fallback: bool = False
    """Whether it answers by its fp32 graph instead of its main one."""

    @property
    def task(self) -> AnyTask:
        """The task that the package answers."""
        return find_task(self.manifest.task)

    @property
    def graph(self) -> Path:
        """The ONNX file that answers."""
        return self.folder / (FALLBACK_FILE if self.uses_fallback else GRAPH_FILE)

    @property
    def graph_digest(self) -> str:
        """The sha256 of that file."""
        return self.manifest.files[self.graph.name]

    @property
    def has_data_file(self) -> bool:
        """Whether the weights of that file lie in a second one."""
        return data_file(self.graph).name in self.manifest.files

    @property
    def precision(self) -> Precision:
        """The precision of the graph that answers."""
        return "fp32" if self.uses_fallback else self.manifest.precision

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Inputs and the outputs that the graph gave for them where it was made."""
        return self.manifest.fallback_probes if self.uses_fallback else self.manifest.probes

    @property
    def fallback(self) -> "Package | None":
        """The same package answering by its fp32 graph, or None where it has none or answers by it already."""
        comes_along = FALLBACK_FILE in self.manifest.files and not self.uses_fallback
        return replace(self, uses_fallback=True) if comes_along else None

    def reader(self) -> Reader:
        """Make the reader that turns texts into this model's rows.

        Raises:
            WordListError: as `open_correction` does.
            WrongFormat: the tokenizer has no such token as the manifest pads with.
        """
        manifest = self.manifest
        reader = Reader.from_file(
            self.folder / TOKENIZER_FILE,
            ReadingLimits(max_tokens=manifest.max_tokens),
            open_correction(self.folder, manifest.correction, self.task.corrected),
        )
        if reader.token(manifest.pad_id) is None:
            raise WrongFormat(
                f"{self.folder / MANIFEST_FILE}: pad_id {manifest.pad_id} is no token of {TOKENIZER_FILE}; export again"
            )
        return reader


def is_package(folder: Path) -> bool:
    """Whether `folder` claims to be a package."""
    return (folder / MANIFEST_FILE).is_file()


def open_package(folder: Path) -> Package:
    """Open the package in `folder` after checking every byte of it.

    Raises:
        MissingFile, DamagedFile, WrongFormat: the message names the file at fault and says what to do.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name:
            raise WrongFormat(f"{folder / MANIFEST_FILE}: names a file outside the package, {name!r}")
        if not path.is_file():
            raise MissingFile(f"{path}: missing; the package was not copied whole, copy it again")
        if file_digest(path) != expected:
            raise DamagedFile(f"{path}: not the file the package was made with; copy or export the package again")
    for needed in (GRAPH_FILE, TOKENIZER_FILE, *([WORDS_FILE] if manifest.correction == "words" else [])):
        if needed not in manifest.files:
            raise WrongFormat(f"{folder / MANIFEST_FILE}: lists no {needed}")
    if (FALLBACK_FILE in manifest.files) != bool(manifest.fallback_probes):
        raise WrongFormat(f"{folder / MANIFEST_FILE}: {FALLBACK_FILE} and its probes come together or not at all")
    for name in (GRAPH_FILE, FALLBACK_FILE):
        beside = data_file(folder / name).name
        allowed = beside if beside in manifest.files else None
        if name in manifest.files and names_other_files(folder / name, allowed=allowed):
            raise WrongFormat(
                f"{folder / name}: keeps weights in other files (ONNX external data), which the manifest does not "
                f"list as {beside}; export again, or save it as one file"
            )
    _check_sense(folder, manifest)
    return Package(folder, manifest)


def _check_sense(folder: Path, manifest: Manifest) -> None:
    """Refuse outputs that no model of the task has, and probes that it cannot be tried with; raises WrongFormat."""
    path, task = folder / MANIFEST_FILE, find_task(manifest.task)
    try:
        task.check_outputs(manifest.meaning)
    except ValueError as error:
        raise WrongFormat(f"{path}: {error}; was it made for another task?") from error
    _check_labels(path, manifest)
    known = {tensor.name for tensor in manifest.outputs}
    for number, probe in enumerate((*manifest.probes, *manifest.fallback_probes), start=1):
        try:
            task.item.model_validate(probe.item)
        except ValidationError as error:
            raise WrongFormat(f"{path}: probe {number} is no input of {task.name}: {first_mistake(error)}") from error
        if not probe.outputs or not probe.outputs.keys() <= known or not all(probe.outputs.values()):
            raise WrongFormat(
                f"{path}: probe {number} records other outputs than the graph has: {', '.join(sorted(known))}"
            )


def _check_labels(path: Path, manifest: Manifest) -> None:
    """Refuse labels that callers could not tell apart, or that do not fit the logits; raises WrongFormat."""
    labels = manifest.labels
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise WrongFormat(f"{path}: labels: {', '.join(map(repr, twice))} stands there twice; export again")
    width = next((tensor.axes[-1] for tensor in manifest.outputs if tensor.name == "logits" and tensor.axes), "")
    if width.isdecimal() and int(width) != len(labels):
        raise WrongFormat(f"{path}: {len(labels)} labels, and the graph has {width} logits for them; export again")


def read_manifest(folder: Path) -> Manifest:
    """Read only the manifest, and check it against its own digest; raises as `open_package` does."""
    path = folder / MANIFEST_FILE
    if not folder.is_dir():
        raise MissingFile(f"{folder}: {why_no_folder(folder)}; a package is a folder made by `steadfast export`")
    if not path.is_file():
        raise MissingFile(_say_what_else(folder))
    content = path.read_bytes()
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise WrongFormat(f"{path}: {first_mistake(error)}; was it made by another version?") from error
    if manifest.digest != _digest_of(json.loads(content)):
        raise DamagedFile(f"{path}: changed since the package was made; copy or export the package again")
    if manifest.task not in TASKS:
        raise WrongFormat(f"{path}: no task {manifest.task!r} here; this version knows: {', '.join(TASKS)}")
    return manifest


def _say_what_else(folder: Path) -> str:
    """Say what a folder is that has no manifest, and how packages are made."""
    if (folder / RECORD_FILE).is_file():
        return f"{folder}: a checkpoint; `steadfast export {quote(str(folder))} -o PACKAGE` makes a package of it"
    if unfinished := say_unfinished(folder):
        return f"{folder}: {unfinished}"
    return f"{folder / MANIFEST_FILE}: missing; a package is a folder made by `steadfast export`"


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Make a package of the files in `folder`: write the manifest with their digests and its own, and return it."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    sealed = manifest.model_copy(update={"files": files}).sealed()
    (folder / MANIFEST_FILE).write_text(sealed.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return sealed


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
