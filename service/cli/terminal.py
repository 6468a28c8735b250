"""Answers as they look in a terminal: in colour, or with signs around words where there is no colour."""

import re
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from models.errors import shorten
from models.tasks.task import Item
from service.answers.batch import UnexplainedItem
from service.answers.explanation import Explanation
from service.answers.highlights import (
    LONGEST_NAMED,
    AnswerView,
    Piece,
    cut,
    is_same_for_all_answers,
    is_signed,
    name_corrections,
    name_explained,
    texts_of,
    views_of,
)

TOP_WORDS = 5
"""How many words are named below an explained answer."""

SAME_FOR_ALL = "does not depend on the label asked for: its scores are the same for every answer"
"""The note on a method whose scores tell nothing of the label that was asked for."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Every control character but tab and newline."""

_FOR = (86, 156, 255)
_AGAINST = (255, 122, 48)
_SHARE = (255, 205, 40)
"""Backgrounds of the words that count most: for the answer, against it, and where scores have no sign.

Blue and orange look different to all colour-blind people.
"""
_PALEST = 250


def show(items: Sequence[Item], results: Sequence[Any]) -> None:
    """Print results for people, in colour where that is wanted, and a legend where words have signs.

    Sixteen colours have none for the shades, so that words carry signs there.
    """
    console = Console(highlight=False, soft_wrap=True)
    in_colour = console.color_system in ("256", "truecolor") and not console.no_color
    signed: list[AnswerView] = []
    unaimed: list[str] = []
    for item, result in zip(items, results, strict=True):
        views = views_of(result)
        console.print(_picture(item, views, in_colour=in_colour))
        if read_otherwise := name_corrections(item, result):
            console.print(Text(f"read otherwise: {harmless(read_otherwise)}", style="dim"))
        signed += [view for view in views if view.explanation and is_signed(view.explanation)]
        unaimed += [
            view.explanation.method for view in views if view.explanation and is_same_for_all_answers(item, view)
        ]
    if signed:
        console.print(_legend(harmless(name_explained(signed)), in_colour=in_colour))
    if unaimed:
        console.print(Text(f"{unaimed[0]} {SAME_FOR_ALL}", style="dim"))


def show_json(results: Sequence[Any]) -> None:
    """Print results as a JSON array, one result a line."""
    Console(highlight=False, soft_wrap=True).out("[" + ",\n".join(result.model_dump_json() for result in results) + "]")


def warn_unexplained(unexplained: Sequence[UnexplainedItem]) -> None:
    """Say on stderr which answers have too much to explain."""
    for one in unexplained:
        typer.echo(f"input {one.index + 1} is not explained: {one.reason}", err=True)


def _picture(item: Item, views: Sequence[AnswerView], *, in_colour: bool) -> Text:
    """Each answer, its texts with their words marked, and the words that count most."""
    lines: list[Text] = []
    for view in views:
        lines += [Text(harmless(line), style="bold") for line in view.headline.split("\n")]
        texts = texts_of(item)
        if view.explanation:
            explained = {word.field for word in view.explanation.items}
            texts = {field: text for field, text in texts.items() if field in explained}
        for field, text in texts.items():
            pieces = cut(field, harmless(text), view)
            signed = view.explanation is not None and is_signed(view.explanation)
            if in_colour:
                lines.append(_colour(pieces, signed=signed))
            else:
                lines.append(_sign(pieces, signed=signed) if view.explanation else Text(harmless(text)))
        if view.explanation:
            lines.append(_name_top_words(view.explanation))
    return Text("\n").join(lines)


def _colour(pieces: Sequence[Piece], *, signed: bool) -> Text:
    """The text with the background of each word in its colour, and the answer itself underlined."""
    line = Text()
    for piece in pieces:
        style = "bold underline" if piece.is_answer else ""
        if round(10 * piece.strength):
            style += f" black on {_background(piece, signed=signed)}"
        line.append(piece.text, style)
    return line


def _background(piece: Piece, *, signed: bool) -> str:
    full = (_AGAINST if piece.is_against else _FOR) if signed else _SHARE
    return _rgb([round(_PALEST + (channel - _PALEST) * piece.strength) for channel in full])


def _rgb(channels: Sequence[int]) -> str:
    return f"rgb({','.join(map(str, channels))})"


def _sign(pieces: Sequence[Piece], *, signed: bool) -> Text:
    """The text with signs around the words that count, and brackets around the answer itself."""
    line, was_answer = [], False
    for piece in pieces:
        mark = ("-" if piece.is_against else "+") * piece.grade if signed else ""
        if was_answer and not piece.is_answer:
            line.append("]")
        if piece.is_answer and not was_answer:
            line.append("[")
        was_answer = piece.is_answer
        line += [mark if piece.starts else "", piece.text, mark if piece.ends else ""]
    return Text("".join([*line, "]" if was_answer else ""]))


def _legend(explained: str, *, in_colour: bool) -> Text:
    if not in_colour:
        return Text(f"+word+ speaks for {explained}, -word- against it; ++ and -- stand at the words that count most")
    return Text.assemble(
        (f"speaks for {explained}", f"black on {_rgb(_FOR)}"),
        " ",
        ("against it", f"black on {_rgb(_AGAINST)}"),
        ("; the stronger the colour, the more", "dim"),
    )


def _name_top_words(explanation: Explanation) -> Text:
    top = sorted(explanation.items, key=lambda word: -abs(word.score))[:TOP_WORDS]
    sign = "+" if is_signed(explanation) else ""
    words = ", ".join(f"{harmless(shorten(word.text, LONGEST_NAMED))} {word.score:{sign}.2f}" for word in top)
    return Text(f"{explanation.method} for {harmless(explanation.target)}: {words}", style="dim")


def harmless(text: str) -> str:
    """The text with U+FFFD in place of each character that controls a terminal.

    rich would drop some of those characters, and the offsets of all words after them would no longer be right.
    """
    return _CONTROL.sub("\ufffd", text)
