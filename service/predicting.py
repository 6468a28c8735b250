"""Answers for a few texts given by hand, and how they look in a terminal."""

import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from service.answering import Answerer
from service.contract import Options
from service.explanation import Explanation

TOP_WORDS = 5
"""How many words are named under an explained answer."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All control characters but tab and newline."""


class UnreadableText(ValueError):
    """A text that cannot be answered for."""


def predict_texts(answerer: Answerer, texts: Sequence[str], options: Options) -> list[Any]:
    """The result of each text, as HTTP gives it.

    Raises:
        UnreadableText: naming the first text at fault.
        NotOffered: the package gives no such explanation.
    """
    answerer.check(options.explain)
    (field,) = answerer.task.columns
    for number, text in enumerate(texts, start=1):
        if not _is_unicode(text):
            raise UnreadableText(f"text {number}: not valid Unicode; is the terminal set to UTF-8?")
    items = [answerer.task.item.model_validate({field: text}) for text in texts]
    readings, refusals = answerer.read(items, options.truncation)
    if refusals:
        raise UnreadableText(f"text {refusals[0].index + 1}: {refusals[0].reason}")
    return answerer.answer(readings, answerer.compute(readings, options.explain).result(), options)


def show(texts: Sequence[str], results: Sequence[Any], *, as_json: bool) -> None:
    """Print the results: a JSON array, one result a line, or for people, in colour where that is wanted."""
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.out("[" + ",\n".join(result.model_dump_json() for result in results) + "]")
        return
    for text, result in zip(texts, results, strict=True):
        console.print(_picture(text, result))


def _picture(text: str, result: Any) -> Text:
    """The answer, then the text with its words marked, the stronger the more they count; legible without colour."""
    answer = {name: value for name, value in result if isinstance(value, str | float) and name != "id"}
    values = (f"{value:.3f}" if isinstance(value, float) else value for value in answer.values())
    lines = [Text("  ".join(values), style="bold")]
    text = _harmless(text)
    explanation: Explanation | None = result.explanation
    if explanation is None:
        lines.append(Text(text))
    else:
        lines += [_mark(text, explanation), _name_top_words(explanation)]
    return Text("\n").join(lines)


def _mark(text: str, explanation: Explanation) -> Text:
    marked = Text(text)
    strongest = max((word.score for word in explanation.items), default=0.0)
    for word in explanation.items:
        strength = round(10 * word.score / strongest) if strongest else 0
        if strength:
            marked.stylize(f"black on rgb(255,{255 - 12 * strength},{220 - 20 * strength})", word.start, word.end)
    return marked


def _name_top_words(explanation: Explanation) -> Text:
    top = sorted(explanation.items, key=lambda word: -word.score)[:TOP_WORDS]
    words = ", ".join(f"{_harmless(word.text)} {word.score:.2f}" for word in top)
    return Text(f"{explanation.method} for {explanation.target}: {words}", style="dim")


def _harmless(text: str) -> str:
    """With U+FFFD for what commands a terminal, one for one: rich would drop some, and every place after them shift."""
    return _CONTROL.sub("\ufffd", text)


def _is_unicode(text: str) -> bool:
    """False for arguments with bytes that are no text, which Python passes as half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
