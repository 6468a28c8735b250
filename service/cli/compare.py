"""`steadfast compare`: several methods trained with several seeds, in one table."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from models.tasks import TASKS
from service.cli.progress import console, measurer, shown_bar, watcher
from service.cli.training_options import (
    Base,
    BatchSize,
    Config,
    Data,
    Epochs,
    LearningRates,
    MaxTokens,
    RowCount,
    TrainingPrecision,
    TrainParts,
    Validation,
    need,
    read_assignment,
    with_source,
)


def compare(
    methods: Annotated[str, typer.Option(help="Methods, with commas between them, such as plain,asa.")],
    out: Annotated[Path, typer.Option(help="Folder of the results and the table; one that is there is gone on with.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each method, with seeds that count up.")] = 3,
    config: Config = None,
    task: Annotated[str | None, typer.Option(help=f"What to answer: {', '.join(TASKS)}.")] = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    validation: Validation = None,
    rows: RowCount = None,
    measured_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Measure on at most so many rows of each set, the same for all, after every epoch too."
        ),
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="METHOD.NAME=VALUE", help="A setting of a method: --set asa.tau=0.3."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the checkpoints; else they go when measured.")] = False,
) -> None:
    """Train several methods with several seeds, measure them clean and on robustness sets, and write one table.

    The table is OUT/comparison.md and OUT/comparison.json, made of all results in OUT and made anew after each run. The
    same command goes on where it was stopped; with other methods or more seeds it adds theirs.

      steadfast compare --task sentiment --methods plain,asa --rows 10000 --out comparison \\
          --base sentence-transformers/all-MiniLM-L6-v2 --data nyu-mll/glue:sst2
    """
    need("train", "torch", "transformers", "accelerate", "sklearn", "scipy", "seqeval")
    from models.measuring.comparison import ComparisonPlan, plan_runs
    from models.measuring.comparison import compare as run
    from models.measuring.comparison_table import write_markdown
    from models.training.interruption import Interrupted
    from models.training.settings import check_settings, read_toml

    given: dict[str, Any] = read_toml(config) if config else {}
    named = [name.strip() for name in methods.split(",") if name.strip()]
    if not named:
        raise typer.BadParameter(f"{methods!r}; name one or more, with commas", param_hint="--methods")
    own: dict[str, dict[str, Any]] = {name: {} for name in named}
    if given.get("method") in own:
        own[given["method"]] = dict(given.get("method_settings", {}))
    for name, value in map(read_assignment, set_ or []):
        method, _, setting = name.partition(".")
        if method not in own or not setting:
            raise typer.BadParameter(f"{name!r}; write METHOD.NAME=VALUE of a method compared", param_hint="--set")
        own[method][setting] = value
    options = {
        "task": task, "base": base, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate or None,
        "max_tokens": max_tokens, "precision": precision, "rows": rows, "seed": seed,
    }  # fmt: skip
    given = with_source(given, options, {"data": data, "train": train_part or None, "validation": validation})
    checked = [check_settings({**given, "method": name, "method_settings": settings}) for name, settings in own.items()]
    plan = ComparisonPlan(
        runs=plan_runs(checked[0], own, seeds),
        out=out,
        measured_rows=measured_rows,
        keeps_checkpoints=keep,
        command=shlex.join(["steadfast", *sys.argv[1:]]),
    )
    try:
        with shown_bar() as bar:
            line = bar.add_task("", total=None)
            table = run(plan, watcher(bar, line), measurer(bar, line))
    except Interrupted as stopped:
        console.print(str(stopped))
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        console.print("stopped while measuring; the same command goes on")
        raise typer.Exit(130) from None
    typer.echo(write_markdown(table))
