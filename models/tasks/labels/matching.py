"""Matches the labels of a model's head with those that a task knows, by name, whatever their order and spelling."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from models.errors import UserError, shorten
from models.tasks.task import AnyTask

_NAMELESS = re.compile(r"(?:LABEL[_ -]?)?\d+", re.IGNORECASE)
"""Names that say no more than a label's number; transformers writes `LABEL_0` where nobody gave a name."""


class LabelError(UserError):
    """Labels that do not say what a head's numbers mean."""


@dataclass(frozen=True)
class MatchedHead:
    """The labels of a head in the order in which a package gives them."""

    labels: tuple[str, ...]
    rows: tuple[int, ...]
    """For each label, its number in the head as it was found."""


def match_labels(
    task: AnyTask, found: Sequence[str], given: Sequence[str] | None = None, *, base: str = "the model"
) -> MatchedHead:
    """Name the labels of a head, which calls them `found`, as the task does, and put them in the task's order.

    Heads of scores, choices and spans have no labels to name: whatever they call their numbers, the task's names hold.

    `given` are the user's own names for them, in the head's order. Names that the task does not know are taken from the
    user alone; then, and where the task knows no labels of its own, the head's order stays.

    Raises:
        LabelError: the labels have no names, are others than the task's, or two of them would have one name.
    """
    if not has_named_labels(task):
        if given is not None:
            raise LabelError(f"--labels: {task.name} has no labels to name; leave it out")
        return MatchedHead(task.outputs.labels, tuple(range(len(task.outputs.labels))))
    if given is not None and len(given) != len(found):
        raise LabelError(
            f"--labels: {len(given)} names, and the head of {base} gives {len(found)} numbers; name each of them, in "
            f"the order of {_quoted(found)}"
        )
    if given is None:
        _refuse_nameless(task, found, base)
    names = tuple(given or found)
    known = [find_label(task.known_as, name) for name in names]
    strangers = [name for name, label in zip(names, known, strict=True) if label is None]
    if task.known_as and strangers and given is None:
        raise LabelError(
            f"{base}: its labels {_quoted(strangers)} are none that {task.name} knows ({', '.join(task.known_as)}); "
            "name all of its labels in their order with --labels, or choose another --task"
        )
    labels = [label or name for label, name in zip(known, names, strict=True)]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        called = [name for name, label in zip(names, labels, strict=True) if label == twice]
        raise LabelError(
            f"{base}: the labels {_quoted(called)} both mean {twice!r}; give each a name of its own with --labels"
        )
    rows = list(range(len(labels)))
    if task.known_as and not strangers:
        order = list(task.known_as)
        rows.sort(key=lambda row: order.index(labels[row]))
    return MatchedHead(tuple(labels[row] for row in rows), tuple(rows))


def has_named_labels(task: AnyTask) -> bool:
    """Whether a model of the task may have labels in any order; scores, choices, spans and tokens have a fixed one."""
    return bool(task.known_as) or not task.has_own_labels or task.head == "token-classification"


def match_rows(task: AnyTask, labels: Sequence[str], found: Sequence[str]) -> dict[int, int]:
    """The numbers of the labels that a head is to have, each with that of the label of the same meaning in `found`.

    A label that stands twice in `found` is left out. Of several labels with the meaning of one in `found`, the one of
    the same name has it: to the letter, else in all but case and signs, else the first. A single match is none: it may
    stand in a head that answers something else, as `neutral` does in inference and in sentiment.
    """
    names = [_meaning(task, name) for name in found]
    meanings = [_meaning(task, label) for label in labels]
    rows = {}
    for row, name in enumerate(found):
        alike = [number for number, meaning in enumerate(meanings) if meaning == names[row]]
        if alike and names.count(names[row]) == 1:
            rows[min(alike, key=lambda number: _distance(labels[number], name))] = row
    return dict(sorted(rows.items())) if len(rows) > 1 else {}


def _distance(label: str, name: str) -> int:
    """How far apart the spellings of two labels of one meaning are: 0 if they are equal to the letter."""
    return 0 if label == name else 1 if plain_name(label) == plain_name(name) else 2


def match_classes(task: AnyTask, labels: Sequence[str], names: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of a model for the classes 0, 1 and so on of a data set, which calls them by these names.

    None where a class's number is the place of its label: the labels have none of the names, or only in these places.

    Raises:
        LabelError: the labels have only some of the names, and in other places, so that neither names nor places fit.
    """
    meanings = [_meaning(task, label) for label in labels]

    def find(name: str) -> int | None:
        """The place of the only label of this name or, if none is called so, of this meaning."""
        names, wanted = (labels, name) if name in labels else (meanings, _meaning(task, name))
        return names.index(wanted) if names.count(wanted) == 1 else None

    places = [find(name) for name in names]
    known = [place for place in places if place is not None]
    if len(known) == len(names):
        return tuple(labels[place] for place in known)
    moved = next((number for number, place in enumerate(places) if place not in (None, number)), None)
    if moved is None:
        return None
    strangers = [name for name, place in zip(names, places, strict=True) if place is None]
    raise LabelError(
        f"its class {moved} is {names[moved]!r}, which is label {places[moved]} here, and {_quoted(labels)} have none "
        f"for {_quoted(strangers)}; say with --label-map which label each name stands for"
    )


def _meaning(task: AnyTask, name: str) -> str:
    return plain_name(find_label(task.known_as, name) or name)


def find_label(known_as: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The label that a name stands for, whatever its case and the signs between its words; None for an unknown one."""
    plain = plain_name(name)
    return next(
        (label for label, others in known_as.items() if plain in map(plain_name, (label, *others))),
        None,
    )


# Data files name the same few labels in every record.
@lru_cache(maxsize=1024)
def plain_name(name: str) -> str:
    """A label's name in small letters, with blanks in the place of other signs between its words."""
    return " ".join(re.split(r"[\s_-]+", name.strip().casefold()))


def _refuse_nameless(task: AnyTask, found: Sequence[str], base: str) -> None:
    if not any(_NAMELESS.fullmatch(name.strip()) for name in found):
        return
    own = next((each for each in (task.outputs.labels, tuple(task.known_as)) if len(each) == len(found)), None)
    example = ",".join(own) if own else ",".join("NAME" for _ in found)
    raise LabelError(
        f"{base}: its labels have no names ({_quoted(found)}); name them in this order with --labels, such as "
        f"--labels {example}"
    )


def _quoted(names: Sequence[str]) -> str:
    shown = [repr(shorten(name)) for name in names[:8]]
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
