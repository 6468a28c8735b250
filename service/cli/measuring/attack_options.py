"""The options of `steadfast attack`. Those that bound the attack are made from its settings."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError

from models.attack.settings import AttackSettings
from models.edits import FAMILIES
from models.errors import first_mistake
from service.cli.options import optional

ALL = "all"
TRIED = ("typos", "synonyms", "unicode", "names")
"""The families that `all` stands for."""

DEFAULT = "typos"

_BOUNDS = "Bounds of the attack"
_OUTPUT = "Output"
_REPEATED = {"allowed": "--allow", "fields": "--field"}
"""Settings that hold several values, and their options."""

Package = Annotated[
    Path | None, typer.Argument(metavar="[PACKAGE]", help="Folder of the package to attack; or name a server by --url.")
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="PART",
        help="Part with the records: a file's name without its ending, or a split on the hub. Without it: the part "
        "that the package's training measured on, or `validation` where the data lack that.",
    ),
]
Rows = Annotated[int | None, typer.Option(min=1, help="Attack the first so many records. Without it: all.")]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Attack a task of a running server, in place of a package: http://HOST:PORT/v1/TASK."
    ),
]
Key = Annotated[str | None, typer.Option(envvar="STEADFAST_KEY", metavar="KEY", help="A key that the server accepts.")]
Families = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAMES",
        help=f"Edits to try: {', '.join(FAMILIES)}; or `{ALL}`, which is {', '.join(TRIED)}. Several, with "
        f"commas or each in an option of its own, are tried one after another. Without it: {DEFAULT}.",
    ),
]
Similarity = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Package for sts that says how alike the texts before and after are. It must not be the one attacked.",
        rich_help_panel=_BOUNDS,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the records that fooled the model, with their changed texts, as a part of data: a .jsonl file.",
        rich_help_panel=_OUTPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace that file, and drop what another interrupted attack left.",
        rich_help_panel=_OUTPUT,
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures to this file as JSON.", rich_help_panel=_OUTPUT),
]
Twin = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Another package for the task, such as one that was trained plainly: try on it the texts that fooled the "
        "first.",
        rich_help_panel=_OUTPUT,
    ),
]
Gate = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Exit with 1 where the accuracy under attack is lower than this.", rich_help_panel=_OUTPUT
    ),
]


def bound_options() -> Iterator[inspect.Parameter]:
    """An option for each setting of an attack but its family; each is None unless it is given."""
    for name, field in AttackSettings.model_fields.items():
        if name == "family":
            continue
        kind = list[str] if name in _REPEATED else _without_none(field.annotation)
        declarations = [_REPEATED[name]] if name in _REPEATED else []
        default = "" if field.default in (None, ()) else f" Without it: {field.default}."
        yield optional(name, kind, *declarations, help=f"{field.description}{default}", rich_help_panel=_BOUNDS)


def read_settings(families: list[str] | None, bounds: dict[str, Any]) -> list[AttackSettings]:
    """The attacks that the options name, each once.

    Raises:
        BadParameter: a bound is none, or no family is named.
    """
    given_names = [name.strip() for names in families or [DEFAULT] for name in names.split(",") if name.strip()]
    if not given_names:
        raise typer.BadParameter(f"names no family of edits; there are: {', '.join(FAMILIES)}", param_hint="--attack")
    named = [one for family in given_names for one in (TRIED if family == ALL else (family,))]
    given = {name: value for name, value in bounds.items() if value not in (None, [])}
    try:
        return [AttackSettings(family=family, **given) for family in dict.fromkeys(named)]
    except ValidationError as error:
        mistake = first_mistake(error)
        raise typer.BadParameter(mistake.reason, param_hint=_option(mistake.place.partition(".")[0])) from None


def _option(name: str) -> str:
    return _REPEATED.get(name, f"--{name.replace('_', '-')}")


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(annotation) else annotation
