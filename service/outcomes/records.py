"""Records as items: the values that a record has for the fields of an item, checked."""

import math
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
        mistake = first_mistake(error)
        is_missing = mistake.place and _is_nothing(mistake.given)
        return Failure("validation", f"{mistake.place}: is missing" if is_missing else str(mistake))
    return item


def _is_nothing(value: Any) -> bool:
    """Whether a record lacks the value or holds none, which in a frame is not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))
