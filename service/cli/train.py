"""The commands that make a model: pretrain, train, evaluate, compare, export, verify.

Each imports what it needs when it is called, so that the commands that serve load without torch.
"""

import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from export.package import Precision
from models.errors import UserError
from models.tasks import TASKS
from models.tasks.masked_words import MASKED_WORDS

if TYPE_CHECKING:
    from models.evaluation import EvaluatedModel
    from models.measuring.robustness import Progress as Measuring
    from models.training.loop import Watcher

_console = Console(stderr=True)


class MissingExtra(UserError):
    """A part of Steadfast that is not installed."""


Config = Annotated[Path | None, typer.Option(help="TOML file with any of these settings; options here win.")]
MethodName = Annotated[
    str | None,
    typer.Option(
        help="plain, asa, attention-iat ...: an unknown name lists all. With another than the file's, "
        "its method settings are left out."
    ),
]
Base = Annotated[
    str | None,
    typer.Option(help="Encoder to start from: a folder, a checkpoint of another task too, a hub id, or bilstm."),
]
Data = Annotated[str | None, typer.Option(help="Folder of data files, or a hub id (ID or ID:CONFIGURATION).")]
TrainParts = Annotated[
    list[str] | None, typer.Option("--train", help="File (without ending) or split to train on; may be repeated.")
]
Validation = Annotated[str | None, typer.Option(help="File (without ending) or split to measure on.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
BatchSize = Annotated[int | None, typer.Option(help="Rows a batch.")]
LearningRates = Annotated[
    list[float] | None,
    typer.Option(help="Highest learning rate; given several times, trains at each and averages the weights."),
]
MaxTokens = Annotated[int | None, typer.Option(help="Longest row; longer texts are cut in training.")]
TrainingPrecision = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")]
RowCount = Annotated[
    int | None, typer.Option("--rows", help="Train on so many rows, drawn from all parts, the same in every run.")
]
Seed = Annotated[int | None, typer.Option(help="Fixes the order of rows and every random draw.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the method: --set tau=0.3."),
]


def train(
    config: Config = None,
    task: Annotated[str | None, typer.Option(help=f"What to answer: {', '.join(TASKS)}.")] = None,
    method: MethodName = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(
            help="File (without ending) or split whose texts alone are learnt from, by a method that does; "
            "may be repeated."
        ),
    ] = None,
    validation: Validation = None,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes; must not exist.")] = Path("checkpoint"),
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    rows: RowCount = None,
    seed: Seed = None,
    set_: Assignments = None,
) -> None:
    """Train a checkpoint. The same command goes on with a run that was stopped.

    Every other setting (warm-up, weight decay, clipping ...) can stand in the TOML file.

      steadfast train --task sentiment --method asa --base sentence-transformers/all-MiniLM-L6-v2 \\
          --data nyu-mll/glue:sst2 --out checkpoints/sentiment

    On several devices or processors of a machine: `torchrun --nproc-per-node N -m service.cli train ...`.
    """
    options = {
        "task": task, "method": method, "base": base, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate or None, "max_tokens": max_tokens, "precision": precision,
        "rows": rows, "seed": seed,
    }  # fmt: skip
    source = {"data": data, "train": train_part or None, "unlabelled": unlabelled or None, "validation": validation}
    _train(config, options, source, set_ or [], out)
    _console.print(f"next: steadfast export {out} -o PACKAGE")


def pretrain(
    config: Config = None,
    method: MethodName = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    validation: Validation = None,
    out: Annotated[Path, typer.Option(help="Where the new base goes; must not exist.")] = Path("base"),
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    seed: Seed = None,
    set_: Assignments = None,
) -> None:
    """Go on pre-training an encoder on texts without labels, by masked words. Goes on with a run that was stopped.

    What comes out is a base for `train`; it answers nothing itself. Data need a column `text` and no other.

      steadfast pretrain --method cline --base sentence-transformers/all-MiniLM-L6-v2 --data texts --out bases/cline

      steadfast train --task sentiment --base bases/cline --data nyu-mll/glue:sst2 --out checkpoints/sentiment
    """
    options = {
        "method": method, "base": base, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate or None, "max_tokens": max_tokens, "precision": precision, "seed": seed,
    }  # fmt: skip
    source = {"data": data, "train": train_part or None, "validation": validation}
    _train(config, {"task": MASKED_WORDS.name} | options, source, set_ or [], out)
    _console.print(f"next: steadfast train --task TASK --base {out}")


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
    _need("train", "torch", "sklearn", "scipy", "seqeval")
    from models.measuring.robustness import measure_parts, measure_robustness

    evaluated = _open_evaluated_model(model)
    parts = part or [_validation_part(model)]
    left_out: dict[str, str] = {}
    with _measured() as progress:
        if robust:
            report = measure_robustness(evaluated, data, parts, progress)
            found, left_out = report.found, report.left_out
        else:
            found = measure_parts(evaluated, data, parts, progress)
    for name, reason in left_out.items():
        _console.print(f"left out: {name}: {reason}", highlight=False)
    if as_json:
        typer.echo(json.dumps(found))
        return
    # The rate of each test of a suite is in the JSON alone.
    names = [name for name in dict.fromkeys(chain.from_iterable(found.values())) if "/" not in name]
    table = Table("part", *names)
    for name, metrics in found.items():
        table.add_row(name, *(_cell(metrics.get(metric)) for metric in names))
    Console().print(table)


def compare(
    methods: Annotated[str, typer.Option(help="Methods, with commas between them, such as plain,asa.")],
    out: Annotated[Path, typer.Option(help="Folder of the results and the table; one that is there is gone on with.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each method, with seeds that count up.")] = 3,
    config: Config = None,
    task: Annotated[str | None, typer.Option(help=f"What to answer: {', '.join(TASKS)}.")] = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    validation: Validation = None,
    rows: RowCount = None,
    measured_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Measure on at most so many rows of each set, the same for all, after every epoch too."
        ),
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="METHOD.NAME=VALUE", help="A setting of a method: --set asa.tau=0.3."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the checkpoints; else they go when measured.")] = False,
) -> None:
    """Train several methods with several seeds, measure them clean and on robustness sets, and write one table.

    The table is OUT/comparison.md and OUT/comparison.json, made of all results in OUT and made anew after each run. The
    same command goes on where it was stopped; with other methods or more seeds it adds theirs.

      steadfast compare --task sentiment --methods plain,asa --rows 10000 --out comparison \\
          --base sentence-transformers/all-MiniLM-L6-v2 --data nyu-mll/glue:sst2
    """
    _need("train", "torch", "transformers", "accelerate", "sklearn", "scipy", "seqeval")
    from models.measuring.comparison import Plan, plan_runs, write_markdown
    from models.measuring.comparison import compare as run
    from models.training.loop import Interrupted
    from models.training.settings import check_settings, read_toml

    given: dict[str, Any] = read_toml(config) if config else {}
    named = [name.strip() for name in methods.split(",") if name.strip()]
    if not named:
        raise typer.BadParameter(f"{methods!r}; name one or more, with commas", param_hint="--methods")
    own: dict[str, dict[str, Any]] = {name: {} for name in named}
    if given.get("method") in own:
        own[given["method"]] = dict(given.get("method_settings", {}))
    for name, value in map(_read_assignment, set_ or []):
        method, _, setting = name.partition(".")
        if method not in own or not setting:
            raise typer.BadParameter(f"{name!r}; write METHOD.NAME=VALUE of a method compared", param_hint="--set")
        own[method][setting] = value
    options = {
        "task": task, "base": base, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate or None,
        "max_tokens": max_tokens, "precision": precision, "rows": rows, "seed": seed,
    }  # fmt: skip
    given = _with_options(given, options, {"data": data, "train": train_part or None, "validation": validation})
    checked = [check_settings({**given, "method": name, "method_settings": settings}) for name, settings in own.items()]
    plan = Plan(
        runs=plan_runs(checked[0], own, seeds),
        out=out,
        measured_rows=measured_rows,
        keeps_checkpoints=keep,
        command=shlex.join(["steadfast", *sys.argv[1:]]),
    )
    try:
        with _bar() as bar:
            line = bar.add_task("", total=None)
            table = run(plan, _watcher(bar, line), _measurer(bar, line))
    except Interrupted as stopped:
        _console.print(str(stopped))
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        _console.print("stopped while measuring; the same command goes on")
        raise typer.Exit(130) from None
    typer.echo(write_markdown(table))


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder made by train.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PACKAGE", help="Where the package goes; must not exist.")
    ],
    precision: Annotated[Precision, typer.Option(help="int8 or fp32, or fp16 for GPUs.")] = "int8",
    name: Annotated[str | None, typer.Option(help="What the package is called; the task's name if not given.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the training data is now, if it has moved.")] = None,
    twin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PACKAGE", help="The same training by another method, to be compared with; may be repeated."
        ),
    ] = None,
    with_fp32: Annotated[
        bool, typer.Option("--with-fp32", help="Let the fp32 graph come along, for CPUs on which int8 differs.")
    ] = False,
) -> None:
    """Turn a checkpoint into a package that can be served, after checking that it answers as the checkpoint does.

    int8 weights are calibrated on training texts; if int8 costs more than half a point, part or all stays fp32.
    """
    _need("export", "torch", "transformers", "optimum", "onnx")
    from export.build import export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision=precision,
        name=name,
        data=data,
        twins=twin or (),
        with_fp32=with_fp32,
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


