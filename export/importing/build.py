"""`steadfast import`: makes PACKAGE/ from a stock transformers checkpoint, through the same gates as an export."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.build import USUAL, PackageForm, make_package, state_measured
from export.importing.stock import ImportSettings, write_stock
from export.origin import CALIBRATION_ROWS, Evidence, Origin, draw_calibration_rows, open_stock
from export.package import Manifest, Precision
from export.preconditions import check_place
from export.publishing import MeasurePackage, publish, workplace
from models.checkpoint import ImportRecord
from models.data import Part, load_part
from models.files.formats import Records
from models.files.layout import USUAL_LAYOUT, Layout
from models.files.parts import has_part
from models.progress import Say
from models.tasks.texts.made import make_items

SEED = 42
"""Seed of the draw of texts that set activation ranges."""


@dataclass(frozen=True, kw_only=True)
class ImportData:
    """Records to calibrate and to measure the package on."""

    data: str
    """Folder, or a hub's data set as ID or ID:CONFIGURATION."""
    train: str = "train"
    """Part whose texts set the ranges of int8; the validation part's do where a folder has none of that name."""
    validation: str = "validation"
    """Part to measure on."""
    layout: Layout = USUAL_LAYOUT
    """The names of columns and labels in it."""


def import_checkpoint(
    settings: ImportSettings,
    out: Path,
    *,
    precision: Precision = "int8",
    form: PackageForm = USUAL,
    name: str | None = None,
    data: ImportData | None = None,
    measure: MeasurePackage | None = None,
    say: Say = lambda _: None,
) -> Manifest:
    """Make the package `out` of a checkpoint that was trained elsewhere.

    Without data, int8 is calibrated on made-up texts and must answer them as fp32 does; the manifest then says that the
    quality was not measured. `measure` is called as that of `export_checkpoint` is.

    Raises:
        EncoderError, LabelError: the checkpoint cannot be imported for the task.
        DataError: the data cannot be read.
        ExportError: `out` exists, `name` cannot be used, or a gate refuses the graph.
    """
    check_place(out, name)
    with workplace(out) as work:
        say(f"reading {settings.base}")
        checkpoint = work / "checkpoint"
        origin = open_stock(checkpoint, write_stock(settings, checkpoint, say))
        head = ", ".join(origin.record.outputs.labels)
        say(f"the labels are: {head}")
        origin, evidence = _read_evidence(origin, data)
        folder, manifest = make_package(origin, evidence, work, precision=precision, form=form, name=name, say=say)
        if measure is not None:
            manifest = state_measured(folder, origin, manifest, measure, say)
        publish(folder, out, say, is_gated=True)
    return manifest


def _read_evidence(origin: Origin, data: ImportData | None) -> tuple[Origin, Evidence]:
    """The texts to calibrate and measure the package on, and the origin with the names of their files."""
    if data is None:
        made = make_items(origin.task, origin.reader)
        return origin, Evidence(
            calibration=lambda: draw_calibration_rows(made, SEED),
            source="made-up text",
            validation=None,
            texts=lambda: made,
        )
    validation = _load(origin, data)
    drawn = _load_calibration(origin, data)
    files = (validation.origin, *([drawn.origin] if drawn is not None else []))
    texts = (drawn or validation).examples
    assert isinstance(origin.record, ImportRecord), "a checkpoint from elsewhere has no record of its training"
    return replace(origin, record=replace(origin.record, data=files, layout=data.layout)), Evidence(
        calibration=lambda: draw_calibration_rows((example.encoded for example in texts), SEED),
        source="text",
        validation=lambda: validation,
    )


def _load(origin: Origin, data: ImportData) -> Part:
    outputs = origin.record.outputs
    return load_part(data.data, data.validation, "validation", origin.task, outputs, origin.reader, layout=data.layout)


def _load_calibration(origin: Origin, data: ImportData) -> Part | None:
    if Path(data.data).is_dir() and not has_part(data.data, data.train):
        return None
    part = load_part(
        data.data,
        data.train,
        "unlabelled",
        origin.task,
        origin.record.outputs,
        origin.reader,
        _draw_records,
        data.layout,
    )
    return Part(part.examples, part.origin.model_copy(update={"part": "calibration"}))


def _draw_records(records: Records) -> Iterator[Any]:
    """Draw as many records as calibration takes, each with the same chance, in one pass."""
    draw = random.Random(SEED)
    kept = []
    for place, record in enumerate(records):
        if place < CALIBRATION_ROWS:
            kept.append(record)
        elif (chosen := draw.randrange(place + 1)) < CALIBRATION_ROWS:
            kept[chosen] = record
    return iter(kept)
