"""`steadfast evaluate`: the metrics of a checkpoint or a package."""

import json
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.tables import format_cell
from service.cli.progress import console, watched_measuring
from service.cli.training_options import need

if TYPE_CHECKING:
    from models.evaluation import EvaluatedModel


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="CHECKPOINT|PACKAGE", help="Folder made by train or by export.")],
    data: Annotated[str, typer.Option(help="Folder of data files, or a hub id (ID or ID:CONFIGURATION).")],
    part: Annotated[
        list[str] | None,
        typer.Option(help="File (without ending) or split; may be repeated. Default: what it was validated on."),
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Also with typos and other noise, and on the task's robustness sets.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Measure a checkpoint under torch, or a package under ONNX Runtime, by the same metrics.

    With `--robust`, sets that are not in the folder are left out, and said to be. Of contrast sets `consistency` is the
    share of groups that are right throughout; of CheckList `failure_rate` is the share of cases that fail.
    """
    need("train", "torch", "sklearn", "scipy", "seqeval")
    from models.measuring.robustness import measure_parts, measure_robustness

    evaluated = _open_evaluated_model(model)
    parts = part or [_validation_part(model)]
    left_out: dict[str, str] = {}
    with watched_measuring() as progress:
        if robust:
            report = measure_robustness(evaluated, data, parts, progress)
            found, left_out = report.found, report.left_out
        else:
            found = measure_parts(evaluated, data, parts, progress)
    for name, reason in left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    if as_json:
        typer.echo(json.dumps(found))
        return
    # The rate of each test of a suite is in the JSON alone.
    names = [name for name in dict.fromkeys(chain.from_iterable(found.values())) if "/" not in name]
    table = Table("part", *names)
    for name, metrics in found.items():
        table.add_row(name, *(format_cell(metrics.get(metric)) for metric in names))
    Console().print(table)


def _open_evaluated_model(folder: Path) -> "EvaluatedModel":
    from export.package import is_package

    if is_package(folder):
        from export.session import open_packaged_model

        return open_packaged_model(folder)
    from models.networks.loading import open_trained_model

    return open_trained_model(folder)


def _validation_part(folder: Path) -> str:
    from export.package import is_package, read_manifest
    from models.checkpoint import read_record

    record = read_manifest(folder) if is_package(folder) else read_record(folder)
    return next(file.name for file in record.data if file.part == "validation")
