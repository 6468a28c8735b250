"""The tasks there are, and what holds for each of them."""

import json

import pytest

from models.tasks import TASKS, UnknownTask, find_task
from models.tasks.task import AnyTask, Item


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> AnyTask:
    return TASKS[request.param]


def test_a_task_is_found_by_its_name(task: AnyTask) -> None:
    assert find_task(task.name) is task


def test_an_unknown_task_lists_those_there_are() -> None:
    with pytest.raises(UnknownTask, match=f"no task 'poetry'; choose one of: {', '.join(TASKS)}"):
        find_task("poetry")


def test_every_text_field_has_columns_it_is_known_by(task: AnyTask) -> None:
    assert set(task.columns) <= set(task.item.model_fields)
    assert all(known_as for known_as in task.columns.values())


def test_an_item_takes_an_id_and_nothing_unknown(task: AnyTask) -> None:
    assert issubclass(task.item, Item)
    assert task.item.model_config["extra"] == "forbid"


def test_the_schema_of_an_item_is_json(task: AnyTask) -> None:
    assert json.loads(json.dumps(task.item.model_json_schema()))


def test_sample_items_are_items_that_fill_the_same_fields(task: AnyTask) -> None:
    assert len(task.sample_items) >= 2
    for item in task.sample_items.values():
        task.item.model_validate(item)
    # Whoever makes a form of them shows every field that a model of the task reads.
    assert {tuple(item) for item in task.sample_items.values()} == {tuple(task.columns)}
