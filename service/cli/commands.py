"""The commands of `steadfast`, each in a module of its own, and what happens to their errors.

A command imports torch, pyarrow and other heavy libraries only when it runs, so that `--help` answers at once.
"""

import importlib.metadata
import sys
from typing import Annotated

import typer

from models.errors import UserError
from models.tasks.masked_words import MASKED_WORDS
from service.cli import certify, doctor, explain, export, listing, predict
from service.cli.files import merge, score
from service.cli.measuring import attack, evaluate
from service.cli.options import Command, Group
from service.cli.serving import health, serve
from service.cli.training import compare, train
from service.cli.training.options import list_methods

app = typer.Typer(
    name="steadfast",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

USING = "Use a model"
MAKING = "Make a model"

app.command(cls=Command, rich_help_panel=USING)(predict.predict)
app.command(cls=Command, rich_help_panel=USING)(explain.explain)
app.command(cls=Command, rich_help_panel=USING)(score.score)
app.command(cls=Command, rich_help_panel=USING)(merge.merge)
app.command(cls=Command, rich_help_panel=USING)(certify.certify)
app.command(cls=Command, rich_help_panel=USING)(serve.serve)
app.command(cls=Command, rich_help_panel=USING)(health.health)
app.command(cls=Command, rich_help_panel=USING)(listing.models)
app.command(cls=Command, rich_help_panel=USING)(doctor.doctor)
app.command(cls=Command, rich_help_panel=MAKING, epilog=list_methods())(train.train)
app.command(cls=Command, rich_help_panel=MAKING, epilog=list_methods(MASKED_WORDS.head))(train.pretrain)
app.command(cls=Command, rich_help_panel=MAKING)(evaluate.evaluate)
app.command(cls=Command, rich_help_panel=MAKING)(attack.attack)
app.command(cls=Command, rich_help_panel=MAKING, epilog=list_methods())(compare.compare)
app.command(cls=Command, rich_help_panel=MAKING)(export.export)
app.command(cls=Command, rich_help_panel=MAKING)(export.verify)


def run() -> None:
    """Run a command. An error that the user can put right becomes one sentence and exit code 2; a bug its traceback."""
    try:
        app()
    except (UserError, OSError) as error:
        typer.echo(f"steadfast: {_sentence(error)}", err=True)
        sys.exit(2)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"steadfast {importlib.metadata.version('steadfast')}")
        raise typer.Exit


@app.callback()
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
