"""Scores by leaving out: how far the sum of logits that speaks for an answer falls without a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.package import Manifest
from export.session import Arrays
from models.tasks.task import READ_AT_TOKENS, AnswerPart, Head, Item, Logits
from models.text import LONGEST_WORD, BadInput, Encoded, Row
from models.words import Span
from service.answers.batch import EncodedItem, ItemScores, UnitScores
from service.answers.explainers.explainer import AnsweredItem, ExplanationPlan, mean_over_windows, weigh
from service.answers.explanation import ExplanationTooLong
from service.answers.model import LoadedModel
from service.answers.units import find_units, units_of_part

TOKENS_PER_WORD = 4
"""Tokens that an item may have for each word that it may have; usual texts have less than two."""

IN_BEST_WINDOW: tuple[Head, ...] = ("multi-label-classification", "multiple-choice")
"""Heads of whose windows the one counts that speaks most for a part of the answer."""


@dataclass(frozen=True)
class Place:
    """Some characters of an item: a field, and a span of its text."""

    field: str
    span: Span


@dataclass(frozen=True)
class ThinnedItem:
    """An item without one of its words or tokens, read again."""

    left_out: Place
    """The characters that are gone, a blank beside a word included."""
    encoded: Encoded
    rows: Sequence[int]
    """Numbers of the rows that matter to the answer."""

    @cached_property
    def tokens(self) -> Sequence[Mapping[str, Sequence[tuple[int, Span]]]]:
        """For each row, by field, the positions of its tokens and their places in the text that is left."""
        return [{field: row.spans(field) for field in row.fields} for row in self.encoded.rows]


class Occlusion:
    """The explainer that leaves out one word or token at a time and asks the model again, in the background.

    The text without it is read like any other, while the target stays that of the whole text. Where an answer stands at
    tokens, its logits are read where the same characters stand now, and those that stood at characters left out count
    as 0. They all do where nothing is left to read.
    """

    further_outputs = ("logits",)
    is_background = True

    def is_offered(self, manifest: Manifest) -> bool:
        """Always: any model can be asked again."""
        del manifest
        return True

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """None beside the logits."""
        del model
        return ()

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """Leave out once each word that the model saw in the rows of some part of the answer."""
        _refuse_long_text(answered)
        listed = _listed(answered)
        places = list(dict.fromkeys(place for of_part in listed for place in of_part))
        _refuse_many(places, answered)
        seen = _seen(answered)
        thinned = {
            place: _leave_out(place, seen, answered)
            for place in places
            if place.span.start < len(seen.get(place.field, ""))
        }
        rows = [left.encoded.rows[row] for left in thinned.values() if left for row in left.rows]
        return ExplanationPlan(rows, lambda computed: _compare(answered, listed, thinned, computed))


def _listed(answered: AnsweredItem) -> list[list[Place]]:
    """The words or tokens that the explanation of each part lists, in its order."""
    encoded = answered.item.encoded
    units = find_units(encoded, answered.unit, "codepoint")
    of_parts = [units_of_part(units, part, encoded) for part in answered.prediction.parts]
    return [[Place(field, unit.span) for field, found in one.items() for unit in found] for one in of_parts]


def _compare(
    answered: AnsweredItem,
    listed: Sequence[Sequence[Place]],
    thinned: Mapping[Place, ThinnedItem | None],
    computed: Sequence[Arrays],
) -> ItemScores:
    """For each part the sum of its logits, less what is left of it without each word; 0 for words never seen."""
    arrays = iter(computed)
    logits = {
        place: {row: next(arrays)["logits"] for row in left.rows} for place, left in thinned.items() if left is not None
    }
    scores = []
    for part, places in zip(answered.prediction.parts, listed, strict=True):
        y, tokens = answered.y(part), _tokens_of(answered.item.encoded.rows[part.rows[0]])
        values = np.zeros(len(places))
        for number, place in enumerate(places):
            if place in thinned:
                left = thinned[place]
                values[number] = y if left is None else y - _y_without(part, left, logits[place], answered, tokens)
        scores.append(UnitScores(values, y))
    return scores


def _refuse_long_text(answered: AnsweredItem) -> None:
    """Raise ExplanationTooLong for a text that would take long to read again and again, whatever its words."""
    encoded = answered.item.encoded
    most = TOKENS_PER_WORD * answered.model.max_occlusion_words
    tokens = sum(len(encoded.rows[number]) for number in _needed(encoded, answered))
    characters = sum(map(len, encoded.texts.values()))
    for count, unit, allowed in ((characters, "characters", LONGEST_WORD * most), (tokens, "tokens", most)):
        if count > allowed:
            raise ExplanationTooLong(
                f"{count:,} {unit} to read again without each word; at most {allowed:,} are: shorten the text"
            )


def _refuse_many(places: Sequence[Place], answered: AnsweredItem) -> None:
    most = answered.model.max_occlusion_words
    if len(places) > most:
        raise ExplanationTooLong(
            f"{len(places):,} {answered.unit}s to leave out in turn; at most {most:,} are: shorten the text"
        )


def _needed(encoded: Encoded, answered: AnsweredItem) -> list[int]:
    """Numbers of the rows that matter to the parts of the answer: of several choices, those of the explained one."""
    numbers = range(len(encoded.rows))
    if answered.model.task.head != "multiple-choice":
        return list(numbers)
    whole = answered.item.encoded.rows
    choices = {whole[row].group for part in answered.prediction.parts for row in part.rows}
    return [number for number in numbers if encoded.rows[number].group in choices]


def _seen(answered: AnsweredItem) -> Mapping[str, str]:
    """By field, the text that the model read. What was cut off would else move in when a word is left out."""
    encoded = answered.item.encoded
    if not encoded.truncated:
        return encoded.texts
    ends: dict[str, int] = {}
    for number in _needed(encoded, answered):
        row = encoded.rows[number]
        for field in row.fields:
            ends[field] = max([ends.get(field, 0), *(span.end for _, span in row.spans(field))])
    return {field: encoded.texts[field][:end] for field, end in ends.items()}


def _leave_out(place: Place, seen: Mapping[str, str], answered: AnsweredItem) -> ThinnedItem | None:
    """The item without a word or token; None where nothing is left to read."""
    text = seen[place.field]
    start, end = place.span
    # One of two equal blanks goes too: to tokenizers that work on bytes they would be another token. Two that differ
    # stay: a tokenizer may take one of them, such as a control character, for nothing; the other keeps words apart.
    before = text[:start][-1:]
    if before.isspace() and text[end : end + 1] in ("", before):
        start -= 1
    item = answered.item.item
    for field, kept in seen.items():
        item = _with_text(item, field, text[:start] + text[end:] if field == place.field else kept)
    try:
        # Windows however the whole text was read: where the pieces of a word became words, less text has more tokens.
        encoded = answered.model.encode(item, "window")
    except BadInput:
        return None
    return ThinnedItem(Place(place.field, Span(start, end)), encoded, _needed(encoded, answered))


def _with_text(item: Item, field: str, text: str) -> Item:
    """The item with another text in a field, `choices/2` being the third of `choices`."""
    name, _, number = field.partition("/")
    if not number:
        return item.model_copy(update={name: text})
    texts = list(getattr(item, name))
    texts[int(number)] = text
    return item.model_copy(update={name: tuple(texts)})


def _tokens_of(row: Row) -> dict[int, Place]:
    """By position, the places of a row's tokens; special tokens have none."""
    return {position: Place(field, span) for field in row.fields for position, span in row.spans(field)}


