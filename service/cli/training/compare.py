"""`steadfast compare`: several methods trained with several seeds, in one table."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.training.settings import check_general_settings
from service.cli.options import need, with_options
from service.cli.progress import console, measurer, shown_bar, watcher
from service.cli.training.options import NOISE_OPTIONS, Config, read_assignment, read_run_settings, training_options


@with_options(training_options("method", "unlabelled", "set_", *NOISE_OPTIONS))
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
    Interrupted, the same command continues where it stopped. With other methods or more seeds it adds theirs.
    """
    settings = read_run_settings(config, given)
    own = _settings_by_method(methods, settings, set_ or [])
    runs = [{**settings, "method": name, "method_settings": chosen} for name, chosen in own.items()]
    for run in runs:
        check_general_settings(run)
    need("train", "torch", "transformers", "accelerate", "sklearn", "scipy", "seqeval")
    _compare(runs, own, seeds, out, measured_rows, keep)


def _settings_by_method(
    methods: str, settings: Mapping[str, Any], assignments: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The own settings of each method: those that the file gives its one method, then the assigned ones."""
    named = [name.strip() for name in methods.split(",") if name.strip()]
    if not named:
        raise typer.BadParameter(f"{methods!r}; name one or more, with commas", param_hint="--methods")
    own: dict[str, dict[str, Any]] = {name: {} for name in named}
    if settings.get("method") in own:
        own[settings["method"]] = dict(settings.get("method_settings", {}))
    for name, value in map(read_assignment, assignments):
        method, _, setting = name.partition(".")
        if method not in own or not setting:
            raise typer.BadParameter(f"{name!r}; write METHOD.NAME=VALUE of a method compared", param_hint="--set")
        own[method][setting] = value
    return own


def _compare(
    runs: Sequence[Mapping[str, Any]],
    own: Mapping[str, Mapping[str, Any]],
    seeds: int,
    out: Path,
    measured_rows: int | None,
    keep: bool,
) -> None:
    from models.measuring.comparison import ComparisonPlan, plan_runs
    from models.measuring.comparison import compare as run
    from models.measuring.comparison_table import write_markdown
    from models.training.interruption import Interrupted
    from models.training.settings import check_settings

    checked = [check_settings(given) for given in runs]
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
        console.print("stopped while measuring; run the same command to continue")
        raise typer.Exit(130) from None
    typer.echo(write_markdown(table))
