"""`steadfast measure`: a package that states what was measured on it, out of one that does not."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from export.package import read_manifest
from export.preconditions import check_place, read_twins
from models.errors import UserError
from models.folders import check_folder
from service.cli.measuring.evaluate import Data
from service.cli.measuring.faithfulness import MEASURED_ROWS, MEASURED_TOKENS
from service.cli.options import need
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from export.figures.reference import Reference
    from export.package import Faithfulness
    from export.publishing import Measured
    from models.progress import ReportProgress
    from service.answers.predictor import Predictor

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write the package to. It must not exist.")
]
Twins = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PACKAGE",
        help="Package of the same training by another method, or with noise or without; its figures are kept beside "
        "this one's. May be repeated.",
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


class NothingAsked(UserError):
    """A command that was not told what to measure, or on what."""


def measure(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a package, made by export or import.")],
    data: Data,
    out: Out,
    part: Annotated[
        str | None,
        typer.Option(metavar="PART", help="Part to measure on. Without it: the one that its quality was measured on."),
    ] = None,
    robust: Robust = False,
    explanations: Explanations = False,
    twin: Twins = None,
) -> None:
    """Measure a package that was made before, and write it again with the figures in it.

    ```sh
    steadfast measure packages/sentiment --data data/sentiment \\
        --robust --explanations -o packages/sentiment-measured
    ```

    The graph, the tokenizer and the answers stay as they are. The figures stand in the manifest and in the card, so the
    package has another digest. Figures that are not measured now stay as they were.
    """
    manifest = read_manifest(package)
    if not (robust or explanations):
        raise NothingAsked("nothing to measure; give --robust, --explanations or both")
    part = part or next((file.name for file in manifest.data if file.part == "validation"), None)
    if part is None:
        raise NothingAsked(f"{package} does not say what it was measured on; name the part to measure on with --part")
    check_place(out, None)
    check_folder(data)
    read_twins(twin or (), manifest)
    need_for_measuring(robust=robust)
    from export.publishing import measure_again

    measure_again(
        package,
        out,
        partial(measure_figures, data, part, robust=robust, explanations=explanations),
        twins=twin or (),
        say=console.print,
    )
    console.print(f"next: steadfast serve {out}")


def need_for_measuring(*, robust: bool) -> None:
    """Name what must be installed first; raises UserError where something is not."""
    need("train", "sklearn", "scipy", "seqeval", *(("textblob", "lemminflect") if robust else ()))


def measure_figures(
    data: str,
    part: str,
    package: Path,
    *,
    robust: bool = False,
    explanations: bool = False,
    reference: bool = False,
) -> "Measured":
    """The figures of a package that were asked for, on one part of the data."""
    from export.publishing import Measured
    from service.answers.opening import open_measured
    from service.measuring.passport import measure_passport

    with open_measured(package) as predictor, watched_measuring() as progress:
        return Measured(
            faithfulness=_measure_explanations(predictor, data, part, progress) if explanations else {},
            passport=measure_passport(predictor, data, part, progress, console.print) if robust else None,
            reference=_measure_reference(predictor, data, part, progress) if reference else None,
        )


def _measure_reference(predictor: "Predictor", data: str, part: str, progress: "ReportProgress") -> "Reference | None":
    """The reference of a new package; None where the part is too small for one, and that is printed."""
    from export.figures.reference import TooFewAnswers
    from service.measuring.reference import measure_reference

    try:
        return measure_reference(predictor, data, part, progress)
    except TooFewAnswers as error:
        console.print(f"no reference to watch a server's answers by: {error}")
        return None


def _measure_explanations(
    predictor: "Predictor", data: str, part: str, progress: "ReportProgress"
) -> "dict[str, Faithfulness]":
    from models.data import load_items
    from service.measuring.faithfulness import NothingToMeasure, measure_explanations

    items = load_items(data, part, predictor.task, MEASURED_ROWS)
    try:
        return measure_explanations(predictor, items, progress, masks=False, most_tokens=MEASURED_TOKENS).for_manifest()
    except NothingToMeasure as error:
        console.print(f"explanations are not measured: {error}")
        return {}