def _y_without(
    part: AnswerPart,
    left: ThinnedItem,
    logits: Mapping[int, Logits],
    answered: AnsweredItem,
    tokens: Mapping[int, Place],
) -> float:
    """The sum of logits that still speaks for a part; `tokens` are those of the row that the part came from."""
    model, rows = answered.model, left.rows
    if model.task.head in READ_AT_TOKENS:
        return _y_at_tokens(part, left, logits, tokens)
    if model.task.head in IN_BEST_WINDOW:
        return max(weigh(logits[row], part.target) for row in rows)
    if len(rows) > 1:
        # Those windows count that decide the task's answer.
        thinned = EncodedItem(answered.item.index, answered.item.item, left.encoded)
        rows = model.predict([{"logits": logits[row]} for row in rows], thinned).parts[0].rows
    return mean_over_windows({row: logits[row] for row in rows}, part.target, left.encoded)


def _y_at_tokens(
    part: AnswerPart, left: ThinnedItem, logits: Mapping[int, Logits], tokens: Mapping[int, Place]
) -> float:
    """The same for logits at tokens, each read at the token that holds its first character now."""
    wanted = {token for token, _ in part.target}
    if not wanted & tokens.keys():
        return mean_over_windows(logits, part.target, left.encoded)  # the first token of every row
    starts = {token: _start_after(tokens[token], left.left_out) for token in wanted & tokens.keys()}
    found = {row: _find(starts, tokens, left.tokens[row]) for row in left.rows}

    def rank(row: int) -> tuple[int, int]:
        last = len(left.encoded.rows[row]) - 1
        return len(found[row]), min((min(at, last - at) for at in found[row].values()), default=0)

    # Of several windows the one that holds all of them, farthest from its ends.
    best = max(left.rows, key=rank)
    return sum(
        weight * float(logits[best][found[best][token], label])
        for (token, label), weight in part.target.items()
        if token in found[best]
    )


def _start_after(token: Place, left_out: Place) -> int | None:
    """The place of a token's first character in the text that is left; None where it is gone."""
    start, gone = token.span.start, left_out.span
    if token.field != left_out.field or start < gone.start:
        return start
    return start - (gone.end - gone.start) if start >= gone.end else None


def _find(
    starts: Mapping[int, int | None],
    tokens: Mapping[int, Place],
    in_row: Mapping[str, Sequence[tuple[int, Span]]],
) -> dict[int, int]:
    """By token, the position in a row of the one that holds its first character; without those that are not there."""
    found = {}
    for token, start in starts.items():
        for position, span in in_row.get(tokens[token].field, ()):
            if start is not None and span.start <= start < span.end:
                found[token] = position
                break
    return found
