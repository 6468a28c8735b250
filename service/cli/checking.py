"""`steadfast data check`: what a data set holds, before anything is trained on it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.files.layout import Layout, check_layout
from models.folders import NoSuchFolder
from models.tables import format_count
from models.tasks import find_task
from service.cli.columns import layout_of, layout_options
from service.cli.options import Command, with_options
from service.cli.progress import watched_measuring
from service.cli.terminal import harmless

if TYPE_CHECKING:
    from models.training.data_check import DataReport, PartReport

MOST_LABELS = 12
"""Labels of a part that the lines below the table name."""

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Look through data before training on them.

    ```sh
    steadfast data check reviews --task sentiment
    ```
    """


@app.command(cls=Command)
@with_options(layout_options())
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of data files, each of which is a part.")],
    task: Annotated[str, typer.Option(metavar="NAME", help="Task that the data are for.")],
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Part to look through. May be repeated. Without it: all of them."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Part that names the labels, where the task has none. [default: train]"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Labels in the order of their numbers, as for `train`.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a model, a checkpoint or a package, whose tokens lengths count. Without it: words.",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=8, help="Length at which training would cut.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    **names: Any,
) -> None:
    """Show what training and measuring would read of a folder: columns, labels, lengths, and what would spoil figures.

    ```sh
    steadfast data check reviews --task sentiment --tokenizer zoo/sentiment
    ```

    Bad records are those that training leaves out; more than one in a hundred makes a part unusable, and then the exit
    code is 1. A text that stands in a record before is a duplicate, in two parts a leak, and with two right answers a
    conflict. No model is loaded, and of each text only a digest is kept in memory.
    """
    if not folder.is_dir():
        raise NoSuchFolder(f"{folder}: no such folder; name the folder that holds the data files")
    given = None if labels is None else tuple(map(str.strip, labels.split(",")))
    report = _look(folder, task, part or (), train or (), given, tokenizer, max_tokens, layout_of(names))
    _show(report, "words" if tokenizer is None else "tokens", max_tokens, as_json=as_json)
    if not report.is_usable:
        raise typer.Exit(1)


def _look(
    folder: Path,
    task: str,
    parts: Sequence[str],
    train: Sequence[str],
    labels: tuple[str, ...] | None,
    tokenizer: Path | None,
    max_tokens: int,
    layout: Layout,
) -> "DataReport":
    from models.checkpoint import DataSource
    from models.files.parts import has_part
    from models.training.data_check import check_data, find_parts, find_reader
    from models.training.labels import with_labels
    from models.training.settings import BILSTM, TrainingSettings

    found = find_task(task)
    check_layout(layout, found)
    parts = parts or find_parts(folder)
    train = train or (["train"] if has_part(str(folder), "train") else parts)
    source = DataSource(data=str(folder), train=tuple(train), columns=layout.columns, label_map=layout.label_map)
    reader = find_reader(tokenizer)
    with watched_measuring() as progress:
        settings = with_labels(TrainingSettings(task=task, base=BILSTM, source=source, labels=labels))
        return check_data(str(folder), parts, found, settings.outputs, reader, layout, max_tokens, progress)


def _show(report: "DataReport", unit: str, max_tokens: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"usable": report.is_usable, "unit": unit}))
        return
    shown = Console()
    table = Table("part", "records", "bad", "left out", "duplicates", "conflicts")
    for part in report.parts:
        figures = (part.records, part.bad, part.left_out, part.duplicates, part.conflicting)
        table.add_row(harmless(part.name), *(f"{figure:,}" for figure in figures))
    shown.print(table)
    for part in report.parts:
        for line in _lines(part, unit, max_tokens):
            shown.print(harmless(f"{part.name}: {line}"), markup=False, highlight=False, soft_wrap=True)
    for leak in report.leaks:
        texts = f"{format_count(leak.texts, 'text')} of {leak.parts[0]} in {leak.parts[1]} too"
        other = f", {leak.conflicting:,} with another right answer" if leak.conflicting else ""
        shown.print(harmless(texts + other), markup=False, highlight=False, soft_wrap=True)


def _lines(part: "PartReport", unit: str, max_tokens: int) -> Iterator[str]:
    """All about a part that is no number of the table."""
    if part.columns:
        yield "columns " + ", ".join(f"{name} from {column}" for name, column in part.columns.items())
    if part.labels:
        yield "labels " + _mix(part.labels)
    if part.lengths is not None:
        found = part.lengths
        yield (
            f"{unit}: {found.median:,} in the middle, 95 % have {found.most:,} at most, the longest {found.longest:,}; "
            f"{found.cut:,} over {max_tokens:,}"
        )
    if part.fault is not None:
        yield f"UNUSABLE: {part.fault.removeprefix(part.name + ': ')}"
    yield from part.reasons


def _mix(labels: Mapping[str, int]) -> str:
    whole = sum(labels.values())
    most = list(labels.items())[:MOST_LABELS]
    more = [f"and {len(labels) - MOST_LABELS} more"] if len(labels) > MOST_LABELS else []
    return ", ".join([*(f"{name} {count:,} ({count / whole:.0%})" for name, count in most), *more])
