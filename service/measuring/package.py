"""Everything that `steadfast evaluate --explanations` measures of one package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from export.package import read_manifest
from models.data import check_columns, load_items
from models.errors import UserError
from models.files.layout import USUAL_LAYOUT, Layout, LayoutError, check_layout
from models.files.parts import DataError
from models.measuring.rationales import MarkedText
from models.progress import ReportProgress
from models.tasks import find_task
from service.answers.predictor import Predictor
from service.measuring.explained import RANDOM
from service.measuring.faithfulness import MeasuredExplanations, measure_explanations
from service.measuring.gradients import check_checkpoint, measure_gradients
from service.measuring.marks import MarkAgreement, check_sentiment, measure_marks

if TYPE_CHECKING:
    from models.measuring.attention_gradients import AttentionGradients

COMPARED = ("attention", RANDOM)
"""The methods that every other one is compared with."""


class NotAPackage(UserError):
    """Explanations are measured as a package gives them."""


@dataclass(frozen=True, kw_only=True)
class MeasuredPackage:
    """The explanations of one package, measured on one part."""

    package: str
    """Its folder."""
    name: str
    task: str
    training_method: str
    digest: str
    part: str
    explanations: MeasuredExplanations
    marks: dict[str, dict[str, MarkAgreement]] = field(default_factory=dict)
    """By file of marked texts, the agreement of each explanation method."""
    gradients: "AttentionGradients | None" = None
    """The correlation of attention with gradients, where the checkpoint is at hand."""


def check_package(folder: Path, data: str, part: str | None, *, has_marks: bool, layout: Layout = USUAL_LAYOUT) -> str:
    """The part to measure a package on: `part`, or the one that its training was measured on.

    Every package is checked before the first is measured. `has_marks` says that texts marked by people come in, too.
    `layout` has the names in the part where the manifest's do not hold.

    Raises:
        DataError: the part is missing, or it has no columns with texts for the package's task.
        NoSentiment: there are marked texts, and the package answers another task.
        NotAPackage: the manifest names no part and none is given.
        PackageError: the folder holds no package, or the manifest cannot be read.
    """
    manifest = read_manifest(folder)
    recorded = [file.name for file in manifest.data if file.part == "validation"]
    if part is None and not recorded:
        raise NotAPackage(f"{folder} does not say what it was measured on; name a part with --part")
    part = recorded[0] if part is None else part
    task = find_task(manifest.task)
    if has_marks:
        check_sentiment(str(folder), task)
    try:
        check_layout(layout, task)
        check_columns(data, part, task, layout.over(manifest.layout))
    except (DataError, LayoutError) as error:
        raise DataError(f"{folder} answers {manifest.task}: {error}") from error
    return part


def measure_package(
    predictor: Predictor,
    data: str,
    part: str,
    progress: ReportProgress,
    *,
    rows: int,
    most_tokens: int | None,
    marked: Mapping[str, Sequence[MarkedText]],
    checkpoint: Path | None = None,
    layout: Layout = USUAL_LAYOUT,
) -> MeasuredPackage:
    """Measure the explanations of a package on `rows` records of a part, and on texts marked by people.

    Fewer records are measured where they have more than `most_tokens`.

    With the `checkpoint` that the package was made from, its attention is also compared with gradients.

    Raises:
        DataError: the part cannot be read.
        NothingToMeasure: no answer could be explained.
        NoSentiment: there are marked texts, and the package answers another task.
        NotItsCheckpoint, NothingToCompare, CheckpointError: gradients cannot be taken.
    """
    manifest = predictor.package.manifest
    items = load_items(data, part, predictor.task, rows, layout.over(manifest.layout))
    if checkpoint is not None:
        check_checkpoint(predictor.package, checkpoint)
    # First, because a package for another task is refused here.
    marks = {name: measure_marks(predictor, texts, name, progress) for name, texts in marked.items()}
    gradients = measure_gradients(predictor.package, checkpoint, items) if checkpoint else None
    return MeasuredPackage(
        package=str(predictor.package.folder),
        name=manifest.name,
        task=manifest.task,
        training_method=manifest.variant,
        digest=manifest.digest,
        part=part,
        explanations=measure_explanations(predictor, items, progress, others=COMPARED, most_tokens=most_tokens),
        marks=marks,
        gradients=gradients,
    )
