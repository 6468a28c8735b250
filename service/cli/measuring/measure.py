"""`steadfast measure`: a package that states what was measured on it, out of one that does not."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.package import open_package
from export.preconditions import check_place, read_twins, variant_of
from models.files.layout import USUAL_LAYOUT, Layout, check_layout
from models.folders import check_folder
from service.cli.columns import layout_of, layout_options
from service.cli.measuring.faithfulness import MEASURED_ROWS, MEASURED_TOKENS
from service.cli.options import CORRECTING, need, with_options
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from export.changing import Change
    from export.figures.reference import Reference
    from export.package import Faithfulness, Manifest, Package
    from export.publishing import Measured, MeasurePackage
    from models.progress import ReportProgress
    from service.answers.predictor import Predictor

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write the package to. It must not exist.")
]
Twins = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PACKAGE",
        help="Package of the same training by another method, with noise or without, or not changed; its figures are "
        "kept beside this one's. May be repeated.",
    ),
]
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="Measure the package under attack, with noise, on the sets made to mislead that the data folder holds, "
        "and with exchanged names, and keep the figures in it.",
    ),
]
Explanations = Annotated[
    bool,
    typer.Option(
        "--explanations",
        help=f"Measure how faithful the explanations are, on {MEASURED_ROWS} validation records or fewer if they are "
        "long, and keep the figures in the package.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The measurements that are wanted of a package."""

    robust: bool = False
    explanations: bool = False
    reference: bool = False
    metrics: bool = False
    """Those of the task itself, which are measured anew when the package is changed."""


MeasuredData = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="Data to measure on: a folder, or a data set on the Hugging Face hub."),
]
MeasuredPart = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="PART", help="Part to measure on. Without it: the one that its quality was measured on."
    ),
]
AskedReference = Annotated[
    bool,
    typer.Option(
        "--reference",
        help="Measure how its answers are spread, so that servers see when that changes. The texts need no right "
        "answers; 500 are enough.",
    ),
]
Corrected = Annotated[
    bool,
    typer.Option(
        "--correct",
        help="Correct texts before they are read, from now on: look-alikes of letters, and unknown words one "
        "typing error away from known ones. The data must hold its training texts. Needs WordNet.",
    ),
]
Blinded = Annotated[
    float | None,
    typer.Option(
        "--blind",
        metavar="SHARE",
        min=0,
        max=1,
        help="Tell terms of nationality, religion and orientation less apart, from now on: move their embeddings by "
        "this share of the way to the mean of their kind. For tasks that judge one text.",
    ),
]
Summed = Annotated[
    Path | None,
    typer.Option(
        "--summary",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Take that from the answers that `score --summary` summed up instead. Needs no --data.",
    ),
]


@with_options(layout_options())
def measure(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a package, made by export or import.")],
    out: Out,
    data: MeasuredData = None,
    part: MeasuredPart = None,
    robust: Robust = False,
    explanations: Explanations = False,
    reference: AskedReference = False,
    summary: Summed = None,
    correct: Corrected = False,
    blind: Blinded = None,
    twin: Twins = None,
    **names: Any,
) -> None:
    """Measure a package that was made before, and write it again with the figures in it.

    ```sh
    steadfast measure packages/sentiment --data data/sentiment \\
        --robust --explanations -o packages/sentiment-measured
    steadfast score sentiment last-month.csv -o scored.csv \\
        --package packages/sentiment --summary last-month.json
    steadfast measure packages/sentiment \\
        --summary last-month.json -o packages/sentiment-2
    ```

    The figures stand in the manifest and in the card, so the package has another digest. All else stays as it was.

    With `--correct` the new package reads texts corrected, and with `--blind` its answers hang less on which people
    they name. Its metrics are measured so, its other figures if asked for; those of before stand beside them.
    """
    changes = correct or blind is not None
    wanted = Wanted(robust=robust, explanations=explanations, reference=reference or changes, metrics=changes)
    layout = layout_of(names)
    _check_options(data, part, summary, wanted, layout, blind)
    check_place(out, None)
    opened = open_package(package)
    check_layout(layout, opened.task)
    read_twins(twin or (), opened.manifest, variant_of(opened.manifest, correct=correct, blind=blind is not None))
    _need_for(wanted, correct=correct, blind=blind is not None)
    from export.publishing import measure_again

    change = _make_change(opened, data, layout, correct=correct, blind=blind)
    found = _summed_up(opened, summary) if data is None else _measuring(opened, data, part, wanted, layout)
    made = measure_again(package, out, found, change=change, twins=twin or (), say=console.print)
    _say_measured(opened.manifest, made, out)


