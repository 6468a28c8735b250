"""`steadfast reference`: states in a package how its answers are spread, so that servers see when that changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from export.package import open_package
from export.preconditions import check_place
from models.folders import check_folder
from service.cli.measuring.measure import Out
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from export.figures.reference import Reference
    from export.package import Package


def reference(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a package.")],
    out: Out,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Summary of its answers, from `score --summary`."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Answer texts of this data instead: a folder or an id on the hub."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Part of the data. Without it: the one that the package was measured on."),
    ] = None,
) -> None:
    """State in a package how its answers to usual texts are spread.

    ```sh
    steadfast score sentiment last-month.csv -o scored.csv \\
        --package packages/sentiment --summary last-month.json
    steadfast reference packages/sentiment \\
        --summary last-month.json -o packages/sentiment-2
    ```

    A server then tells at `/metrics` how far the last answers are from these. The new package has
    another digest; graph and answers stay as they are. The texts need no right answers; 500 are enough.
    """
    if (summary is None) == (data is None):
        raise typer.BadParameter("give one of the two", param_hint="--summary or --data")
    if part is not None and data is None:
        raise typer.BadParameter("a part is one of the data; add --data", param_hint="--part")
    check_place(out, None)
    opened = open_package(package)
    found = _measure(opened, data, part) if data is not None else _read(opened, summary)
    from export.publishing import Measured, measure_again

    made = measure_again(package, out, lambda _: Measured(reference=found), say=console.print)
    console.print(f"{found.answers:,} answers to {found.texts}; digest {made.digest}", highlight=False)


def _read(package: "Package", summary: Path | None) -> "Reference":
    from service.measuring.reference import read_reference

    assert summary is not None
    return read_reference(summary, package)


def _measure(package: "Package", data: str, part: str | None) -> "Reference":
    from service.answers.opening import open_measured
    from service.measuring.package import check_package
    from service.measuring.reference import measure_reference

    check_folder(data)
    part = check_package(package.folder, data, part, has_marks=False)
    with open_measured(package.folder) as predictor, watched_measuring() as progress:
        return measure_reference(predictor, data, part, progress)
