"""Options and arguments that several commands share, and options that are made from what other modules declare."""

import importlib.util
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from models.errors import UserError
from models.tasks import ENDPOINTS
from service.answers.certificate import CertifiedFamily
from service.answers.explanation import ExplainOptions, ExplanationMethod
from service.cli import INTERRUPTED, STOPPED, is_interruption

Function = TypeVar("Function", bound=Callable[..., None])

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help=f"Task to answer: {', '.join(ENDPOINTS)}.", show_default=False)
]
PackageFolders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PACKAGE", help="Folders of model packages. Without any: all packages of the zoo."),
]
PackageFolder = Annotated[
    Path | None,
    typer.Option("--package", metavar="DIR", help="Folder of the model package. Without it: the zoo's for this task."),
]
Explain = Annotated[
    Literal[ExplanationMethod, "best"] | None,
    typer.Option(
        "--explain",
        help="Explain each answer: give every word a score for its part in it. "
        "`best` is the method that was measured most faithful to the model.",
    ),
]

Certify = Annotated[
    CertifiedFamily | None,
    typer.Option(
        "--certify",
        help="Certify each answer: try every edit of one word of this family, and say whether one changes the answer.",
    ),
]


def explain_options(chosen: Literal[ExplanationMethod, "best"] | None) -> ExplainOptions | None:
    """The request's `explain` for a choice of `--explain`."""
    return None if chosen is None else ExplainOptions.model_validate(chosen)


class MissingExtra(UserError):
    """A part of Steadfast that is not installed."""


class Command(TyperCommand):
    """A command whose help shows no type for its flags, and that ends with one line where it is interrupted."""

    stopped = STOPPED
    """The line for Ctrl-C at a moment for which the command has no line of its own, such as while it imports."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an interruption becomes one line on stderr and the exit code 130."""
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except (KeyboardInterrupt, Exception) as error:
            if not is_interruption(error):
                raise
        # Here, not at the top: serving needs none of it.
        from service.cli.progress import console

        console.print(self.stopped, highlight=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED)

    def get_params(self, ctx: Any) -> list[Any]:
        """Every parameter of the command, `--help` included."""
        return _without_flag_types(super().get_params(ctx))


class ResumingCommand(Command):
    """A command that saves what it has done from time to time, and goes on from there."""

    stopped = "stopped; run the same command to go on from what was saved, or to begin anew where nothing was"


class Group(TyperGroup):
    """All commands; its help too shows no type for its flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Every parameter of the group, `--help` included."""
        return _without_flag_types(super().get_params(ctx))


def _without_flag_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def with_options(options: Iterable[inspect.Parameter]) -> Callable[[Function], Function]:
    """Give a command these options in place of its `**` parameter, which receives their values by name."""

    def decorate(command: Function) -> Function:
        own = inspect.signature(command).parameters.values()
        kept = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*kept, *options)]
        )
        return command

    return decorate


def optional(name: str, kind: Any, *declarations: str, **described: Any) -> inspect.Parameter:
    """An option that is None unless it is given; `described` is passed on to typer."""
    annotation = Annotated[kind | None, typer.Option(*declarations, **described)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


CORRECTING = ("lemminflect", "wordfreq")
"""The libraries that known words are collected with, where a model is made to correct texts."""


def need(extra: str, *modules: str) -> None:
    """Refuse to go on where a library of an extra is missing; raises MissingExtra. Nothing is imported."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(missing)} not installed; this command needs an extra: run make install-dev in a clone, "
            f"or pip install -e '.[{extra}]' there"
        )
