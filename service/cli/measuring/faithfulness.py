"""The faithfulness of explanations, as `steadfast evaluate --explanations` measures and shows it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.errors import UserError
from models.files.layout import Layout
from models.folders import check_folder
from models.tables import format_count
from service.cli import INTERRUPTED
from service.cli.options import need
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from models.measuring.faithfulness import Difference
    from models.measuring.intervals import Mean
    from models.progress import ReportProgress
    from service.measuring.faithfulness import MeasuredMethod
    from service.measuring.package import MeasuredPackage

MEASURED_ROWS = 200
MEASURED_TOKENS = 20_000
"""Records that are measured where no number is given: so many, or those that have so many tokens together."""

_PANEL = "With --explanations"

Rows = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Measure on this many records, the same for every package. Without it: on {MEASURED_ROWS}, or as many as "
        f"have {MEASURED_TOKENS:,} tokens.",
        rich_help_panel=_PANEL,
    ),
]
Rationales = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Compare also with the words that people marked in this file's texts, for sentiment. May be repeated.",
        rich_help_panel=_PANEL,
    ),
]
ItsCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Correlate the attention of one package with gradients of the checkpoint it was made from. Needs torch.",
        rich_help_panel=_PANEL,
    ),
]


def show_faithfulness(
    packages: Sequence[Path],
    data: str,
    parts: Sequence[str],
    rows: int | None,
    rationales: Sequence[Path],
    checkpoint: Path | None,
    layout: Layout,
    *,
    as_json: bool,
) -> None:
    """Measure every package on every part, and print tables or JSON, also of what precedes Ctrl-C or an error."""
    if checkpoint is not None:
        need("train", "torch", "transformers", "scipy")
        if len(packages) > 1:
            raise typer.BadParameter("a checkpoint is that of one package; name one", param_hint="--checkpoint")
    check_folder(data)
    planned = _plan(packages, data, parts, layout, has_marks=bool(rationales))
    found: list[MeasuredPackage] = []
    failed: UserError | None = None
    try:
        with watched_measuring() as progress:
            # At Ctrl-C the list has what was measured until then.
            found.extend(_measure(planned, data, rows, rationales, checkpoint, layout, progress))
    except KeyboardInterrupt:
        console.print(f"stopped after {len(found)} of {len(planned)} measurements", highlight=False)
    except UserError as error:
        if not found:
            raise
        failed = error
        console.print(f"stopped after {len(found)} of {len(planned)} measurements", highlight=False)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found]))
    elif found:
        _print_tables(found)
    if failed is not None:
        raise failed
    if len(found) < len(planned):
        raise typer.Exit(INTERRUPTED)


def _plan(
    packages: Sequence[Path], data: str, parts: Sequence[str], layout: Layout, *, has_marks: bool
) -> list[tuple[Path, str]]:
    """Each package with each part to measure it on, all of them checked; raises as `check_package` does."""
    # Here, not at the top: it loads the readers of data files, and help needs none.
    from service.measuring.package import check_package

    return [
        (folder, check_package(folder, data, part, has_marks=has_marks, layout=layout))
        for folder in packages
        for part in parts or (None,)
    ]


def _measure(
    planned: Sequence[tuple[Path, str]],
    data: str,
    rows: int | None,
    rationales: Sequence[Path],
    checkpoint: Path | None,
    layout: Layout,
    progress: "ReportProgress",
) -> Iterator["MeasuredPackage"]:
    from models.measuring.rationales import read_marked_texts
    from service.answers.opening import open_measured
    from service.measuring.package import measure_package

    most, bound = (rows, None) if rows else (MEASURED_ROWS, MEASURED_TOKENS)
    marked = {path.name.partition(".")[0]: read_marked_texts(path, most) for path in rationales}
    for folder, part in planned:
        report = _named(folder.name, progress)
        with open_measured(folder) as predictor:
            yield measure_package(
                predictor,
                data,
                part,
                report,
                rows=most,
                most_tokens=bound,
                marked=marked,
                checkpoint=checkpoint,
                layout=layout,
            )


def _named(package: str, progress: "ReportProgress") -> "ReportProgress":
    """Report progress under the name of a package, too."""
    return lambda name, done, total: progress(f"{package}, {name}", done, total)


def _print_tables(found: Sequence["MeasuredPackage"]) -> None:
    out = Console()
    one = len(found) == 1
    if one:
        out.print(f"{found[0].package}, {found[0].part}, {format_count(found[0].explanations.rows, 'record')}")
    heads = ("explanation",) if one else ("package", "part", "explanation")
    tables = {
        ("comprehensiveness", "sufficiency", "cost"): _measures(found),
        ("at 10-50 %", "masked"): _variants(found),
        ("less", "comprehensiveness", "sufficiency"): _comparisons(found),
        ("marked texts", "average precision", "right signs"): _marks(found),
        ("correlation with gradients", "mean"): _gradients(found),
    }
    for columns, lines in tables.items():
        table = Table(*heads, *columns)
        for measured, name, *cells in lines:
            table.add_row(*(() if one else (measured.package, measured.part)), name, *cells)
        if table.rows:
            out.print(table)


def _measures(found: Sequence["MeasuredPackage"]) -> Iterator[tuple[Any, ...]]:
    for one, name, method in _methods(found):
        report = method.deletion
        cost = "" if method.cost is None else f"{method.cost:.2f}"
        yield one, name, _with_interval(report.comprehensiveness), _with_interval(report.sufficiency), cost


def _variants(found: Sequence["MeasuredPackage"]) -> Iterator[tuple[Any, ...]]:
    for one, name, method in _methods(found):
        masked = method.mask and _pair(method.mask.comprehensiveness.mean, method.mask.sufficiency.mean)
        yield one, name, _pair(*method.deletion.larger), masked or ""


def _comparisons(found: Sequence["MeasuredPackage"]) -> Iterator[tuple[Any, ...]]:
    for one, name, method in _methods(found):
        for other, less in method.deletion.less.items():
            if name != "random":
                yield one, name, other, _with_p(less.comprehensiveness), _with_p(less.sufficiency)


def _marks(found: Sequence["MeasuredPackage"]) -> Iterator[tuple[Any, ...]]:
    for one in found:
        for file, methods in one.marks.items():
            for name, agreement in methods.items():
                strong, weak = agreement.strong_signs, agreement.weak_signs
                signs = "" if strong is None or weak is None else _pair(strong, weak)
                yield one, name, file, _with_interval(agreement.average_precision), signs


def _gradients(found: Sequence["MeasuredPackage"]) -> Iterator[tuple[Any, ...]]:
    for one in found:
        measured = one.gradients
        if measured is not None:
            yield one, "attention", "Pearson", _with_interval(measured.pearson)
            yield one, "attention", "Pearson, detached", _with_interval(measured.pearson_detached)
            yield one, "attention", "Kendall", _with_interval(measured.kendall)
            yield one, "attention", "Kendall, detached", _with_interval(measured.kendall_detached)


def _methods(found: Sequence["MeasuredPackage"]) -> Iterator[tuple["MeasuredPackage", str, "MeasuredMethod"]]:
    for one in found:
        for name, method in one.explanations.methods.items():
            yield one, name, method


def _with_interval(mean: "Mean") -> str:
    low, high = mean.interval
    return f"{mean.mean:.3f} [{low:.2f}, {high:.2f}]"


def _with_p(difference: "Difference") -> str:
    return f"{difference.mean:+.3f}, p {difference.p:.4f}"


def _pair(one: float, other: float) -> str:
    return f"{one:.3f} / {other:.3f}"
