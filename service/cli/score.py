"""`steadfast score`: answers for every row of a file."""

from pathlib import Path
from typing import Annotated

import typer

from service.answers.contract import Options
from service.cli.opening import open_predictor
from service.cli.options import Explain, PackageFolder, TaskName

TextColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The same for tasks that read such a text.")]


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
    from service.cli.progress import shown_progress
    from service.files.scoring import ScoringJob, score_file

    chosen = {
        "text": text_column, "premise": premise_column, "hypothesis": hypothesis_column, "text_a": text_a_column,
        "text_b": text_b_column, "context": context_column, "question": question_column, "choices": choices_column,
    }  # fmt: skip
    columns = {field: column for field, column in chosen.items() if column is not None}
    job = ScoringJob(
        source=source, target=target, columns=columns, options=Options(explain=explain), overwrite=overwrite
    )
    with open_predictor(task, package) as predictor:
        try:
            with shown_progress() as progress:
                summary = score_file(predictor, job, progress)
        except KeyboardInterrupt:
            kept = f"; what is done is kept in {job.partial}, the same command goes on" if job.partial.exists() else ""
            typer.echo(f"stopped{kept}", err=True)
            raise typer.Exit(130) from None
    typer.echo(str(summary), err=True)
