"""Results as columns of a table."""

from typing import Any

import pyarrow as pa
import pytest

from models.tasks import TASKS
from service.files.columns import ERROR, arrow_type, column_types


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_every_answer_has_a_column_for_each_of_its_fields(task: str) -> None:
    columns = column_types(TASKS[task], ("a", "b"))
    assert {"tokens", "truncated", "windows", "explanation", ERROR} < set(columns)
    for name in TASKS[task].answer.model_fields:
        assert name in columns or {"score_a", "score_b"} < set(columns)


@pytest.mark.parametrize("annotation", [dict[str, int], int | str, bytes])
def test_a_field_that_no_column_can_hold_is_named(annotation: Any) -> None:
    with pytest.raises(TypeError, match="no column type for"):
        arrow_type(annotation)


def test_an_optional_field_has_the_type_of_its_value() -> None:
    assert arrow_type(float | None) == pa.float64()
    assert arrow_type(tuple[str, ...] | None) == pa.list_(pa.string())