def _say_measured(before: "Manifest", made: "Manifest", out: Path) -> None:
    new = made.reference if made.reference != before.reference else None
    told = f"{new.answers:,} answers to {new.texts}; " if new else ""
    if made.variant != before.variant:
        for part, found in made.metrics.items():
            told += "".join(f"{name} {value:.4f} on {part}; " for name, value in found.items())
    console.print(f"{told}digest {made.digest}", highlight=False)
    console.print(f"next: steadfast serve {quote(str(out))}")


def _check_options(
    data: str | None, part: str | None, summary: Path | None, wanted: Wanted, layout: Layout, blind: float | None
) -> None:
    if blind == 0:
        raise typer.BadParameter("0 changes nothing; give a share above 0, up to 1", param_hint="--blind")
    on_data = wanted != Wanted()
    if summary is not None:
        if on_data or data is not None or part is not None or layout != USUAL_LAYOUT:
            raise typer.BadParameter("a summary is read alone; leave out the other options", param_hint="--summary")
    elif not on_data:
        raise typer.BadParameter(
            "nothing to measure; give --robust, --explanations, --reference, --summary, --correct or --blind"
        )
    elif data is None:
        raise typer.BadParameter("nothing to measure on; name a folder or an id on the hub", param_hint="--data")


def _measuring(package: "Package", data: str, part: str | None, wanted: Wanted, layout: Layout) -> "MeasurePackage":
    from export.correcting import refuse_other_data
    from service.measuring.package import check_package

    check_folder(data)
    part = check_package(package.folder, data, part, has_marks=False, layout=layout)
    if wanted.metrics and package.manifest.quality.measured:
        refuse_other_data(package, data, "validation")
    return partial(measure_figures, data, part, wanted, layout=layout)


def _make_change(
    package: "Package", data: str | None, layout: Layout, *, correct: bool, blind: float | None
) -> "Change":
    from export.changing import Change, refuse_to_blind
    from export.correcting import make_correction_for

    if blind is not None:
        refuse_to_blind(package.task, package.manifest, package.folder)
    correction = make_correction_for(package, data, layout) if correct and data is not None else None
    return Change(correction=correction, blindness=blind or 0.0)


def _summed_up(package: "Package", summary: Path | None) -> "MeasurePackage":
    from export.publishing import Measured
    from service.measuring.reference import read_reference

    assert summary is not None, "checked before"
    found = Measured(reference=read_reference(summary, package))
    return lambda _: found


def _need_for(wanted: Wanted, *, correct: bool, blind: bool) -> None:
    if wanted.robust or wanted.explanations or wanted.metrics:
        need_for_measuring(robust=wanted.robust)
    if correct:
        need("train", *CORRECTING)
    if blind:
        need("export", "onnx")


def need_for_measuring(*, robust: bool) -> None:
    """Name what must be installed first; raises UserError where something is not."""
    need("train", "sklearn", "scipy", "seqeval", *(("textblob", "lemminflect") if robust else ()))


def measure_figures(
    data: str, part: str, wanted: Wanted, package: Path, *, layout: Layout = USUAL_LAYOUT
) -> "Measured":
    """The figures of a package that are wanted, on one part of the data.

    `layout` has the names in the data where those in the manifest do not hold.
    """
    from export.correcting import measure_metrics
    from export.publishing import Measured
    from service.answers.opening import open_for_figures
    from service.measuring.passport import measure_passport

    with open_for_figures(package) as predictor, watched_measuring() as progress:
        return Measured(
            faithfulness=_measure_explanations(predictor, data, part, layout, progress) if wanted.explanations else {},
            passport=measure_passport(predictor, data, part, progress, console.print, layout)
            if wanted.robust
            else None,
            reference=_measure_reference(predictor, data, part, layout, progress) if wanted.reference else None,
            metrics=measure_metrics(predictor.package, data, layout) if wanted.metrics else {},
        )


def _measure_reference(
    predictor: "Predictor", data: str, part: str, layout: Layout, progress: "ReportProgress"
) -> "Reference | None":
    """The reference of a new package; None where the part is too small for one, and that is printed."""
    from export.figures.reference import TooFewAnswers
    from service.measuring.reference import measure_reference

    try:
        return measure_reference(predictor, data, part, progress, layout)
    except TooFewAnswers as error:
        console.print(f"no reference to watch a server's answers by: {error}")
        return None


def _measure_explanations(
    predictor: "Predictor", data: str, part: str, layout: Layout, progress: "ReportProgress"
) -> "dict[str, Faithfulness]":
    from models.data import load_items
    from service.measuring.faithfulness import NothingToMeasure, measure_explanations

    items = load_items(data, part, predictor.task, MEASURED_ROWS, layout.over(predictor.package.manifest.layout))
    try:
        return measure_explanations(predictor, items, progress, masks=False, most_tokens=MEASURED_TOKENS).for_manifest()
    except NothingToMeasure as error:
        console.print(f"explanations are not measured: {error}")
        return {}
