"""The `steadfast` command. What a command needs is imported when it runs, so that `--help` answers at once."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UserError
from service.answers.explanation import ExplanationMethod
from service.cli import train as making

if TYPE_CHECKING:
    from service.answers.predictor import Predictor

app = typer.Typer(
    name="steadfast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(making.pretrain)
app.command()(making.train)
app.command()(making.evaluate)
app.command()(making.compare)
app.command()(making.export)
app.command()(making.verify)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="What to ask, such as `sentiment`.")]
PackageFolder = Annotated[
    Path | None, typer.Option("--package", metavar="DIR", help="Model package; default: the zoo's for this task.")
]
TextColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The same for tasks that read such a text.")]
Explain = Annotated[
    ExplanationMethod | None, typer.Option("--explain", help="Score every word by its part in the answer.")
]


@app.callback()
def steadfast() -> None:
    """Robust text models: train, export, serve, explain.

    Try one, put it behind HTTP, or run it over a file:

        steadfast predict sentiment "not bad at all" --explain rollout

        steadfast serve

        steadfast score sentiment reviews.csv -o scored.parquet

    Every option of `serve` can be set as `STEADFAST_...` in the environment too.
    """


@app.command()
def serve(
    packages: Annotated[
        list[Path] | None, typer.Argument(metavar="PACKAGE", help="Model packages; default: all of the zoo.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer; default: 1.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Batches that each worker computes at once; default: its share of the cores.")
    ] = None,
    max_items: Annotated[int | None, typer.Option(help="Most inputs in one request.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Largest request body.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show the settings in force and stop.")] = False,
) -> None:
    """Answer over HTTP until stopped.

    Packages are checked before anything starts. Then, for instance:

        steadfast serve zoo/sentiment --port 8000

        curl localhost:8000/v1/sentiment -H 'Content-Type: application/json' -d '{"inputs": ["not bad at all"]}'

    `/docs.json` describes every address, `/v1/models` the models, `/readyz` says whether they are loaded.
    """
    from service.cli.serve import serve as become_server
    from service.settings import read_settings

    settings = read_settings(
        packages=packages or None,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        max_items=max_items,
        max_body_bytes=max_body_bytes,
    )
    if print_config:
        for name, value in settings.as_environment().items():
            typer.echo(f"{name}={value}")
        return
    become_server(settings)


@app.command()
def models(
    packages: Annotated[
        list[Path] | None, typer.Argument(metavar="PACKAGE", help="Model packages; default: all of the zoo.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Compare packages by what their manifests say: a line for each measured figure, a column for each method.

    The method that is served bears a star; the others are trainings on the same data that were measured beside it.
    """
    from export.package import read_manifest
    from service.answers.packages import package_folders
    from service.cli.listing import show_models
    from service.settings import read_settings

    folders = package_folders(read_settings(packages=packages or None))
    show_models(map(read_manifest, folders), as_markdown=markdown)


@app.command()
def doctor(
    packages: Annotated[
        list[Path] | None, typer.Argument(metavar="PACKAGE", help="Model packages; default: all of the zoo.")
    ] = None,
) -> None:
    """Say what this machine has and how each package runs on it; exit code 1 if one does not.

    steadfast doctor

    steadfast doctor zoo/sentiment
    """
    from service.answers.packages import package_folders
    from service.cli.doctor import describe_machine, examine_package
    from service.settings import read_settings

    settings = read_settings(packages=packages or None)
    for name, found in describe_machine(settings):
        typer.echo(f"{name:<14}{found}")
    examinations = [examine_package(folder, settings) for folder in package_folders(settings)]
    for examination in examinations:
        typer.echo(f"{'runs' if examination.runs else 'FAILS':<14}{examination.detail}")
    if not all(examination.runs for examination in examinations):
        raise typer.Exit(1)


