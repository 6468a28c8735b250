"""`steadfast serve`: the server's settings as options, then the server."""

import inspect
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.cli.options import PackageFolders, optional, with_options
from service.settings import Settings, read_settings

GROUPS = ("Models", "Address", "Access", "Limits", "Performance", "Observability")
"""The groups of settings, in the order in which help shows them."""

NO_OPTIONS = ("packages", "api_keys", "admin_keys")
"""Packages are arguments. Keys are no option: the list of processes would show them to every user."""

LISTS = {"require": "FIGURE>=NUMBER", "cors_origins": "ORIGIN", "pinned": "NAME=DIGEST"}
"""Settings of several values, which an option separates by commas, with what one of them looks like."""


def _group(field: FieldInfo) -> Any:
    return field.json_schema_extra["group"] if isinstance(field.json_schema_extra, dict) else None


def _default(field: FieldInfo) -> str:
    """The default as help shows it; nothing where it is computed, or means that nothing is set."""
    default = field.default
    return f" [default: {default}]" if default and default is not PydanticUndefined else ""


def _option(name: str, field: FieldInfo, group: str) -> inspect.Parameter:
    dashed = name.replace("_", "-")
    described = {"help": f"{field.description}{_default(field)}", "rich_help_panel": group}
    if field.annotation is bool:
        return optional(name, bool, f"--{dashed}/--no-{dashed}", **described)
    if name in LISTS:
        return optional(name, str, metavar=f"{LISTS[name]},...", **described)
    if get_origin(field.annotation) is Literal:
        return optional(name, field.annotation, metavar="NAME", **described)
    return optional(name, field.annotation, **described)


def setting_options() -> Iterator[inspect.Parameter]:
    """An option for each setting, group by group; each is None unless it is given."""
    for group in GROUPS:
        for name, field in Settings.model_fields.items():
            if _group(field) == group and name not in NO_OPTIONS:
                yield _option(name, field, group)


@with_options(setting_options())
def serve(
    packages: PackageFolders = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show the settings in force as variables, and stop.")
    ] = False,
    **settings: Any,
) -> None:
    """Answer over HTTP until stopped.

    The packages are checked before the server starts. For instance:

    ```sh
    steadfast serve zoo/sentiment --port 8000
    curl localhost:8000/v1/sentiment -H 'Content-Type: application/json' \\
        -d '{"inputs": ["not bad at all"], "explain": "attention"}'
    ```

    `/` is a page to try the models in a browser, `/openapi.json` describes every address, and `/readyz` says whether
    they are loaded.

    Each option is also a variable: `STEADFAST_MAX_ITEMS` sets `--max-items`, and an option wins over its variable.
    Keys are no option, since the list of processes would show them: set `STEADFAST_API_KEYS=KEY,...`, or name a file
    by `--api-keys-file`. In the same way, `STEADFAST_ADMIN_KEYS` and `--admin-keys-file` give keys for reloads.
    """
    from service.cli.serving.launch import become_server

    chosen = read_settings(packages=packages or None, **settings)
    if print_config:
        for name, value in chosen.as_environment().items():
            typer.echo(f"{name}={value}")
        return
    become_server(chosen)
