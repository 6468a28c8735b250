"""`steadfast export` and `steadfast verify`: a package out of a checkpoint, and whether a package is whole."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from export.package import Faithfulness, Precision, read_manifest
from export.preconditions import check_request
from models.checkpoint import read_record
from models.folders import check_folder
from models.tables import format_count
from service.cli.measuring.faithfulness import MEASURED_ROWS, MEASURED_TOKENS
from service.cli.options import need
from service.cli.progress import console, watched_measuring

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
        help="Package of the same training by another method; its figures are kept beside this one's. May be repeated.",
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
) -> None:
    """Turn a checkpoint into a package that can be served, if the package answers as the checkpoint does.

    ```sh
    steadfast export checkpoints/sentiment -o packages/sentiment
    ```

    int8 takes its ranges from training texts. Where int8 costs more than half a point of the task's metric, parts of
    the graph stay in fp32, or all of it.
    """
    check_request(checkpoint, out, name=name, data=data, twins=twin or ())
    need("export", "torch", "transformers", "optimum", "onnx")
    from export.build import PackageForm, export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision=precision,
        form=PackageForm(portable=portable, with_fp32=with_fp32, correct=correct),
        name=name,
        data=data,
        twins=twin or (),
        measure_explanations=partial(_measure_explanations, checkpoint, data) if explanations else None,
        say=console.print,
    )
    quality = manifest.quality
    console.print(
        f"{out}: {manifest.precision}, {quality.metric} {quality.exported:.4f} "
        f"(fp32 {quality.fp32:.4f}, {format_count(quality.rows, 'record')})\n"
        f"next: steadfast serve {out}"
    )


def _measure_explanations(checkpoint: Path, data: str | None, package: Path) -> dict[str, Faithfulness]:
    """How faithful a package's explanations are on the validation part of the checkpoint that it is made from."""
    from models.data import load_items
    from service.cli.opening import open_measured
    from service.measuring.faithfulness import NothingToMeasure, measure_explanations

    source = read_record(checkpoint).source
    with open_measured(package) as predictor, watched_measuring() as progress:
        items = load_items(data or source.data, source.validation, predictor.task, MEASURED_ROWS)
        try:
            return measure_explanations(
                predictor, items, progress, masks=False, most_tokens=MEASURED_TOKENS
            ).for_manifest()
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
