"""`steadfast score`: answers for every record of files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import UserError
from service.answers.contract import Options
from service.cli import INTERRUPTED, STOPPED
from service.cli.columns import column_options, columns_of
from service.cli.files.ending import check_beside, show
from service.cli.files.options import (
    DEADLINE_S,
    dialect_of,
    engine_options,
    file_options,
    result_options,
    selection_of,
)
from service.cli.files.standing import ProgressKind, shown_standing
from service.cli.options import Certify, Explain, PackageFolder, TaskName, explain_options, need, with_options

if TYPE_CHECKING:
    from service.answers.predictor import Predictor
    from service.files.counts import Counts
    from service.files.job import ScoringJob
    from service.outcomes.columns import WantedColumns
    from service.outcomes.engines.engine import Engine


class WrongEngine(UserError):
    """Options of an engine that is not asked for."""


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


@with_options([*file_options(), *result_options(), *engine_options(), *column_options()])
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
        bool, typer.Option("--overwrite", help="Replace the output, and drop what another interrupted run left.")
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
    records refused, 130 interrupted. After Ctrl-C, SIGTERM or a power cut, the same command continues where it stopped.
    """
    from service.outcomes.columns import WantedColumns

    options = Options(explain=explain_options(explain), certify=certify)
    wanted = WantedColumns(options=options, scores=scores, min_confidence=min_confidence)
    given |= _beside_shard(given)
    job = _make_job(sources, target, wanted, given, overwrite=overwrite)
    _check_beside(given)
    with ending_well(job.partial):
        show(_score(task, package, job, progress, given), ", ".join(job.sources), given["summary"], given["report"])


def _beside_shard(given: Mapping[str, Any]) -> dict[str, Path]:
    """The files beside the output that each shard has for itself, as several may be computed at one time."""
    from service.files.merging import name_beside_shard

    shard = selection_of(given).shard
    if shard is None:
        return {}
    asked = {name: given[name] for name in ("errors", "summary", "report") if given[name]}
    return {name: name_beside_shard(path, shard) for name, path in asked.items()}


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
        columns=columns_of(given),
        wanted=wanted,
        overwrite=overwrite,
        dialect=dialect_of(given),
        kind=given["input_format"],
        selection=selection,
        errors=given["errors"],
        max_errors=given["max_errors"],
        beside={f"--{name}": given[name] for name in ("summary", "report") if given[name]},
    )


def _check_beside(given: Mapping[str, Any]) -> None:
    """Refuse what cannot be, before anything is computed; raises PageError, NotWritable, WrongEngine, MissingExtra."""
    check_beside(given["summary"], given["report"])
    if given["engine"] == "ray":
        need("ray", "ray")
    elif given["address"] or given["deadline"]:
        raise WrongEngine("--address and --deadline are for --engine ray; add that, or leave them out")


@contextmanager
def _opened_engine(predictor: "Predictor", wanted: "WantedColumns", given: Mapping[str, Any]) -> Iterator["Engine"]:
    """Computes outcomes where the options say."""
    from service.outcomes.engines.local import compute

    if given["engine"] != "ray":
        yield partial(compute, predictor, wanted=wanted)
        return
    from service.outcomes.engines.cluster import open_cluster
    from service.outcomes.engines.worker import WorkerOrder
    from service.settings import read_settings

    order = WorkerOrder.of(predictor, read_settings(), wanted)
    deadline_s = given["deadline"] or DEADLINE_S
    with open_cluster(order, given["address"], deadline_s=deadline_s, say=partial(typer.echo, err=True)) as engine:
        yield engine


def _score(
    task: str, package: Path | None, job: "ScoringJob", kind: ProgressKind, given: Mapping[str, Any]
) -> "Counts":
    from service.answers.opening import open_predictor
    from service.files.scoring import score_file

    with open_predictor(task, package) as predictor:
        try:
            with (
                ending_well(job.partial),
                _opened_engine(predictor, job.wanted, given) as engine,
                shown_standing(kind) as progress,
            ):
                return score_file(predictor, job, progress, engine)
        except KeyboardInterrupt:
            if job.partial is None:
                typer.echo(STOPPED, err=True)
            else:
                kept = f"; {job.partial} holds the answers so far" if job.partial.exists() else ""
                typer.echo(f"stopped{kept}; run the same command to continue", err=True)
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def ending_well(so_far: Path | None) -> Iterator[None]:
    """End the command with 1 and one sentence where its work fails, which is another thing than wrong use.

    `so_far` is the folder from which the same command can go on, if there may be one.
    """
    from models.files.rows import DamagedFile
    from service.files.counts import FAILED
    from service.files.scoring import RunStopped
    from service.files.source import InputChanged
    from service.outcomes.engines.engine import EngineStopped

    try:
        yield
    except (RunStopped, DamagedFile, InputChanged) as error:
        typer.echo(f"steadfast: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except EngineStopped as error:
        kept = f"; {so_far} holds the answers so far, and the same command goes on from there"
        typer.echo(f"steadfast: {error}{kept if so_far and so_far.exists() else ''}", err=True)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        kept = f"; make room, and run the same command to go on from {so_far}" if so_far and so_far.exists() else ""
        place = f"{named}: " if (named := error.filename or so_far) else ""
        typer.echo(f"steadfast: {place}{error.strerror or error}{kept}", err=True)
        raise typer.Exit(FAILED) from None
