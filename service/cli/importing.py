"""`steadfast import`: a package out of a transformers checkpoint that was trained elsewhere."""

from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.errors import ExportError
from export.preconditions import check_place, refuse_package
from models.checkpoint import Licences
from models.files.layout import check_layout
from models.folders import check_folder
from models.tasks import TASKS, find_task
from models.tasks.task import AnyTask
from service.cli.columns import layout_of, layout_options
from service.cli.export import GraphPrecision, Name, Portable, WithFp32, say_made
from service.cli.measuring.measure import Out, Wanted, measure_figures
from service.cli.options import need, with_options
from service.cli.progress import console

if TYPE_CHECKING:
    from export.importing.stock import ImportSettings

Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Folder of a transformers checkpoint, or its id on the Hugging Face hub.",
        show_default=False,
    ),
]
TaskToAnswer = Annotated[
    str,
    typer.Option("--task", metavar="NAME", help=f"Task that the checkpoint was trained for: {', '.join(TASKS)}."),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="Names for the labels, in the order of the head's numbers. Needed where the checkpoint names them "
        "`LABEL_0`, `LABEL_1`; without it the checkpoint's own.",
    ),
]
ScoreRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Lowest and highest number of the head, for a task that gives a score."),
]
LabelThreshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="From this probability on, a text has a label, for a task that gives any number of labels. Without it: "
        "0.5.",
    ),
]
ImportData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Records to calibrate and measure on: a folder of csv, jsonl or parquet files, or a data set on the "
        "Hugging Face hub. Without it, made-up texts calibrate int8, and the quality is not measured.",
    ),
]
TrainPart = Annotated[
    str, typer.Option("--train", metavar="PART", help="Part of the data whose texts set the ranges of int8.")
]
ValidationPart = Annotated[str, typer.Option("--validation", metavar="PART", help="Part of the data to measure on.")]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        min=8, help="Most tokens that the model reads at once. Without it: 512, or as many as it was made for."
    ),
]
Licence = Annotated[
    str, typer.Option("--licence", metavar="TEXT", help="Licence of the weights, for the card of the package.")
]


@with_options(layout_options())
def import_model(
    model: Checkpoint,
    task: TaskToAnswer,
    out: Out,
    labels: Labels = None,
    score_range: ScoreRange = None,
    label_threshold: LabelThreshold = None,
    data: ImportData = None,
    train: TrainPart = "train",
    validation: ValidationPart = "validation",
    precision: GraphPrecision = "int8",
    name: Name = None,
    max_tokens: MaxTokens = None,
    with_fp32: WithFp32 = False,
    portable: Portable = False,
    licence: Licence = "not stated",
    **names: Any,
) -> None:
    """Turn a transformers checkpoint that was trained elsewhere into a package that can be served.

    ```sh
    steadfast import textattack/bert-base-uncased-SST-2 \\
        --task sentiment --labels negative,positive -o packages/sentiment
    ```

    Labels are known by their names, whatever their order and case. The gates are those of `export`.
    """
    chosen = _check_request(model, task, out, name, score_range, label_threshold, data)
    layout = layout_of(names)
    check_layout(layout, chosen)
    need("export", "torch", "transformers", "optimum", "onnx")
    from export.build import PackageForm
    from export.importing import build

    manifest = build.import_checkpoint(
        _settings(model, chosen, labels, score_range, label_threshold, max_tokens, licence),
        out,
        precision=precision,
        form=PackageForm(portable=portable, with_fp32=with_fp32),
        name=name,
        data=build.ImportData(data=data, train=train, validation=validation, layout=layout) if data else None,
        measure=partial(measure_figures, data, validation, Wanted(reference=True)) if data else None,
        say=console.print,
    )
    say_made(out, manifest)


def _settings(
    model: str,
    task: AnyTask,
    labels: str | None,
    score_range: tuple[float, float] | None,
    label_threshold: float | None,
    max_tokens: int | None,
    licence: str,
) -> "ImportSettings":
    from export.importing.stock import USUAL_THRESHOLD, ImportSettings

    return ImportSettings(
        base=model,
        task=task,
        labels=tuple(label.strip() for label in labels.split(",")) if labels else None,
        score_range=score_range,
        label_threshold=USUAL_THRESHOLD if label_threshold is None else label_threshold,
        max_tokens=max_tokens,
        licences=Licences(weights=licence),
    )


def _check_request(
    model: str,
    task: str,
    out: Path,
    name: str | None,
    score_range: tuple[float, float] | None,
    label_threshold: float | None,
    data: str | None,
) -> AnyTask:
    """Refuse what cannot succeed before torch is loaded; returns the task.

    Raises:
        UnknownTask, ExportError, NotWritable, NoSuchFolder.
    """
    chosen = find_task(task)
    check_place(out, name)
    check_folder(model)
    refuse_package(
        model, f"serve it as it is: steadfast serve {quote(model)}; or name a transformers checkpoint to import"
    )
    if data is not None:
        check_folder(data)
    if chosen.name not in TASKS:
        raise ExportError(f"{chosen.name} answers nothing that could be served; choose one of: {', '.join(TASKS)}")
    _check_range(chosen, score_range)
    _check_threshold(chosen, label_threshold)
    return chosen


def _check_range(task: AnyTask, score_range: tuple[float, float] | None) -> None:
    """Refuse a range that is needed and missing, or given and not needed, or empty; raises ExportError."""
    if task.outputs.score_range is None:
        if score_range is not None:
            raise ExportError(f"--score-range: {task.name} gives no score; leave it out")
    elif score_range is None:
        low, high = task.outputs.score_range
        raise ExportError(
            "the checkpoint does not say in which range its numbers are; give it, such as "
            f"--score-range {low:g} {high:g}"
        )
    elif not score_range[0] < score_range[1]:
        raise ExportError("--score-range: the first number must be the lower")


def _check_threshold(task: AnyTask, label_threshold: float | None) -> None:
    """Refuse a threshold for a task that gives no several labels; raises ExportError."""
    if label_threshold is not None and task.head != "multi-label-classification":
        raise ExportError(f"--label-threshold: {task.name} does not give any number of labels; leave it out")
