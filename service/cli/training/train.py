"""`steadfast train` and `steadfast pretrain`: a checkpoint, or a new base, out of data."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from models.folders import check_new
from models.tasks.masked_words import MASKED_WORDS
from service.cli import INTERRUPTED
from service.cli.columns import layout_options, text_options
from service.cli.options import CORRECTING, need, with_options
from service.cli.progress import console, watched_training
from service.cli.training.options import (
    NOISE_OPTIONS,
    Config,
    check_run,
    read_assignment,
    read_run_settings,
    training_options,
)


@with_options([*training_options(), *layout_options()])
def train(
    config: Config = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write the checkpoint to. It must not exist.")
    ] = Path("checkpoint"),
    **given: Any,
) -> None:
    """Train a model for a task and write it as a checkpoint.

    ```sh
    steadfast train --task sentiment --method asa --out checkpoints/sentiment \\
        --base sentence-transformers/all-MiniLM-L6-v2 --data nyu-mll/glue:sst2
    ```

    Interrupted, by Ctrl-C or otherwise, the same command continues where it stopped.

    The settings file may hold every option under the name shown here, and settings that are no option, such as
    `warmup_share`, `weight_decay` and `clip_norm`.

    To train on several devices or processes of one machine, start it as
    `torchrun --nproc-per-node N -m service.cli train` with the same options.
    """
    _train(config, given, out)
    console.print(f"next: steadfast export {quote(str(out))} -o PACKAGE")


@with_options([*training_options("task", "labels", "rows", "unlabelled", "correct", *NOISE_OPTIONS), *text_options()])
def pretrain(
    config: Config = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write the new base to. It must not exist.")
    ] = Path("base"),
    **given: Any,
) -> None:
    """Train an encoder further on texts without labels, by having it guess masked words.

    The result is a base for `train`; it answers no task itself. The data need a single column, `text`.

    ```sh
    steadfast pretrain --method cline --out bases/cline \\
        --base sentence-transformers/all-MiniLM-L6-v2 --data texts
    steadfast train --task sentiment --base bases/cline \\
        --data nyu-mll/glue:sst2 --out checkpoints/sentiment
    ```

    Interrupted, by Ctrl-C or otherwise, the same command continues where it stopped.
    """
    _train(config, {"task": MASKED_WORDS.name, **given}, out)
    console.print(f"next: steadfast train --task TASK --base {quote(str(out))}")


def _train(config: Path | None, options: dict[str, Any], out: Path) -> None:
    """Train by the settings in a file and the options, which win; refuse what can be refused before torch is loaded."""
    own = dict(map(read_assignment, options.pop("set_") or []))
    given = read_run_settings(config, options)
    given["method_settings"] = given.get("method_settings", {}) | own
    check_run(given)
    check_new(out)
    need("train", "torch", "transformers", "accelerate", *(CORRECTING if given.get("correct") else ()))
    from models.training.interruption import Interrupted
    from models.training.loop import train as run
    from models.training.replicas import join_replicas
    from models.training.settings import check_settings

    settings = check_settings(given)
    # When several processes train, only one of them writes to the terminal.
    console.quiet = not join_replicas().is_main
    try:
        with watched_training() as watcher:
            record = run(settings, out, watcher)
    except Interrupted as stopped:
        console.print(str(stopped))
        raise typer.Exit(INTERRUPTED) from None
    shown = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    console.print(f"{out}: {record.kept}, {shown}")
