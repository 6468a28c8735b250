"""Texts given by hand, as a command's arguments or on standard input, made into the inputs of a task."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import ValidationError

from models.errors import UserError, first_mistake
from models.tasks.task import AnyTask, Item, takes_list

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts to answer for. `-`, or no text, reads one from standard input."),
]


class UnreadableText(UserError):
    """A text that cannot be answered for."""


def read_texts(given: Sequence[str] | None) -> list[str]:
    """The texts of a command, with standard input in place of `-`, and alone where none is given.

    Raises:
        UnreadableText: there is none.
    """
    texts = [_read_stdin() if text == "-" else text for text in given or ["-"]]
    if not given and not texts[0]:
        raise UnreadableText(
            "no text is given, and standard input is empty: write texts after the task, or pipe one in"
        )
    return texts


def read_items(task: AnyTask, texts: Sequence[str]) -> list[Item]:
    """Inputs made of texts in the order of the task's fields; a field that holds a list takes all texts left.

    Raises:
        UnreadableText: names the first text at fault, or the texts that the task reads.
    """
    for number, text in enumerate(texts, start=1):
        if not _is_unicode(text):
            raise UnreadableText(f"text {number}: not valid Unicode; is the terminal set to UTF-8?")
    fields = list(task.columns)
    if takes_list(task.item, fields[-1]):
        single = len(fields) - 1
        inputs = [dict(zip(fields, [*texts[:single], *([texts[single:]] if texts[single:] else [])], strict=False))]
    else:
        if len(texts) > len(fields) and len(texts) % len(fields):
            raise UnreadableText(
                f"{task.name} reads {', '.join(fields)}, in this order, and again: {len(fields)} texts at a time; "
                f"{len(texts)} are given"
            )
        parts = range(0, len(texts), len(fields))
        inputs = [dict(zip(fields, texts[start : start + len(fields)], strict=False)) for start in parts]
    try:
        return [task.item.model_validate(values) for values in inputs]
    except ValidationError as error:
        raise UnreadableText(f"{task.name} reads {', '.join(fields)}, in this order; {first_mistake(error)}") from error


def _is_unicode(text: str) -> bool:
    """Whether the text is valid Unicode; Python passes bytes of an argument that are not as half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_stdin() -> str:
    """Read standard input as UTF-8, whatever the terminal is set to.

    Bytes that are not UTF-8 become half surrogate pairs, as they do in the arguments of a command.
    """
    return sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")
