"""Explained answers as HTML that needs no script: for a page of its own, a notebook, or a part of another page.

Texts never become markup. Colours are not needed: lines under words and signs behind them say the same, titles and text
for screen readers give the numbers. `style()` holds the rules for all classes used here.
"""

import html
import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.package import Faithfulness
from models.tasks.task import Item, LabelScore
from service.answers.explanation import MEANINGS, Explanation
from service.answers.highlights import (
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

TABLE_WORDS = 20
"""Most words whose numbers are listed in a table."""

STEPS = 10
"""Steps of colour between no and the largest score; the style has a class for each."""

CAVEAT = "A score says what the model used to judge the answer; it is no reason, no cause and no measure of trust."

_LINES = re.compile(r"[^\n]*\n|[^\n]+")

_UNSHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and halves of surrogate pairs, which HTML in UTF-8 cannot hold."""


def style() -> str:
    """The CSS of fragments; every rule holds only inside an element of the class `steadfast`."""
    return Path(__file__).with_name("fragment.css").read_text(encoding="utf-8")


def fragment(item: Item, result: Any) -> str:
    """One answer and its explanation, with the legend and the limits of what it says, as an element to put anywhere.

    Args:
        item: The input; its texts are shown.
        result: The input's result of the contract, whose offsets count code points.
    """
    return f'<div class="steadfast">{answer(item, result)}{notes_on(views_of(result))}</div>'


def answer(item: Item, result: Any, reason: str | None = None) -> str:
    """One answer with its scores, and its texts with their words marked; `reason` says why no word is.

    The element must stand inside one of the class `steadfast`.
    """
    views = views_of(result)
    parts = "".join(_part(item, view, is_one_of_many=len(views) > 1) for view in views)
    because = f'<p class="note">Not explained: {escape(reason)}</p>' if reason else ""
    heading = "" if len(views) > 1 else _heading(result, views[0])
    return f'<article class="answer">{heading}{_scores(result)}{parts}{_corrections(item, result)}{because}</article>'


def notes_on(views: Sequence[AnswerView]) -> str:
    """Notes for all answers that are explained by one method: its meaning, the legend, its faithfulness and limits.

    Empty where nothing is explained.
    """
    explanation = next((view.explanation for view in views if view.explanation), None)
    if explanation is None:
        return ""
    explained = escape(name_explained(views))
    score = f"The score of a {explanation.unit} is {MEANINGS[explanation.method].format(answer=explained)}."
    lines = [f"Explained by <strong>{explanation.method}</strong>. {score}", _legend(explanation, explained)]
    lines += [_faithfulness(explanation.faithfulness), CAVEAT]
    return '<aside class="notes">' + "".join(f"<p>{line}</p>" for line in lines) + "</aside>"


def escape(text: str) -> str:
    """The text as HTML shows it, in elements and in quoted attributes; U+FFFD for what HTML cannot hold."""
    return html.escape(_UNSHOWN.sub("\ufffd", text))


def _heading(result: Any, view: AnswerView) -> str:
    """The answer in short; numbers without a label, such as a similarity, are called by their names."""
    numbers = [f"{name} {value:.3f}" for name, value in result if isinstance(value, float)]
    lines = [", ".join(numbers)] if numbers and not _labels(result) else view.headline.split("\n")
    return "".join(f"<h2>{escape(line)}</h2>" for line in lines)


def _scores(result: Any) -> str:
    """A bar for the probability of each label, of each choice or span."""
    rows = "".join(
        f'<li><span lang="">{escape(one.label)}</span> {_bar(one.score)} <b>{one.score:.3f}</b></li>'
        for one in _labels(result)
    )
    return f'<ul class="scores">{rows}</ul>' if rows else ""


def _corrections(item: Item, result: Any) -> str:
    read_otherwise = name_corrections(item, result)
    if not read_otherwise:
        return ""
    return f'<p class="note">Read otherwise: <span lang="" dir="auto">{escape(read_otherwise)}</span></p>'


def _labels(result: Any) -> list[LabelScore]:
    return [one for _, value in result if isinstance(value, tuple) for one in value if isinstance(one, LabelScore)]


def _bar(share: float) -> str:
    width = f"{100 * share:.1f}"
    return (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="all" width="100" height="1"/><rect width="{width}" height="1"/></svg>'
    )


def _part(item: Item, view: AnswerView, *, is_one_of_many: bool) -> str:
    """The texts of an explained part, what no word accounts for, and the numbers."""
    heading = f"<h3>{escape(view.headline)}</h3>" if is_one_of_many else ""
    explanation = view.explanation
    target = ""
    if explanation and is_same_for_all_answers(item, view):
        target = (
            f"<p>The scores of {explanation.method} do not depend on the label; they are the same for every answer.</p>"
        )
    elif explanation and view.explains_other:
        target = f'<p>Words scored for: <strong lang="">{escape(explanation.target)}</strong></p>'
    beside = _rest(explanation) + _table(explanation) if explanation else ""
    return f'<section class="part">{heading}{target}{_texts(item, view)}{beside}</section>'


def _texts(item: Item, view: AnswerView) -> str:
    """The texts, the first beside the others; a list of texts is a list."""
    figures: dict[str, list[str]] = {}
    for field, text in texts_of(item).items():
        figures.setdefault(field.partition("/")[0], []).append(_marked(field, text, view))
    shown = [_figure(name, texts, is_named=len(figures) > 1) for name, texts in figures.items()]
    columns = [shown[0], "".join(shown[1:])] if len(shown) > 1 else shown
    return '<div class="texts">' + "".join(f"<div>{column}</div>" for column in columns) + "</div>"


def _figure(name: str, texts: Sequence[str], *, is_named: bool) -> str:
    caption = f"<figcaption>{escape(_name(name))}</figcaption>" if is_named else ""
    # The texts' language is not known, and they may be written from right to left.
    if len(texts) == 1:
        return f'<figure>{caption}<p class="text" lang="" dir="auto">{texts[0]}</p></figure>'
    rows = "".join(f'<li class="text" lang="" dir="auto">{text}</li>' for text in texts)
    return f'<figure>{caption}<ol start="0">{rows}</ol></figure>'


def _marked(field: str, text: str, view: AnswerView) -> str:
    """The text with its words marked and what the model found outlined; each line of several is an element."""
    signed = view.explanation is not None and is_signed(view.explanation)
    lines = [_line(pieces, signed=signed) for pieces in _split_lines(cut(field, text, view))]
    return lines[0] if len(lines) == 1 else "".join(f'<span class="line">{line}</span>' for line in lines)


def _split_lines(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces of each line, its line feed included; none of them is a word that goes over two lines."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        texts = [piece.text] if piece.word else _LINES.findall(piece.text)
        for text in texts:
            lines[-1].append(replace(piece, text=text))
            if text.endswith("\n") and not piece.word:
                lines.append([])
    return lines if lines[-1] or len(lines) == 1 else lines[:-1]


def _line(pieces: Sequence[Piece], *, signed: bool) -> str:
    groups = itertools.groupby(pieces, key=lambda piece: piece.is_answer)
    shown = [("".join(_mark(piece, signed=signed) for piece in group), is_found) for is_found, group in groups]
    return "".join(f'<span class="found">{part}</span>' if is_found else part for part, is_found in shown)


def _mark(piece: Piece, *, signed: bool) -> str:
    """A piece; if it is of a word, with its score as a title, and for screen readers where the word counts much."""
    text = escape(piece.text)
    if piece.word is None:
        return text
    score = f"{piece.word.score:{'+' if signed else ''}.3f}"
    step = round(STEPS * piece.strength)
    if not step:
        return f'<span title="{score}">{text}</span>'
    kind = "share" if not signed else "against" if piece.is_against else "for"
    classes = [kind, f"s{step}", f"g{piece.grade}", *(["end"] if piece.ends else [])]
    spoken = f'<span class="spoken"> ({score})</span>' if piece.grade and piece.ends else ""
    return f'<mark class="{" ".join(classes)}" title="{score}">{text}{spoken}</mark>'


def _legend(explanation: Explanation, explained: str) -> str:
    if not is_signed(explanation):
        return (
            f'<mark class="share s{STEPS} g2">This colour</mark> and the line grow with the score; the scores have no '
            "sign, so that they speak neither for nor against the answer, and add up to 1."
        )
    return (
        f'<mark class="for s{STEPS} g2 end">For {explained}</mark> '
        f'<mark class="against s{STEPS} g2 end">against it</mark>: the stronger the colour and the line, the more. '
        "Scores are in units of a logit."
    )


def _faithfulness(measured: Faithfulness | None) -> str:
    if measured is None:
        return (
            "How faithful the method is to this model was not measured; <code>steadfast export --explanations</code> "
            "measures it."
        )
    return (
        f"Measured on {measured.rows} texts, taking out the words that the method ranks first lowers the score of the "
        f"answer given by {measured.comprehensiveness:.3f} (words at random: {measured.random_comprehensiveness:.3f}; "
        f"higher is better), and keeping only these by {measured.sufficiency:.3f} (at random: "
        f"{measured.random_sufficiency:.3f}; lower is better)."
    )


def _rest(explanation: Explanation) -> str:
    if explanation.rest is None:
        return ""
    # Units that are left out one by one need not add up.
    limit = ", which has no meaning of its own" if explanation.method == "occlusion" else ""
    return f'<p class="rest">Rest: {explanation.rest:+.3f} logits that no {explanation.unit} accounts for{limit}.</p>'


def _table(explanation: Explanation) -> str:
    """The words of the largest absolute scores with their numbers, for those who cannot point at a word."""
    top = sorted(explanation.items, key=lambda word: -abs(word.score))[:TABLE_WORDS]
    fields = {word.field for word in explanation.items}
    sign = "+" if is_signed(explanation) else ""
    rows = "".join(
        f'<tr><th scope="row" lang="">{escape(word.text)}</th>'
        + (f"<td>{escape(_name(word.field))}</td>" if len(fields) > 1 else "")
        + f"<td>{word.score:{sign}.3f}</td></tr>"
        for word in top
    )
    unit = explanation.unit
    listed = f"all {unit}s" if len(top) == len(explanation.items) else f"the {len(top)} {unit}s that count most"
    return f"<details><summary>Scores of {listed}</summary><table>{rows}</table></details>"


def _name(field: str) -> str:
    """A field as people call it, with the place in a list, which is counted from 0 as callers do."""
    name, _, place = field.partition("/")
    return name.replace("_", " ") + (f" {place}" if place else "")
