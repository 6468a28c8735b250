"""`steadfast evaluate`: the metrics of a checkpoint or a package."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export.package import Manifest, is_package, read_manifest
from models.checkpoint import TrainingRecord, read_record
from models.files.layout import Layout, check_layout
from models.folders import check_folder
from models.tables import format_cell
from models.tasks import find_task
from service.cli.columns import layout_of, layout_options
from service.cli.measuring.faithfulness import ItsCheckpoint, Rationales, Rows, show_faithfulness
from service.cli.options import need, with_options
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from models.evaluation import EvaluatedModel


Models = Annotated[
    list[Path],
    typer.Argument(metavar="MODEL", help="Folder of a checkpoint or of a package, made by train or export."),
]
Data = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="Folder of csv, jsonl or parquet files, or a data set on the Hugging Face hub: ID or ID:CONFIGURATION.",
    ),
]
Parts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PART",
        help="Part to measure on: a file's name without its ending, or a split on the hub. May be repeated. "
        "Without it: the part that training measured on.",
    ),
]
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="Measure also with typos and other noise, on the task's robustness sets, and with exchanged names.",
    ),
]


@with_options(layout_options())
def evaluate(
    model: Models,
    data: Data,
    part: Parts = None,
    robust: Robust = False,
    explanations: Annotated[
        bool,
        typer.Option("--explanations", help="Measure instead how faithful the explanations of packages are."),
    ] = False,
    rows: Rows = None,
    rationales: Rationales = None,
    checkpoint: ItsCheckpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    **names: Any,
) -> None:
    """Measure how well a checkpoint or a package answers, or how faithful a package's explanations are.

    ```sh
    steadfast evaluate zoo/sentiment --data data/sentiment \\
        --part sst2_validation --robust
    steadfast evaluate zoo/sentiment --data data/sentiment --explanations
    ```

    A checkpoint computes with torch, a package with ONNX Runtime; the metrics are the same.

    With `--robust`, sets that the data folder lacks are named and left out. `consistency` is the share of groups of a
    contrast set that are right throughout, `failure_rate` the share of CheckList cases that fail, and `name_gap` the
    largest difference that names or terms of identity make to the mean score of sentences that are else the same.

    With `--explanations`, the words that an explanation ranks first are taken out of each text: `comprehensiveness` is
    how far the answer's probability then falls (higher is better), `sufficiency` how far it falls when only they are
    left (lower is better). Both are means over the first 1, 5, 10, 20 and 50 % of the words, with 95 % intervals, and
    stand beside words in random order. Several packages make one table.

    Columns and labels have the names that training or import was given; options name others.
    """
    layout = layout_of(names)
    if explanations and robust:
        raise typer.BadParameter("--robust measures answers, --explanations measures explanations; choose one")
    if explanations:
        show_faithfulness(model, data, part or (), rows, rationales or (), checkpoint, layout, as_json=as_json)
    elif len(model) > 1 or rationales or checkpoint or rows is not None:
        raise typer.BadParameter("several models, --rows, --rationales and --checkpoint need --explanations")
    else:
        _show_metrics(model[0], data, part or [], layout, robust=robust, as_json=as_json)


def _show_metrics(model: Path, data: str, parts: Sequence[str], layout: Layout, *, robust: bool, as_json: bool) -> None:
    record = _read_origin(model)
    check_folder(data)
    check_layout(layout, find_task(record.task))
    layout = layout.over(record.layout)
    parts = parts or [file.name for file in record.data if file.part == "validation"]
    if not parts:
        raise typer.BadParameter(f"{model} does not say what it was measured on; name a part", param_hint="--part")
    need("train", *(() if is_package(model) else ("torch", "transformers")), "sklearn", "scipy", "seqeval")
    from models.measuring.name_gap import measure_name_gap
    from models.measuring.robustness import measure_parts, measure_robustness

    evaluated = _open_evaluated_model(model)
    left_out: Mapping[str, str] = {}
    with watched_measuring() as progress:
        if robust:
            report = measure_robustness(evaluated, data, parts, progress, layout=layout)
            gap = measure_name_gap(evaluated)
            found, left_out = report.found | ({"names": {"name_gap": gap.gap}} if gap else {}), report.left_out
        else:
            found = measure_parts(evaluated, data, parts, progress, layout)
    for name, reason in left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    _show(found, as_json=as_json)


def _show(found: Mapping[str, Mapping[str, float]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    # A test of a suite has its name after a slash; those rates are only in the JSON.
    names = [name for name in dict.fromkeys(chain.from_iterable(found.values())) if "/" not in name]
    table = Table("part", *names)
    for name, metrics in found.items():
        table.add_row(name, *(format_cell(metrics.get(metric)) for metric in names))
    Console().print(table)


def _read_origin(folder: Path) -> Manifest | TrainingRecord:
    """The record of a model's data, and of the parts that training measured on.

    Raises:
        PackageError, CheckpointError: the folder is not there, holds neither a checkpoint nor a package, or its record
            is damaged.
    """
    return read_manifest(folder) if is_package(folder) else read_record(folder)


def _open_evaluated_model(folder: Path) -> "EvaluatedModel":
    if is_package(folder):
        from export.session import open_packaged_model

        return open_packaged_model(folder)
    from models.networks.loading import open_trained_model

    return open_trained_model(folder)
