"""`steadfast score`: answers for every record of a file."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.tasks import ENDPOINTS
from models.tasks.task import takes_list
from service.answers.contract import Options
from service.cli.options import Certify, Explain, PackageFolder, TaskName, explain_options, optional, with_options

if TYPE_CHECKING:
    from service.files.scoring import ScoringJob

Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="File to read: .csv, .jsonl, either with .gz, or .parquet.")
]
Target = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, of any of the same kinds.")
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


@with_options(column_options())
def score(
    task: TaskName,
    source: Source,
    target: Target,
    explain: Explain = None,
    certify: Certify = None,
    scores: Scores = True,
    min_confidence: MinConfidence = None,
    package: PackageFolder = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output, and start a run that was interrupted anew.")
    ] = False,
    **columns: Any,
) -> None:
    """Answer for every record of a file.

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

    A record that cannot be answered says why in `error`. The exit code is 1 if not one of them could be answered.

    Interrupted, by Ctrl-C or a power cut, the same command continues where it stopped.
    """
    from service.files.scoring import ScoringJob
    from service.outcomes.columns import WantedColumns

    chosen = {name.removesuffix(_SUFFIX): column for name, column in columns.items() if column is not None}
    options = Options(explain=explain_options(explain), certify=certify)
    wanted = WantedColumns(options=options, scores=scores, min_confidence=min_confidence)
    job = ScoringJob(source=source, target=target, columns=chosen, wanted=wanted, overwrite=overwrite)
    _score(task, package, job)


def _score(task: str, package: Path | None, job: "ScoringJob") -> None:
    from models.files.rows import DamagedFile
    from service.answers.opening import open_predictor
    from service.cli.progress import shown_progress
    from service.files.counts import FAILED
    from service.files.scoring import RunStopped, score_file
    from service.files.source import InputChanged

    with open_predictor(task, package) as predictor:
        try:
            with shown_progress() as progress:
                counts = score_file(predictor, job, progress)
        except KeyboardInterrupt:
            kept = f"; {job.partial} holds the answers so far" if job.partial.exists() else ""
            typer.echo(f"stopped{kept}; run the same command to continue", err=True)
            raise typer.Exit(130) from None
        except (RunStopped, DamagedFile, InputChanged) as error:
            typer.echo(f"steadfast: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else f"{job.target}: "
            kept = f"; make room, and run the same command to go on from {job.partial}" if job.partial.exists() else ""
            typer.echo(f"steadfast: {place}{error.strerror or error}{kept}", err=True)
            raise typer.Exit(FAILED) from None
    typer.echo(str(counts), err=True)
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)
