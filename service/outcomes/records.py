"""Records as items: the values that a record has for the fields of an item, checked."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import first_mistake
from models.tasks.task import AnyTask, Item, read_item
from service.outcomes.answering import Failure

Values = Mapping[str, Any]
"""The values of a record by the fields of an item."""


def read_record(task: AnyTask, record: Values | Failure) -> Item | Failure:
    """The values as an item of the task; a list may be JSON. What failed before passes through."""
    if isinstance(record, Failure):
        return record
    try:
        item: Item = read_item(task.item, record)
    except ValidationError as error:
        return Failure("validation", str(first_mistake(error)))
    return item
