"""`steadfast export` and `steadfast verify`: a package out of a checkpoint, and whether a package is whole."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from export.package import Precision
from service.cli.progress import console
from service.cli.training_options import need


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
    need("export", "torch", "transformers", "optimum", "onnx")
    from export.build import export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision=precision,
        name=name,
        data=data,
        twins=twin or (),
        with_fp32=with_fp32,
        say=console.print,
    )
    quality = manifest.quality
    console.print(
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
        need("train", "sklearn", "scipy", "seqeval")
    if checkpoint is not None:
        need("export", "torch", "transformers", "optimum", "onnx")
    from export.verification import verify_package

    report = verify_package(package, checkpoint=checkpoint, data=data)
    for check in report.checks:
        Console().print(f"{'[green]passed' if check.passed else '[bold red]FAILED'}[/] {check.name}: {check.detail}")
    if not report.passed:
        raise typer.Exit(1)