@app.command()
def predict(
    task: TaskName,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="One for each field of the input; `-`: standard input.")
    ] = None,
    explain: Explain = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as HTTP gives them.")] = False,
    package: PackageFolder = None,
) -> None:
    """Answer for a few texts.

    With `--explain` the words are marked, the stronger the more they count:

        steadfast predict sentiment "not bad at all" "dull" --explain attention

        steadfast predict sentiment --json < review.txt

    Tasks that read several texts take them in their order, and as many inputs as the texts make:

        steadfast predict nli "It rained all day." "The sun shone."

        steadfast predict reading-comprehension - "Who won?" "the red team" "the blue team" < report.txt

    Standard input is one text.
    """
    from service.answers.contract import Options
    from service.cli.predict import predict_items, read_items, show

    given = texts or ["-"]
    read = [_read_stdin() if text == "-" else text for text in given]
    with _open_predictor(task, package) as predictor:
        items = read_items(predictor.task, read)
        results = predict_items(predictor, items, Options(explain=explain))
    show(items, results, as_json=as_json)


@app.command()
def score(
    task: TaskName,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="csv, jsonl (both also .gz) or parquet.")],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Of any of these kinds too.")],
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column with the texts; default: text, sentence, review, ...")
    ] = None,
    premise_column: TextColumn = None,
    hypothesis_column: TextColumn = None,
    text_a_column: TextColumn = None,
    text_b_column: TextColumn = None,
    context_column: TextColumn = None,
    question_column: TextColumn = None,
    choices_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column with lists of choices; in csv, lists in JSON.")
    ] = None,
    explain: Explain = None,
    package: PackageFolder = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output, and what a run left of it.")
    ] = False,
) -> None:
    """Answer for every row of a file.

    The columns of the input are kept, and those of the answer added:

        steadfast score sentiment reviews.csv.gz -o scored.parquet --text-column review

        steadfast score nli claims.csv -o judged.csv --premise-column article --hypothesis-column claim

    Rows stay in their order. The answer's columns are named as in HTTP's answers, with a `score_...` for each label and
    an `error`; a name that the input has already gets `prediction_` in front. What is nested, such as entities, is
    JSON in csv, and lists and structs in parquet. A row that cannot be answered says why in `error` and stops nothing.

    Stopped half-way, by Ctrl-C or a power cut, the same command goes on where it was.
    """
    from service.answers.contract import Options
    from service.cli.progress import shown_progress
    from service.files.scoring import Job, score_file

    chosen = {
        "text": text_column, "premise": premise_column, "hypothesis": hypothesis_column, "text_a": text_a_column,
        "text_b": text_b_column, "context": context_column, "question": question_column, "choices": choices_column,
    }  # fmt: skip
    columns = {field: column for field, column in chosen.items() if column is not None}
    job = Job(source=source, target=target, columns=columns, options=Options(explain=explain), overwrite=overwrite)
    with _open_predictor(task, package) as predictor:
        try:
            with shown_progress() as progress:
                tally = score_file(predictor, job, progress)
        except KeyboardInterrupt:
            kept = f"; what is done is kept in {job.partial}, the same command goes on" if job.partial.exists() else ""
            typer.echo(f"stopped{kept}", err=True)
            raise typer.Exit(130) from None
    typer.echo(str(tally), err=True)


def main() -> None:
    """Run a command; an error that the user can put right is one sentence and exit code 2, a bug its traceback."""
    try:
        app()
    except (UserError, OSError) as error:
        typer.echo(f"steadfast: {_sentence(error)}", err=True)
        sys.exit(2)


def _read_stdin() -> str:
    """As UTF-8 whatever the terminal is set to; what is none becomes what an argument that is none is."""
    return sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@contextmanager
def _open_predictor(task: str, folder: Path | None) -> "Iterator[Predictor]":
    from models.tasks import check_endpoint
    from service.answers.packages import open_package_for
    from service.answers.predictor import Predictor
    from service.engine.pool import Pool
    from service.settings import read_settings

    settings = read_settings(packages=[folder] if folder else None)
    # Nobody else asks, and what is under way at once is bounded where it comes from.
    limits = replace(settings.engine_limits, queued_rows=sys.maxsize, queued_tokens=sys.maxsize)
    package = open_package_for(check_endpoint(task), settings)
    with Pool(settings.threads) as pool, Predictor(package, limits, pool, settings.provider) as predictor:
        yield predictor
