"""Inputs of Python programs one by one: texts, objects, tuples of texts in the order of a task's fields."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from models.errors import UserError, tell_mistakes
from models.tasks.task import AnyTask, Item
from service.outcomes.answering import Failure


class UnknownInputs(UserError):
    """Inputs of a kind that cannot be scored."""


class ArrowStream(Protocol):
    """A table of Arrow's, pandas' or another library's."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table as Arrow's C stream."""
        ...


TableT = TypeVar("TableT", bound=ArrowStream)


def is_table(inputs: object) -> bool:
    """Whether inputs come as a table."""
    return hasattr(inputs, "__arrow_c_stream__")


def read_inputs(task: AnyTask, inputs: Iterable[Any]) -> list[Item | Failure]:
    """The inputs as items of the task; raises UnknownInputs where a single one is given."""
    if isinstance(inputs, str | bytes | Mapping | Item):
        raise UnknownInputs("a single input: score takes a list of inputs; put it into one")
    if not isinstance(inputs, Iterable):
        raise UnknownInputs(f"{type(inputs).__name__}: score takes a list of inputs, a DataFrame or an Arrow table")
    return [_read(task, given) for given in inputs]


def _read(task: AnyTask, given: Any) -> Item | Failure:
    if isinstance(given, tuple):
        if len(given) > len(task.columns):
            return Failure("validation", f"has {len(given)} texts, but {task.name} reads {', '.join(task.columns)}")
        given = dict(zip(task.columns, given, strict=False))
    try:
        item: Item = task.item.model_validate(given)
    except ValidationError as error:
        return Failure("validation", tell_mistakes(error))
    return item