def _train(
    config: Path | None,
    options: Mapping[str, Any],
    source: Mapping[str, Any],
    assignments: Sequence[str],
    out: Path,
) -> None:
    """Train by the settings in a file, of which those given here win."""
    _need("train", "torch", "transformers", "accelerate")
    from models.training.loop import Interrupted
    from models.training.loop import train as run
    from models.training.replicas import join_replicas
    from models.training.settings import check_settings, read_toml

    given: dict[str, Any] = read_toml(config) if config else {}
    method = options["method"]
    if method is not None and given.get("method", method) != method:
        # The file's are another method's.
        given.pop("method_settings", None)
    given = _with_options(given, options, source)
    given["method_settings"] = given.get("method_settings", {}) | dict(map(_read_assignment, assignments))
    settings = check_settings(given)
    # Of several processes one speaks.
    _console.quiet = not join_replicas().is_main
    try:
        with _watched() as watcher:
            record = run(settings, out, watcher)
    except Interrupted as stopped:
        _console.print(str(stopped))
        raise typer.Exit(130) from None
    shown = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    _console.print(f"{out}: {record.kept}, {shown}")


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


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _need(extra: str, *modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(missing)} not installed; this command needs an extra: pip install 'steadfast[{extra}]'"
        )


def _with_options(given: Mapping[str, Any], options: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file with those of the command line in their place."""
    return {**given, **_without_none(options), "source": given.get("source", {}) | _without_none(source)}


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
def _bar() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console) as bar:
        yield bar


@contextmanager
def _watched() -> Iterator["Watcher"]:
    with _bar() as bar:
        yield _watcher(bar, bar.add_task("training", total=None))


@contextmanager
def _measured() -> Iterator["Measuring"]:
    with _bar() as bar:
        yield _measurer(bar, bar.add_task("reading", total=None))


def _watcher(bar: Progress, line: TaskID) -> "Watcher":
    from models.training.loop import Watcher

    def advance(step: int, steps: int, seen: Mapping[str, float]) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in seen.items())
        bar.update(line, completed=step, total=steps, description=shown)

    return Watcher(say=bar.console.print, advance=advance)


def _measurer(bar: Progress, line: TaskID) -> "Measuring":
    def progress(name: str, done: int, rows: int) -> None:
        bar.update(line, completed=done, total=rows or None, description=name)

    return progress
