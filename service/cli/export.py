"""`steadfast export` and `steadfast verify`: a package out of a checkpoint, and whether a package is whole."""

from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from export.figures.requirements import check_measured, read_requirement
from export.package import Manifest, Precision, read_manifest
from export.preconditions import check_request
from models.checkpoint import read_record
from models.folders import check_folder
from models.tables import format_count
from service.cli.measuring.measure import Explanations, Out, Robust, Twins, Wanted, measure_figures, need_for_measuring
from service.cli.options import CORRECTING, need
from service.cli.progress import console

if TYPE_CHECKING:
    from export.publishing import MeasurePackage

GraphPrecision = Annotated[
    Precision, typer.Option(metavar="NAME", help="Precision of the graph: int8 or fp32 for CPUs, fp16 for GPUs.")
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the package. Without it: the name of its task.")
]
MovedData = Annotated[
    str | None, typer.Option(metavar="DATA", help="Folder of the data it was trained on, if that has moved.")
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
        help="Correct texts before they are read: look-alikes of letters, and unknown words one typing error "
        "away from known ones. Needs WordNet. A checkpoint that was trained so is exported so without this.",
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
    check_request(checkpoint, out, name=name, data=data, twins=twin or (), correct=correct)
    check_measured(read_record(checkpoint), requirements, is_robust=robust)
    need("export", "torch", "transformers", "optimum", "onnx", *(CORRECTING if correct else ()))
    if robust:
        need_for_measuring(robust=True)
    from export.build import PackageForm, export_checkpoint

    manifest = export_checkpoint(
        checkpoint,
        out,
        precision=precision,
        form=PackageForm(portable=portable, with_fp32=with_fp32, correct=correct),
        name=name,
        data=data,
        twins=twin or (),
        measure=_measuring(checkpoint, data, explanations=explanations, robust=robust),
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
    console.print(f"{out}: {manifest.precision}, {known}\nnext: steadfast serve {quote(str(out))}")


def _measuring(checkpoint: Path, data: str | None, *, explanations: bool, robust: bool) -> "MeasurePackage":
    """The measurement of the reference and what else was asked for, on the part that the checkpoint was measured on."""
    source = read_record(checkpoint).source
    wanted = Wanted(robust=robust, explanations=explanations, reference=True)
    return partial(measure_figures, data or source.data, source.validation, wanted)


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

    The exit code is 1 if a check fails, and 2 if the package cannot be opened, as where a byte of it was changed.
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
