"""Options that the training commands share, and how they and a settings file make the settings of a run."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import UserError


class MissingExtra(UserError):
    """A part of Steadfast that is not installed."""


Config = Annotated[Path | None, typer.Option(help="TOML file with any of these settings; options here win.")]
MethodName = Annotated[
    str | None,
    typer.Option(
        help="plain, asa, attention-iat ...: an unknown name lists all. With another than the file's, "
        "its method settings are left out."
    ),
]
Base = Annotated[
    str | None,
    typer.Option(help="Encoder to start from: a folder, a checkpoint of another task too, a hub id, or bilstm."),
]
Data = Annotated[str | None, typer.Option(help="Folder of data files, or a hub id (ID or ID:CONFIGURATION).")]
TrainParts = Annotated[
    list[str] | None, typer.Option("--train", help="File (without ending) or split to train on; may be repeated.")
]
Validation = Annotated[str | None, typer.Option(help="File (without ending) or split to measure on.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
BatchSize = Annotated[int | None, typer.Option(help="Rows a batch.")]
LearningRates = Annotated[
    list[float] | None,
    typer.Option(help="Highest learning rate; given several times, trains at each and averages the weights."),
]
MaxTokens = Annotated[int | None, typer.Option(help="Longest row; longer texts are cut in training.")]
TrainingPrecision = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")]
RowCount = Annotated[
    int | None, typer.Option("--rows", help="Train on so many rows, drawn from all parts, the same in every run.")
]
Seed = Annotated[int | None, typer.Option(help="Fixes the order of rows and every random draw.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="A setting of the method: --set tau=0.3."),
]


def need(extra: str, *modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(missing)} not installed; this command needs an extra: pip install 'steadfast[{extra}]'"
        )


def with_source(given: Mapping[str, Any], options: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file with those of the command line in their place."""
    return {**given, **_without_none(options), "source": given.get("source", {}) | _without_none(source)}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def read_assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}; write NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
