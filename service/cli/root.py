"""The root of the `steadfast` command: what holds whichever of its commands runs, and what happens to their errors."""

import sys
import warnings
from typing import Annotated, Any

import typer

from models.errors import UserError, UserNotice
from service.cli.options import Group
from service.version import VERSION


def make_app() -> typer.Typer:
    """The command line without commands yet."""
    app = typer.Typer(
        name="steadfast",
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(steadfast)
    return app


def run(app: typer.Typer) -> None:
    """Run a command. An error that the user can put right becomes one sentence and exit code 2; a bug its traceback."""
    warnings.showwarning = _show_warning
    try:
        app()
    except (UserError, OSError) as error:
        typer.echo(f"steadfast: {_sentence(error)}", err=True)
        sys.exit(2)


_show_other_warning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **others: Any) -> None:
    if issubclass(category, UserNotice):
        typer.echo(f"steadfast: {message}", err=True)
    else:
        _show_other_warning(message, category, *place, **others)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"steadfast {VERSION}")
        raise typer.Exit


def steadfast(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop."),
    ] = False,
) -> None:
    """Train text classifiers and taggers for robustness, check them, serve them, and explain their answers.

    Ask a model by hand, put it behind HTTP, or run it over a file:

    ```sh
    steadfast predict sentiment "not bad at all" --explain best
    steadfast serve
    steadfast score sentiment reviews.csv -o scored.parquet
    ```

    `steadfast COMMAND --help` explains a command. Every option of `serve` is also a variable, such as
    `STEADFAST_PORT`; those that concern models count for the other commands that use one, too.
    """
    del version
