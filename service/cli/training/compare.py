"""`steadfast compare`: several methods trained with several seeds, in one table."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.folders import check_output_folder
from models.methods import WITH_NOISE
from models.training.settings import TrainingError
from service.cli import INTERRUPTED
from service.cli.columns import layout_options
from service.cli.options import need, with_options
from service.cli.progress import console, measurer, shown_bar, watcher
from service.cli.training.options import Config, check_run, read_assignment, read_run_settings, training_options


@with_options([*training_options("method", "unlabelled", "set_"), *layout_options()])
def compare(
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help="Methods to compare, separated by commas; all are listed below.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the results. Results that it already holds are kept.")
    ],
    seeds: Annotated[
        int, typer.Option(min=1, help="How often to train each method; the seeds count up from `--seed`.")
    ] = 3,
    config: Config = None,
    measured_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Measure on at most this many records of each set, the same for every method."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="METHOD.NAME=VALUE", help="Give a method a setting: `asa.tau=0.3`. May be repeated."
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the checkpoints. Otherwise each is deleted once it is measured.")
    ] = False,
    **given: Any,
) -> None:
    """Train several methods with several seeds, measure them on clean and on robustness data, and write one table.

    ```sh
    steadfast compare --task sentiment --methods plain,asa --rows 10000 \\
        --base sentence-transformers/all-MiniLM-L6-v2 --data nyu-mll/glue:sst2 \\
        --out comparison
    ```

    The table is OUT/comparison.md and OUT/comparison.json; it is written anew after each run, from all results in OUT.
    `--methods asa,asa+noise` compares a method with itself under the noise of the options and the settings file.

    Interrupted, the same command continues where it stopped. With other methods or more seeds it adds theirs.
    """
    runs = _plan_variants(methods, read_run_settings(config, given), set_ or [])
    for run in runs:
        check_run(run)
    need("train", "torch", "transformers", "accelerate", "sklearn", "scipy", "seqeval")
    _compare(runs, seeds, out, measured_rows, keep)


def _plan_variants(methods: str, settings: Mapping[str, Any], assignments: Sequence[str]) -> list[dict[str, Any]]:
    """The settings of each method that is named, with the noise where its name ends so.

    A method's own settings are those that the file gives its one method, then the assigned ones.
    """
    named = [name.strip() for name in methods.split(",") if name.strip()]
    if not named:
        raise typer.BadParameter(f"{methods!r}; name one or more, with commas", param_hint="--methods")
    own: dict[str, dict[str, Any]] = {name.removesuffix(WITH_NOISE): {} for name in named}
    if settings.get("method") in own:
        own[settings["method"]] = dict(settings.get("method_settings", {}))
    for name, value in map(read_assignment, assignments):
        method, _, setting = name.partition(".")
        if method not in own or not setting:
            raise typer.BadParameter(f"{name!r}; write METHOD.NAME=VALUE of a method compared", param_hint="--set")
        own[method][setting] = value
    is_noisy = any(name.endswith(WITH_NOISE) for name in named)
    noise = settings.get("noise") or {}
    if is_noisy and not (noise.get("families") or noise.get("word_noise")):
        raise TrainingError("there is no noise to train with; give --noise or --word-noise")
    if noise and not is_noisy:
        raise TrainingError(f"none is trained with the noise that is given; name {named[0]}{WITH_NOISE} too")
    return [
        {
            **settings,
            "method": name.removesuffix(WITH_NOISE),
            "method_settings": own[name.removesuffix(WITH_NOISE)],
            "noise": settings.get("noise") if name.endswith(WITH_NOISE) else None,
        }
        for name in dict.fromkeys(named)
    ]


def _compare(
    runs: Sequence[Mapping[str, Any]],
    seeds: int,
    out: Path,
    measured_rows: int | None,
    keep: bool,
) -> None:
    check_output_folder(out)

    from models.measuring.comparison import ComparisonPlan, plan_runs
    from models.measuring.comparison import compare as run
    from models.measuring.comparison_table import write_markdown
    from models.training.interruption import Interrupted
    from models.training.settings import check_settings

    plan = ComparisonPlan(
        runs=plan_runs([check_settings(given) for given in runs], seeds),
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
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(write_markdown(table))
