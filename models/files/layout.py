"""The columns of a data set that hold the items and the right answers of a task, and the names of labels in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.entity_tags import OUTSIDE, rename_kind
from models.errors import UserError
from models.files.rows import find_column, look_up
from models.tasks.classification import name_label
from models.tasks.labels.matching import plain_name
from models.tasks.task import AnyTask, parse_list
from models.tasks.text_classification import split_labels

TARGET_COLUMNS = {
    "label": (
        "label", "labels", "gold_label", "target", "class", "category", "intent", "topic", "stance", "sentiment",
        "polarity", "is_duplicate",
    ),
    "labels": ("labels", "label", "classes", "categories", "topics", "tags"),
    "tags": ("tags", "ner_tags", "labels"),
    "score": ("score", "similarity_score", "relatedness_score", "similarity"),
}  # fmt: skip
"""Names of the column of right answers, by the one that a task declares; the first that is there is taken."""


class LayoutError(UserError):
    """Columns or labels that a task does not have."""


class Layout(BaseModel):
    """The names of columns and labels in a data set, where they are not the usual ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = Field(
        default={},
        description="By field of the task, or name of its right answer, the column that holds it; a name with dots "
        "leads into nested fields.",
    )
    label_map: dict[str, str] = Field(
        default={},
        description="By label in the data, the label that it stands for; case does not matter. Records whose label "
        "stands for the empty text are left out.",
    )

    @field_validator("label_map")
    @classmethod
    def _refuse_alike(cls, label_map: dict[str, str]) -> dict[str, str]:
        names: dict[str, str] = {}
        for name in label_map:
            if not name.strip():
                raise ValueError("a name is empty")
            other = names.setdefault(_key(name), name)
            if label_map[other] != label_map[name]:
                raise ValueError(f"{other!r} and {name!r} differ in nothing but case or signs; name one of them")
        return label_map

    def over(self, other: "Layout") -> "Layout":
        """This layout, with the names of `other` where it has none itself."""
        return Layout(columns=other.columns | self.columns, label_map=other.label_map | self.label_map)

    def rename_answer(self, answer: Any, task: AnyTask) -> Any:
        """A right answer to an item of the task with its labels under their own names, as `rename` has it.

        Of any number of labels that a text has, each is renamed on its own, also where they stand in one value; one
        that has no name then is none of them.
        """
        if not self.label_map or task.target_column != "labels":
            return self.rename(answer)
        if isinstance(answer, str) and (renamed := self._rename(answer)) is not answer:
            return [renamed] if renamed else []
        named = split_labels(answer)
        if named is None:
            return answer
        renamed = [self._rename(one) for one in named]
        if all(name is one for name, one in zip(renamed, named, strict=True)):
            return named
        # Two names may stand for one label, or for none.
        return [name for place, name in enumerate(renamed) if name != "" and name not in renamed[:place]]

    def rename(self, answer: Any) -> Any:
        """A right answer with its labels under their own names; one that the map does not name stays as it is.

        In a list, which csv holds as JSON, each label is renamed on its own; of a tag such as `B-PER`, its kind is. A
        kind without a name makes the word one outside of entities.
        """
        if not self.label_map:
            return answer
        answer = parse_list(answer) if isinstance(answer, str) and answer.startswith("[") else answer
        if isinstance(answer, list | tuple):
            return [self._rename_tag(one) for one in answer]
        return self._rename(answer)

    def _rename(self, label: Any) -> Any:
        # Truth values have the names true and false, and 1 and 0.
        alike = (str(label), str(int(label))) if isinstance(label, bool) else (label,)
        names = (_key(one) for one in alike if name_label(one) is not None)
        return next((self._labels[name] for name in names if name in self._labels), label)

    def _rename_tag(self, tag: Any) -> Any:
        renamed = self._rename(tag)
        if renamed is tag:
            return rename_kind(tag, self._rename) if isinstance(tag, str) else tag
        return renamed or OUTSIDE

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        return {_key(name): label.strip() for name, label in self.label_map.items()}


USUAL_LAYOUT = Layout()
"""The layout of data whose columns and labels have their usual names."""


def _key(label: Any) -> str:
    """The name under which a label is looked up: 1, `1.0` and `01` have one, and case and signs do not count."""
    name = name_label(label) or str(label)
    # A label may be nothing but signs, such as `-`.
    return plain_name(name).strip() or name.strip()


@dataclass(frozen=True)
class Columns:
    """The columns of a part that are read."""

    fields: Mapping[str, str]
    """The column that holds each field of the item."""
    target: str | None
    """The column of right answers; None where they are not read, or the texts themselves hold them."""
    takes_one: bool = False
    """Whether a right answer is one label, which some tools write as a list with its name."""

    def values(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a record by field of the item; None for one that is missing."""
        return {field: look_up(record, column) for field, column in self.fields.items()}

    def answer(self, record: Mapping[str, Any]) -> Any:
        """The value of a record for the right answer, as the file has it; None where it is missing or not read."""
        answer = None if self.target is None else look_up(record, self.target)
        if self.takes_one and isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str):
            return answer[0]
        return answer


def find_columns(available: Sequence[str], task: AnyTask, layout: Layout, *, has_answers: bool) -> Columns:
    """Find the columns that hold the items of a task, and those of right answers where they are wanted.

    Raises:
        UnknownColumn: one is missing.
    """
    columns = task.example_columns or task.columns
    fields = {field: find_column(available, names, layout.columns.get(field)) for field, names in columns.items()}
    if not has_answers or task.target_column is None:
        return Columns(fields, None)
    names = TARGET_COLUMNS.get(task.target_column, (task.target_column,))
    target = find_column(available, names, layout.columns.get(task.target_column))
    return Columns(fields, target, takes_one=task.target_column == "label")


def check_layout(layout: Layout, task: AnyTask) -> None:
    """Refuse columns that a task does not read, and labels of one that has none; raises LayoutError."""
    known = named_columns(task)
    unknown = next((name for name in layout.columns if name not in known), None)
    if unknown is not None:
        raise LayoutError(f"{task.name} reads no {unknown}; columns can be named for: {', '.join(known)}")
    if layout.label_map and task.target_column not in ("label", "labels", "tags"):
        raise LayoutError(f"{task.name} has no labels to map; leave the label map out")


def named_columns(task: AnyTask) -> tuple[str, ...]:
    """The fields of a task's items in data files, and the name of its right answer, each of which has a column."""
    target = () if task.target_column is None else (task.target_column,)
    return (*(task.example_columns or task.columns), *target)
