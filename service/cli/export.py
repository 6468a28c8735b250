"""`steadfast export` and `steadfast verify`: a package out of a checkpoint, and whether a package is whole."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from export.package import Manifest, Precision, read_manifest
from export.preconditions import check_request
from export.requirements import check_measured, read_requirement
from models.checkpoint import read_record
from models.folders import check_folder
from models.tables import format_count
from service.cli.measuring.faithfulness import MEASURED_ROWS, MEASURED_TOKENS
from service.cli.options import need
from service.cli.progress import console, watched_measuring

if TYPE_CHECKING:
    from export.build import Measured
    from export.package import Faithfulness
    from models.progress import ReportProgress
    from service.answers.predictor import Predictor

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write the package to. It must not exist.")
]
GraphPrecision = Annotated[
    Precision, typer.Option(metavar="NAME", help="Precision of the graph: int8 or fp32 for CPUs, fp16 for GPUs.")
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the package. Without it: the name of its task.")
]
MovedData = Annotated[
    str | None, typer.Option(metavar="DATA", help="Folder of the data it was trained on, if that has moved.")
]
Twins = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PACKAGE",
        help="Package of the same training by another method, or with noise or without; its figures are kept beside "
        "this one's. May be repeated.",
    ),
]
WithFp32 = Annotated[
    bool, typer.Option("--with-fp32", help="Add the fp32 graph, which answers on CPUs where int8 gives other answers.")
]
Portable = Annotated[
    bool,
    typer.Option(
        "--portable",
        help="Use standard ONNX operators only, for providers other than ONNX Runtime's own CPU and CUDA. int8 answers "
        "then differ a little from those of the usual graph, and may cost more.",
    ),
]
Correct = Annotated[
    bool,
    typer.Option(
        "--correct",
        help="Correct texts before they are read: look-alikes of letters, and unknown words one typing error away from "
        "known ones. Needs WordNet. A checkpoint that was trained so is exported so without this.",
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
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIGURE>=NUMBER",
        help="Make no package that falls short of this, such as 'accuracy>=0.90', 'typos-1>=0.70' or 'name-gap<=0.1'; "
        "all but metrics need --robust. May be repeated.",
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


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint, made by train.")],
    out: Out,
    precision: GraphPrecision = "int8",
    name: Name = None,
    data: MovedData = None,
    twin: Twins = None,
    with_fp32: WithFp32 = False,
    portable: Portable = False,
    correct: Correct = False,
    explanations: Explanations = False,
    robust: Robust = False,
    require: Require = None,
) -> None:
    """Turn a checkpoint into a package that can be served, if the package answers as the checkpoint does.

    ```sh
    steadfast export checkpoints/sentiment -o packages/sentiment
    steadfast export checkpoints/sentiment -o packages/sentiment-2 \\
        --robust --require 'typos-1>=0.70'
    ```

    Where int8 costs more than half a point of the task's metric, parts of the graph stay in fp32, or all of it.
    """
    requirements = [read_requirement(written) for written in require or ()]
    check_request(checkpoint, out, name=name, data=data, twins=twin or ())
    check_measured(read_record(checkpoint), requirements, is_robust=robust)
    need("export", "torch", "transformers", "optimum", "onnx")
    if robust:
        need("train", "textblob", "lemminflect")
    from export.build import PackageForm, export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision=precision,
        form=PackageForm(portable=portable, with_fp32=with_fp32, correct=correct),
        name=name,
        data=data,
        twins=twin or (),
        measure=partial(_measure, checkpoint, data, explanations, robust) if explanations or robust else None,
        requirements=requirements,
        say=console.print,
    )
    say_made(out, manifest)


def say_made(out: Path, manifest: Manifest) -> None:
    """Print how good a new package is, as far as that was measured, and how to go on."""
    quality = manifest.quality
    known = (
        f"{quality.metric} {quality.exported:.4f} (fp32 {quality.fp32:.4f}, {format_count(quality.rows, 'record')})"
        if quality.measured
        else "quality not measured, because no --data were given"
    )
    console.print(f"{out}: {manifest.precision}, {known}\nnext: steadfast serve {out}")


def _measure(checkpoint: Path, data: str | None, explanations: bool, robust: bool, package: Path) -> "Measured":
    """The figures of a package that were asked for, on the validation part of the checkpoint that it is made from."""
    from export.build import Measured
    from service.answers.opening import open_measured
    from service.measuring.passport import measure_passport

    source = read_record(checkpoint).source
    place = data or source.data
    with open_measured(package) as predictor, watched_measuring() as progress:
        return Measured(
            faithfulness=_measure_explanations(predictor, place, source.validation, progress) if explanations else {},
            passport=measure_passport(predictor, place, source.validation, progress, console.print) if robust else None,
        )


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


def verify(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a package, made by export.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Measure its quality again, on its data set: a folder or an id on the hub."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Compare it with torch again, on the checkpoint that it was made from."),
    ] = None,
) -> None:
    """Check that a package is whole and answers as it did when it was made.

    ```sh
    steadfast verify packages/sentiment
    ```

    The exit code is 1 if a check fails.
    """
    read_manifest(package)
    if data is not None:
        check_folder(data)
        need("train", "sklearn", "scipy", "seqeval")
    if checkpoint is not None:
        read_record(checkpoint)
        need("export", "torch", "transformers", "optimum", "onnx")
    from export.verification import verify_package

    report = verify_package(package, checkpoint=checkpoint, data=data)
    for check in report.checks:
        Console().print(f"{'[green]passed' if check.passed else '[bold red]FAILED'}[/] {check.name}: {check.detail}")
    if not report.passed:
        raise typer.Exit(1)
