"""The records that an attack changes: their items as callers send them, and what counts as a right answer."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from models.attack.words import Edits, apply, move
from models.data import AnsweredRecord, load_answered
from models.errors import UserError
from models.files.layout import USUAL_LAYOUT, Layout
from models.tasks.goals import Goal, Move, Standing
from models.tasks.task import AnyTask, Item, Outputs
from models.text import Reader, ReadingLimits


class NotAttackable(UserError):
    """A task or a field that an attack cannot change."""


@dataclass(frozen=True)
class Subject:
    """An item under attack."""

    source: AnsweredRecord
    item: Item
    """As callers send it."""
    texts: Mapping[str, str]
    """The fields that may change, with their texts."""
    goal: Goal

    @property
    def others(self) -> dict[str, str]:
        """For each field that may change, all other texts of the item."""
        values = self.item.model_dump(exclude={"id"})
        return {
            one: "\n".join(text for field, value in values.items() if field != one for text in _texts(value))
            for one in self.texts
        }

    def changed(self, edits: Edits) -> Item:
        """The item with these edits."""
        return self.item.model_copy(update=apply(self.texts, edits)) if edits else self.item

    def judge(self, first: Any, answer: Any, edits: Edits) -> Standing:
        """How the answer to the item with these edits stands beside the right one; `first` is that without any."""
        return self.goal.judge(first, answer, _moving(edits))

    def as_record(self, edits: Edits) -> dict[str, Any]:
        """The values of the record by column, with these edits, as a data file can hold them."""
        texts = apply({field: getattr(self.item, field) for field in self.texts}, edits)
        changed = self.source.item.as_values(texts, _moving(edits))
        columns = self.source.columns
        return {**self.source.record.values, **{columns[field]: value for field, value in changed.items()}}


def _moving(edits: Edits) -> Move:
    return lambda field, span: move(span, field, edits)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [text for text in value or () if isinstance(text, str)]


def load_subjects(
    data: str,
    part: str,
    task: AnyTask,
    outputs: Outputs,
    fields: Sequence[str],
    most: int | None,
    layout: Layout = USUAL_LAYOUT,
) -> list[Subject]:
    """Read the first `most` records of a part. Those whose right answer no attack can make wrong are left out.

    Raises:
        NotAttackable: the task has no such fields.
        DataError: the part cannot be read, or no record in it can be attacked.
    """
    chosen = choose_fields(task, fields)
    subjects = []
    for source in load_answered(data, part, task, outputs, plain_reader(), most, layout):
        goal = task.goal(source.target, source.encoded, outputs)
        if goal is not None:
            item = source.item.as_request()
            subjects.append(Subject(source, item, {field: getattr(item, field) for field in chosen}, goal))
    if not subjects:
        raise NotAttackable(f"{part}: no record has an answer that an attack could make wrong; choose another part")
    return subjects


def choose_fields(task: AnyTask, fields: Sequence[str]) -> tuple[str, ...]:
    """The fields that an attack changes: those named, or the last one that the task declares as noisy.

    Raises:
        NotAttackable: the task has no such field, or none at all.
    """
    noisy = task.edited_fields
    wrong = [field for field in fields if field not in noisy]
    if wrong or not noisy:
        known = ", ".join(noisy) or "none"
        raise NotAttackable(f"{task.name} has no field {', '.join(wrong)} that an attack can change; it has: {known}")
    return tuple(dict.fromkeys(fields)) or noisy[-1:]


def plain_reader() -> Reader:
    """Reads texts as words, for right answers that are checked against the texts, whatever model is attacked."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return Reader(tokenizer, ReadingLimits(max_tokens=sys.maxsize, max_item_tokens=sys.maxsize))
