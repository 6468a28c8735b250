"""`steadfast train` and `steadfast pretrain`: a checkpoint, or a new base, out of data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.tasks import TASKS
from models.tasks.masked_words import MASKED_WORDS
from service.cli.progress import console, watched_training
from service.cli.training_options import (
    Assignments,
    Base,
    BatchSize,
    Config,
    Data,
    Epochs,
    LearningRates,
    MaxTokens,
    MethodName,
    RowCount,
    Seed,
    TrainingPrecision,
    TrainParts,
    Validation,
    need,
    read_assignment,
    with_source,
)


def train(
    config: Config = None,
    task: Annotated[str | None, typer.Option(help=f"What to answer: {', '.join(TASKS)}.")] = None,
    method: MethodName = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(
            help="File (without ending) or split whose texts alone are learnt from, by a method that does; "
            "may be repeated."
        ),
    ] = None,
    validation: Validation = None,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes; must not exist.")] = Path("checkpoint"),
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    rows: RowCount = None,
    seed: Seed = None,
    set_: Assignments = None,
) -> None:
    """Train a checkpoint. The same command goes on with a run that was stopped.

    Every other setting (warm-up, weight decay, clipping ...) can stand in the TOML file.

      steadfast train --task sentiment --method asa --base sentence-transformers/all-MiniLM-L6-v2 \\
          --data nyu-mll/glue:sst2 --out checkpoints/sentiment

    On several devices or processors of a machine: `torchrun --nproc-per-node N -m service.cli train ...`.
    """
    options = {
        "task": task, "method": method, "base": base, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate or None, "max_tokens": max_tokens, "precision": precision,
        "rows": rows, "seed": seed,
    }  # fmt: skip
    source = {"data": data, "train": train_part or None, "unlabelled": unlabelled or None, "validation": validation}
    _train(config, options, source, set_ or [], out)
    console.print(f"next: steadfast export {out} -o PACKAGE")


def pretrain(
    config: Config = None,
    method: MethodName = None,
    base: Base = None,
    data: Data = None,
    train_part: TrainParts = None,
    validation: Validation = None,
    out: Annotated[Path, typer.Option(help="Where the new base goes; must not exist.")] = Path("base"),
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRates = None,
    max_tokens: MaxTokens = None,
    precision: TrainingPrecision = None,
    seed: Seed = None,
    set_: Assignments = None,
) -> None:
    """Go on pre-training an encoder on texts without labels, by masked words. Goes on with a run that was stopped.

    What comes out is a base for `train`; it answers nothing itself. Data need a column `text` and no other.

      steadfast pretrain --method cline --base sentence-transformers/all-MiniLM-L6-v2 --data texts --out bases/cline

      steadfast train --task sentiment --base bases/cline --data nyu-mll/glue:sst2 --out checkpoints/sentiment
    """
    options = {
        "method": method, "base": base, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate or None, "max_tokens": max_tokens, "precision": precision, "seed": seed,
    }  # fmt: skip
    source = {"data": data, "train": train_part or None, "validation": validation}
    _train(config, {"task": MASKED_WORDS.name} | options, source, set_ or [], out)
    console.print(f"next: steadfast train --task TASK --base {out}")


def _train(
    config: Path | None,
    options: Mapping[str, Any],
    source: Mapping[str, Any],
    assignments: Sequence[str],
    out: Path,
) -> None:
    """Train by the settings in a file, of which those given here win."""
    need("train", "torch", "transformers", "accelerate")
    from models.training.interruption import Interrupted
    from models.training.loop import train as run
    from models.training.replicas import join_replicas
    from models.training.settings import check_settings, read_toml

    given: dict[str, Any] = read_toml(config) if config else {}
    method = options["method"]
    if method is not None and given.get("method", method) != method:
        # The file's are another method's.
        given.pop("method_settings", None)
    given = with_source(given, options, source)
    given["method_settings"] = given.get("method_settings", {}) | dict(map(read_assignment, assignments))
    settings = check_settings(given)
    # Of several processes one speaks.
    console.quiet = not join_replicas().is_main
    try:
        with watched_training() as watcher:
            record = run(settings, out, watcher)
    except Interrupted as stopped:
        console.print(str(stopped))
        raise typer.Exit(130) from None
    shown = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    console.print(f"{out}: {record.kept}, {shown}")
