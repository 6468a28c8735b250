"""The commands that make a model: train, evaluate, export, verify.

Each imports what it needs when it is called, so that the commands that serve load without torch.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from models.tasks import TASKS

if TYPE_CHECKING:
    from models.evaluation import Subject
    from models.training import Watcher

_console = Console(stderr=True)


class MissingExtra(ValueError):
    """A part of Steadfast that is not installed."""


def train(
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these settings; options here win.")] = None,
    task: Annotated[str | None, typer.Option(help=f"What to answer: {', '.join(TASKS)}.")] = None,
    method: Annotated[
        str | None, typer.Option(help="plain or asa; with another than the file's, its method settings are left out.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Encoder to start from: a folder, a hub id, or bilstm.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder of data files, or a hub id (ID or ID:CONFIGURATION).")
    ] = None,
    train_part: Annotated[
        list[str] | None, typer.Option("--train", help="File (without ending) or split to train on; may be repeated.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="File (without ending) or split to measure on.")] = None,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes; must not exist.")] = Path("checkpoint"),
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a batch.")] = None,
    learning_rate: Annotated[
        list[float] | None,
        typer.Option(help="Highest learning rate; given several times, trains at each and averages the weights."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest row; longer texts are cut in training.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes the order of rows and every random draw.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the method: --set tau=0.3."),
    ] = None,
) -> None:
    """Train a checkpoint. The same command goes on with a run that was stopped.

    Every other setting (warm-up, weight decay, clipping ...) can stand in the TOML file.

      steadfast train --task sentiment --method asa --base sentence-transformers/all-MiniLM-L6-v2 \\
          --data nyu-mll/glue:sst2 --out checkpoints/sentiment
    """
    _need("train", "torch", "transformers", "accelerate")
    from models.settings import check_settings, read_toml
    from models.training import Interrupted
    from models.training import train as run

    given: dict[str, Any] = read_toml(config) if config else {}
    if method is not None and given.get("method", method) != method:
        # The file's are another method's.
        given.pop("method_settings", None)
    source = {"data": data, "train": train_part or None, "validation": validation}
    options = {
        "task": task, "method": method, "base": base, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate or None, "max_tokens": max_tokens, "precision": precision, "seed": seed,
    }  # fmt: skip
    given |= _without_none(options)
    given["source"] = given.get("source", {}) | _without_none(source)
    given["method_settings"] = given.get("method_settings", {}) | dict(map(_read_assignment, set_ or []))
    settings = check_settings(given)
    try:
        with _watched() as watcher:
            record = run(settings, out, watcher)
    except Interrupted as stopped:
        _console.print(str(stopped))
        raise typer.Exit(130) from None
    shown = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    _console.print(f"{out}: {record.kept}, {shown}\nnext: steadfast export {out} -o PACKAGE")


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="CHECKPOINT|PACKAGE", help="Folder made by train or by export.")],
    data: Annotated[str, typer.Option(help="Folder of data files, or a hub id (ID or ID:CONFIGURATION).")],
    part: Annotated[list[str] | None, typer.Option(help="File (without ending) or split; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Measure a checkpoint under torch, or a package under ONNX Runtime, by the same metrics."""
    _need("train", "torch", "sklearn", "scipy", "seqeval")
    from models.data import load_part
    from models.evaluation import measure

    subject = _open_subject(model)
    found = {}
    for name in part or ["validation"]:
        with _console.status(f"{name}: reading"):
            rows = load_part(data, name, "validation", subject.task, subject.outputs, subject.reader)
        with _console.status(f"{name}: {rows.origin.rows} rows"):
            found[name] = measure(subject, rows.examples) | {"rows": rows.origin.rows}
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("part", *next(iter(found.values())))
    for name, metrics in found.items():
        table.add_row(name, *(f"{value:.4f}" if isinstance(value, float) else str(value) for value in metrics.values()))
    Console().print(table)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder made by train.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PACKAGE", help="Where the package goes; must not exist.")
    ],
    precision: Annotated[str, typer.Option(help="int8 or fp32.")] = "int8",
    name: Annotated[str | None, typer.Option(help="What the package is called; the task's name if not given.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the training data is now, if it has moved.")] = None,
    twin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PACKAGE", help="The same training by another method, to be compared with; may be repeated."
        ),
    ] = None,
) -> None:
    """Turn a checkpoint into a package that can be served, after checking that it answers as the checkpoint does.

    int8 weights are calibrated on training texts; if int8 costs more than half a point, part or all stays fp32.
    """
    _need("export", "torch", "transformers", "optimum", "onnx")
    if precision not in ("int8", "fp32"):
        raise typer.BadParameter(f"{precision!r}; choose int8 or fp32", param_hint="--precision")
    from export.build import export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision="fp32" if precision == "fp32" else "int8",
        name=name,
        data=data,
        twins=twin or (),
        progress=_console.print,
    )
    quality = manifest.quality
    _console.print(
        f"{out}: {manifest.precision}, {quality.metric} {quality.exported:.4f} "
        f"(fp32 {quality.fp32:.4f}, {quality.rows} rows)\n"
        f"next: steadfast serve {out}"
    )


def verify(
    package: Annotated[Path, typer.Argument(help="Folder made by export.")],
    data: Annotated[str | None, typer.Option(help="Its data set, to measure the quality again.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="What it was made from, to compare with torch again.")] = None,
) -> None:
    """Check that a package is whole and answers as it did when it was made; exit code 1 if it does not."""
    if data is not None:
        _need("train", "sklearn", "scipy", "seqeval")
    if checkpoint is not None:
        _need("export", "torch", "transformers", "optimum", "onnx")
    from export.verification import verify_package

    report = verify_package(package, checkpoint=checkpoint, data=data)
    for check in report.checks:
        Console().print(f"{'[green]passed' if check.passed else '[bold red]FAILED'}[/] {check.name}: {check.detail}")
    if not report.passed:
        raise typer.Exit(1)


def _open_subject(folder: Path) -> "Subject":
    from export.package import is_package

    if is_package(folder):
        from export.session import open_subject as open_package_subject

        return open_package_subject(folder)
    from models.batches import open_subject as open_checkpoint_subject

    return open_checkpoint_subject(folder)


def _need(extra: str, *modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(missing)} not installed; this command needs an extra: pip install 'steadfast[{extra}]'"
        )


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _read_assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}; write NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@contextmanager
def _watched() -> Iterator["Watcher"]:
    from models.training import Watcher

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console) as bar:
        line = bar.add_task("training", total=None)

        def advance(step: int, steps: int, seen: Mapping[str, float]) -> None:
            shown = " ".join(f"{name} {value:.3f}" for name, value in seen.items())
            bar.update(line, completed=step, total=steps, description=shown)

        yield Watcher(say=bar.console.print, advance=advance)
