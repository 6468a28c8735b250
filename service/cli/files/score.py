"""`steadfast score`: answers for every record of files."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.tasks import ENDPOINTS
from models.tasks.task import takes_list
from service.answers.contract import Options
from service.cli.files.options import dialect_of, file_options, selection_of
from service.cli.files.standing import ProgressKind, shown_standing
from service.cli.options import Certify, Explain, PackageFolder, TaskName, explain_options, optional, with_options

if TYPE_CHECKING:
    from service.files.job import ScoringJob
    from service.outcomes.columns import WantedColumns

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Files to read, folders, patterns in quotes, `-`, or names such as `s3://bucket/a.parquet`.",
    ),
]
OutputName = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write; `-`; `FOLDER/` for a file of each one read, or `FOLDER/*.parquet`.",
    ),
]
ShowProgress = Annotated[
    ProgressKind, typer.Option("--progress", help="A bar or lines for people, a line of JSON a second, or nothing.")
]
Scores = Annotated[
    bool,
    typer.Option(
        "--scores/--no-scores", help="Write the score of every label, choice or span, or of the answer alone."
    ),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Add the column `review`: true where the answer is less probable than this, or none."
    ),
]

_SUFFIX = "_column"


def column_options() -> Iterator[inspect.Parameter]:
    """An option for each field of any task, to name the column that holds it."""
    tasks = [task for able in ENDPOINTS.values() for task in able]
    for field in dict.fromkeys(field for task in tasks for field in task.columns):
        reading = [task for task in tasks if field in task.columns]
        known_as = dict.fromkeys(name for task in reading for name in task.columns[field])
        lists = " as a JSON list in csv" if any(takes_list(task.item, field) for task in reading) else ""
        yield optional(
            field + _SUFFIX,
            str,
            metavar="NAME",
            help=f"Column that holds the {field.replace('_', ' ')}{lists}, for "
            f"{', '.join(dict.fromkeys(task.endpoint for task in reading))}. "
            f"Without it: the first there is of {', '.join(known_as)}.",
            rich_help_panel="Columns of the input",
        )


@with_options([*file_options(), *column_options()])
def score(
    task: TaskName,
    sources: Sources,
    target: OutputName,
    explain: Explain = None,
    certify: Certify = None,
    scores: Scores = True,
    min_confidence: MinConfidence = None,
    package: PackageFolder = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output, and start a run that was interrupted anew.")
    ] = False,
    progress: ShowProgress = "auto",
    **given: Any,
) -> None:
    """Answer for every record of files.

    ```sh
    steadfast score sentiment reviews.csv.gz -o scored.parquet \\
        --text-column review
    steadfast score nli claims.csv -o judged.csv \\
        --premise-column article --hypothesis-column claim
    ```

    The output holds the input's records in their order, with all columns of the input and those of the answer. The
    answer's columns are called as in an HTTP answer, with one `score_...` for each label and an `error`; where the
    input has a column of that name, the answer's is called `prediction_...`. Nested answers, such as entities, are JSON
    in csv, and lists and structs in parquet.

    `--explain` adds the column `explanation`, which lists the words with their scores; `explanation_method`,
    `explanation_target` and `explanation_rest` say how to read them. `--certify` adds `certificate`, which says whether
    a typo or a synonym would change the answer, and `--min-confidence` adds `review`, for a person to look at.

    A record that cannot be answered says why in `error`. Exit codes: 0 all answered, 1 failed, 2 wrong use, 3 some
    records refused, 130 interrupted. After Ctrl-C or a power cut, the same command continues where it stopped.
    """
    from service.outcomes.columns import WantedColumns

    options = Options(explain=explain_options(explain), certify=certify)
    wanted = WantedColumns(options=options, scores=scores, min_confidence=min_confidence)
    _score(task, package, _make_job(sources, target, wanted, given, overwrite=overwrite), progress)


def _make_job(
    sources: list[str], target: str, wanted: "WantedColumns", given: Mapping[str, Any], *, overwrite: bool
) -> "ScoringJob":
    from service.files.job import ScoringJob
    from service.files.merging import name_of_shard
    from service.files.target import Target

    selection = selection_of(given)
    name = target if selection.shard is None else name_of_shard(target, selection.shard)
    return ScoringJob(
        sources=sources,
        target=Target(name, given["output_format"]),
        columns={name.removesuffix(_SUFFIX): one for name, one in given.items() if one and name.endswith(_SUFFIX)},
        wanted=wanted,
        overwrite=overwrite,
        dialect=dialect_of(given),
        kind=given["input_format"],
        selection=selection,
        errors=given["errors"],
        max_errors=given["max_errors"],
    )


def _score(task: str, package: Path | None, job: "ScoringJob", kind: ProgressKind) -> None:
    from service.answers.opening import open_predictor
    from service.files.scoring import score_file

    with open_predictor(task, package) as predictor:
        try:
            with ending_well(job.partial), shown_standing(kind) as progress:
                counts = score_file(predictor, job, progress)
        except KeyboardInterrupt:
            kept = f"; {job.partial} holds the answers so far" if job.partial.exists() else ""
            typer.echo(f"stopped{kept}; run the same command to continue", err=True)
            raise typer.Exit(130) from None
    typer.echo(str(counts), err=True)
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)


@contextmanager
def ending_well(partial: Path) -> Iterator[None]:
    """End the command with 1 and one sentence where its work fails, which is another thing than wrong use."""
    from models.files.rows import DamagedFile
    from service.files.counts import FAILED
    from service.files.scoring import RunStopped
    from service.files.source import InputChanged

    try:
        yield
    except (RunStopped, DamagedFile, InputChanged) as error:
        typer.echo(f"steadfast: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        kept = f"; make room, and run the same command to go on from {partial}" if partial.exists() else ""
        place = f"{error.filename or partial}: "
        typer.echo(f"steadfast: {place}{error.strerror or error}{kept}", err=True)
        raise typer.Exit(FAILED) from None
