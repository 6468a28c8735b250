"""Records as items: the values that a record has for the fields of an item, checked."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import tell_mistakes
from models.tasks.task import AnyTask, Item, read_item
from service.outcomes.answering import Failure

Values = Mapping[str, Any]
"""The values of a record by the fields of an item."""


def read_record(task: AnyTask, record: Values | Failure) -> Item | Failure:
    """The values as an item of the task; a list may be JSON. What failed before passes through."""
    if isinstance(record, Failure):
        return record
    try:
        given = {field: value for field, value in record.items() if not _is_nothing(value)}
        item: Item = read_item(task.item, given)
    except ValidationError as error:
        return Failure("validation", tell_mistakes(error))
    return item


def _is_nothing(value: Any) -> bool:
    """Whether the value is none, which in a frame is not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))
