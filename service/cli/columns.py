"""Options that name columns of files and labels of data, for every command that reads them."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import typer
from pydantic import ValidationError

from models.errors import first_mistake
from models.files.layout import TARGET_COLUMNS, Layout
from models.tasks import ENDPOINTS, TASKS
from models.tasks.task import AnyTask, takes_list
from service.cli.options import optional

_SUFFIX = "_column"
LABEL_MAP = "label_map"

_Field = tuple[str, AnyTask, Sequence[str], bool]
"""A field, a task that reads it, the usual names of its column, and whether it holds a list."""


def column_options() -> Iterator[inspect.Parameter]:
    """An option for each field of any task, to name the column that holds it."""
    tasks = [task for able in ENDPOINTS.values() for task in able]
    fields = [
        (field, task, names, takes_list(task.item, field)) for task in tasks for field, names in task.columns.items()
    ]
    return _name_each(fields, "Columns of the input")


def layout_options() -> Iterator[inspect.Parameter]:
    """The same for data with right answers, and one for the names of labels."""
    yield from _name_each([one for task in TASKS.values() for one in _labelled_fields(task)], "Names in the data")
    yield optional(
        LABEL_MAP,
        list[str],
        metavar="NAME=LABEL,...",
        help="Labels of the data under other names, such as `pos=positive,neg=negative` or `1=negative,2=positive`; "
        "of entities, their kinds. Case does not matter. Nothing behind the sign (`-=`) leaves out records with that "
        "label. May be repeated.",
        rich_help_panel="Names in the data",
    )


def text_options() -> Iterator[inspect.Parameter]:
    """The option for the column of a text that needs no right answer."""
    return (option for option in layout_options() if option.name == f"text{_SUFFIX}")


def columns_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The columns that were named, by field."""
    return {name.removesuffix(_SUFFIX): one for name, one in given.items() if one and name.endswith(_SUFFIX)}


def layout_of(given: Mapping[str, Any]) -> Layout:
    """The names in the data that the options give; raises BadParameter where a map of labels is none."""
    label_map = _read_map(given.get(LABEL_MAP) or ())
    try:
        return Layout(columns=columns_of(given), label_map=label_map)
    except ValidationError as error:
        raise typer.BadParameter(first_mistake(error).reason, param_hint="--label-map") from None


def _labelled_fields(task: AnyTask) -> Iterator[_Field]:
    kind = task.example or task.item
    for field, names in (task.example_columns or task.columns).items():
        yield field, task, names, takes_list(kind, field)
    if task.target_column is not None:
        target = task.target_column
        yield target, task, TARGET_COLUMNS.get(target, (target,)), target == "tags"


def _name_each(fields: Sequence[_Field], panel: str) -> Iterator[inspect.Parameter]:
    for name in dict.fromkeys(field for field, *_ in fields):
        reading = [one for one in fields if one[0] == name]
        known_as = dict.fromkeys(known for _, _, names, _ in reading for known in names)
        lists = " as a JSON list in csv" if any(is_list for *_, is_list in reading) else ""
        yield optional(
            name + _SUFFIX,
            str,
            metavar="NAME",
            help=f"Column that holds the {name.replace('_', ' ')}{lists}, for "
            f"{', '.join(dict.fromkeys(task.endpoint for _, task, *_ in reading))}. "
            f"Without it: the first there is of {', '.join(known_as)}.",
            rich_help_panel=panel,
        )


def _read_map(given: Iterable[str]) -> dict[str, str]:
    label_map: dict[str, str] = {}
    for entry in (entry for one in given for entry in one.split(",") if entry.strip()):
        name, _, label = map(str.strip, entry.rpartition("="))
        if not name:
            raise typer.BadParameter(f"{entry.strip()!r}; write NAME=LABEL", param_hint="--label-map")
        if label_map.setdefault(name, label) != label:
            raise typer.BadParameter(f"{name!r} stands for two labels; name it once", param_hint="--label-map")
    return label_map
