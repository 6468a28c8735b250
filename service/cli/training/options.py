"""Options that the training commands share, and how they and a settings file make the settings of a run.

The defaults that help shows are those of `TrainingSettings`, where alone they are written.
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from export.preconditions import refuse_package
from models.checkpoint import DataSource
from models.edits import FAMILIES
from models.methods import METHODS
from models.tasks import TASKS
from models.tasks.task import Head
from models.training.settings import (
    BILSTM,
    TextNoise,
    TrainingError,
    TrainingSettings,
    check_general_settings,
    read_toml,
)
from service.cli.columns import LABEL_MAP, layout_of, layout_options
from service.cli.options import optional

WHAT_TO_TRAIN = "What to train"
DATA = "Data"
HOW_TO_TRAIN = "How to train"
NOISE = "Noise, beside any method"


def _default(name: str) -> str:
    """The default of a setting, as help shows it."""
    default = (DataSource if name in DataSource.model_fields else TrainingSettings).model_fields[name].default
    return f" [default: {', '.join(default) if isinstance(default, tuple) else default}]"


Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file with settings. An option given here wins over the file."),
]

NOISE_OPTIONS = {
    "noise": "families",
    "noise_share": "share",
    "noise_copies": "copies",
    "consistency": "consistency",
    "word_noise": "word_noise",
    "contrast_pairs": "contrast_pairs",
}
"""Options of noise, each with the setting under `noise` that it gives."""

NO_NOISE = "none"


def _noise_default(name: str) -> str:
    return f" [default: {TextNoise.model_fields[name].default}]"


_OPTIONS = (
    optional(
        "task", str, metavar="NAME", help=f"Task to train for: {', '.join(TASKS)}.", rich_help_panel=WHAT_TO_TRAIN
    ),
    optional(
        "labels",
        str,
        metavar="NAME,NAME",
        help="Names of the labels, in the order of their numbers. Without it: the task's own, or, for a task that has "
        "none, those of the training data in the order of the alphabet.",
        rich_help_panel=WHAT_TO_TRAIN,
    ),
    optional(
        "method",
        str,
        metavar="NAME",
        help="Training method; all are listed below. If the settings file is for another method, the settings that "
        f"it gives that method are left out.{_default('method')}",
        rich_help_panel=WHAT_TO_TRAIN,
    ),
    optional(
        "base",
        str,
        metavar="MODEL",
        help=f"Encoder to start from: a folder, an id on the Hugging Face hub, or `{BILSTM}` for a new BiLSTM. The "
        "folder may be a checkpoint of another task.",
        rich_help_panel=WHAT_TO_TRAIN,
    ),
    optional(
        "set_",
        list[str],
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="Give the method this setting, such as `tau=0.3`. May be repeated.",
        rich_help_panel=WHAT_TO_TRAIN,
    ),
    optional(
        "data",
        str,
        metavar="DATA",
        help="Folder of csv, jsonl or parquet files, or a data set on the Hugging Face hub: ID or ID:CONFIGURATION.",
        rich_help_panel=DATA,
    ),
    optional(
        "train",
        list[str],
        metavar="PART",
        help="Part to train on: a file's name without its ending, or a split on the hub. May be repeated."
        f"{_default('train')}",
        rich_help_panel=DATA,
    ),
    optional(
        "unlabelled",
        list[str],
        metavar="PART",
        help="Part whose texts are learnt from without their right answers, which only "
        f"{' and '.join(name for name, method in METHODS.items() if method.reads_unlabelled)} can. May be repeated.",
        rich_help_panel=DATA,
    ),
    optional(
        "validation",
        str,
        metavar="PART",
        help=f"Part to measure on after every epoch; the best epoch is kept.{_default('validation')}",
        rich_help_panel=DATA,
    ),
    optional(
        "rows",
        int,
        help="Train on this many records, drawn from all training parts; every seed and method draws the same. "
        "Without it: on all.",
        rich_help_panel=DATA,
    ),
    optional(
        "max_tokens",
        int,
        help="Most tokens that the model reads at once. Longer training texts are cut at their end."
        f"{_default('max_tokens')}",
        rich_help_panel=DATA,
    ),
    optional(
        "correct",
        bool,
        "--correct",
        help="Correct texts before they are read: look-alikes of letters, and unknown words one typing error "
        "away from known ones. Needs WordNet. Packages made of the checkpoint do the same.",
        rich_help_panel=DATA,
    ),
    optional("epochs", int, help=f"Passes over the data.{_default('epochs')}", rich_help_panel=HOW_TO_TRAIN),
    optional("batch_size", int, help=f"Examples in a batch.{_default('batch_size')}", rich_help_panel=HOW_TO_TRAIN),
    optional(
        "learning_rate",
        list[float],
        metavar="RATE",
        help="Highest learning rate; it is reached after the warm-up and then falls to 0. If it is repeated, a model "
        f"is trained at each rate and their weights are averaged.{_default('learning_rate')}",
        rich_help_panel=HOW_TO_TRAIN,
    ),
    optional(
        "precision",
        str,
        metavar="NAME",
        help=f"auto, fp32 or bf16; auto is bf16 where the machine computes in it.{_default('precision')}",
        rich_help_panel=HOW_TO_TRAIN,
    ),
    optional(
        "seed",
        int,
        help=f"Fixes the order of the data and every random draw.{_default('seed')}",
        rich_help_panel=HOW_TO_TRAIN,
    ),
    optional(
        "noise",
        str,
        metavar="NAMES",
        help="Learn from copies of the texts with changed words too, such as `typos,synonyms`. "
        f"There are: {', '.join(FAMILIES)}. `{NO_NOISE}` leaves out the noise of the settings file.",
        rich_help_panel=NOISE,
    ),
    optional(
        "noise_share",
        float,
        help=f"Largest share of a copy's words that are changed.{_noise_default('share')}",
        rich_help_panel=NOISE,
    ),
    optional(
        "noise_copies",
        int,
        help="Copies of each text at every step, of which the one that the model answers worst is learnt from."
        f"{_noise_default('copies')}",
        rich_help_panel=NOISE,
    ),
    optional(
        "consistency",
        float,
        help=f"Weight of answering a text and its noisy versions alike.{_noise_default('consistency')}",
        rich_help_panel=NOISE,
    ),
    optional(
        "word_noise",
        float,
        help="Length by which each word vector is moved in the most harmful direction, such as 0.05; 0 moves none."
        f"{_noise_default('word_noise')}",
        rich_help_panel=NOISE,
    ),
    optional(
        "contrast_pairs",
        float,
        help="Share of the texts of which pairs are made, one that says something else and one that says the same, "
        f"such as 0.12; for nli and paraphrase.{_noise_default('contrast_pairs')}",
        rich_help_panel=NOISE,
    ),
)


def training_options(*left_out: str) -> list[inspect.Parameter]:
    """An option for each setting that is commonly chosen, without those left out; each is None unless it is given."""
    return [option for option in _OPTIONS if option.name not in left_out]


def list_methods(head: Head | None = None) -> str:
    """The methods as Markdown, a line each; with `head`, those that can train it."""
    lines = [
        f"- `{method.name}`: {method.summary}" for method in METHODS.values() if head is None or head in method.heads
    ]
    return "Methods:\n\n" + "\n".join(lines)


def read_run_settings(config: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file with the `given` ones in their place; those that are None leave the file's.

    Raises:
        TrainingError: the file cannot be read, or noise is both asked for and left out.
    """
    from_file = read_toml(config) if config else {}
    chosen = {name: value for name, value in given.items() if value is not None}
    method = chosen.get("method")
    if method is not None and from_file.get("method", method) != method:
        # The file's are the settings of another method.
        from_file.pop("method_settings", None)
    if "labels" in chosen:
        chosen["labels"] = [name.strip() for name in chosen["labels"].split(",")]
    source = {name: chosen.pop(name) for name in DataSource.model_fields if name in chosen and name != LABEL_MAP}
    tables = {"source": from_file.get("source", {}) | source | _read_names(from_file.get("source", {}), chosen)}
    noise = {setting: chosen.pop(name) for name, setting in NOISE_OPTIONS.items() if name in chosen}
    if noise.get("families") == NO_NOISE:
        if len(noise) > 1:
            raise TrainingError(f"--noise {NO_NOISE} trains without noise; leave out the other options of noise")
        from_file.pop("noise", None)
    elif noise:
        if "families" in noise:
            noise["families"] = [name.strip() for name in noise["families"].split(",") if name.strip()]
        tables["noise"] = from_file.get("noise", {}) | noise
    return {**from_file, **chosen, **tables}


def _read_names(from_file: Mapping[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Take the names in the data out of the `chosen` options; each wins over that of the file."""
    given = layout_of(chosen).model_dump()
    for option in layout_options():
        chosen.pop(option.name, None)
    return {name: from_file.get(name, {}) | names for name, names in given.items() if names}


def check_run(given: Mapping[str, Any]) -> None:
    """Refuse settings of a training that cannot succeed, before torch is loaded.

    Raises:
        TrainingError, UnknownMethod, UnknownTask, LayoutError, NoSuchFolder: by a setting.
        AlreadyAPackage: the base is a package.
    """
    settings = check_general_settings(given)
    refuse_package(
        settings.base, "train from the checkpoint that it was exported from, or from another transformers model"
    )


def read_assignment(text: str) -> tuple[str, Any]:
    """The name and the value of NAME=VALUE; a value that is no JSON is a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}; write NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
