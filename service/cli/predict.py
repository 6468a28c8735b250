"""`steadfast predict`: answers for a few texts given by hand, and how they look in a terminal."""

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from models.errors import UserError, first_mistake
from models.tasks.task import AnyTask, Item, takes_list
from service.answers.contract import Options
from service.answers.explanation import Explanation
from service.cli.options import Explain, PackageFolder, TaskName, explain_options

TOP_WORDS = 5
"""How many words are named below an explained answer."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Every control character but tab and newline."""


class UnreadableText(UserError):
    """A text that cannot be answered for."""


def predict(
    task: TaskName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts to answer for. `-`, or no text, reads one from standard input."),
    ] = None,
    explain: Explain = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as HTTP gives it.")] = False,
    package: PackageFolder = None,
) -> None:
    """Answer for a few texts.

    With `--explain` the words are coloured, the stronger the more they count:

    ```sh
    steadfast predict sentiment "not bad at all" "dull" --explain attention
    steadfast predict sentiment --json < review.txt
    ```

    A task that reads several texts takes them in its own order, and then those of the next input. The last field of
    reading-comprehension, the choices, takes all texts that are left.

    ```sh
    steadfast predict nli "It rained all day." "The sun shone."
    steadfast predict reading-comprehension - \\
        "Who won?" "the red team" "the blue team" < report.txt
    ```
    """
    from service.cli.opening import open_predictor

    given = texts or ["-"]
    read = [_read_stdin() if text == "-" else text for text in given]
    with open_predictor(task, package) as predictor:
        items = read_items(predictor.task, read)
        answers = predictor.answer(items, Options(explain=explain_options(explain)))
    show(items, answers.results, as_json=as_json)
    for one in answers.unexplained:
        typer.echo(f"input {one.index + 1} is not explained: {one.reason}", err=True)


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
        parts = range(0, len(texts), len(fields))
        inputs = [dict(zip(fields, texts[start : start + len(fields)], strict=False)) for start in parts]
    try:
        return [task.item.model_validate(values) for values in inputs]
    except ValidationError as error:
        raise UnreadableText(f"{task.name} reads {', '.join(fields)}, in this order; {first_mistake(error)}") from error


def show(items: Sequence[Item], results: Sequence[Any], *, as_json: bool) -> None:
    """Print the results: a JSON array, one result a line, or for people, in colour where that is wanted."""
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.out("[" + ",\n".join(result.model_dump_json() for result in results) + "]")
        return
    for item, result in zip(items, results, strict=True):
        console.print(_picture(item, result))


def _picture(item: Item, result: Any) -> Text:
    """The answer, then the texts with their words marked, the stronger the more they count. Legible without colour."""
    lines = [Text(_harmless(line), style="bold") for line in result.headlines()]
    texts = _texts(item)
    given = result.explanation
    explanations: Sequence[Explanation] = given if isinstance(given, tuple) else [given] if given else []
    if not explanations:
        return Text("\n").join([*lines, *(Text(_harmless(text)) for text in texts.values())])
    for explanation in explanations:
        explained = {word.field for word in explanation.items}
        lines += [_mark(field, text, explanation) for field, text in texts.items() if field in explained]
        lines.append(_name_top_words(explanation))
    return Text("\n").join(lines)


def _texts(item: Item) -> dict[str, str]:
    """The item's texts by the names that explanations call them."""
    texts: dict[str, str] = {}
    for field, value in item:
        if isinstance(value, tuple):
            texts |= {f"{field}/{number}": text for number, text in enumerate(value)}
        elif field != "id" and value is not None:
            texts[field] = value
    return texts


def _mark(field: str, text: str, explanation: Explanation) -> Text:
    marked = Text(_harmless(text))
    strongest = max((abs(word.score) for word in explanation.items), default=0.0)
    for word in explanation.items:
        strength = round(10 * abs(word.score) / strongest) if strongest and word.field == field else 0
        if strength:
            marked.stylize(f"black on rgb(255,{255 - 12 * strength},{220 - 20 * strength})", word.start, word.end)
    return marked


def _name_top_words(explanation: Explanation) -> Text:
    top = sorted(explanation.items, key=lambda word: -abs(word.score))[:TOP_WORDS]
    sign = "" if explanation.rest is None else "+"
    words = ", ".join(f"{_harmless(word.text)} {word.score:{sign}.2f}" for word in top)
    return Text(f"{explanation.method} for {_harmless(explanation.target)}: {words}", style="dim")


def _harmless(text: str) -> str:
    """The text with U+FFFD in place of each character that controls a terminal.

    rich would drop some of those characters, and the offsets of all words after them would no longer be right.
    """
    return _CONTROL.sub("\ufffd", text)


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
