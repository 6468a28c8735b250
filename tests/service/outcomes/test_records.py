"""Records as items: a value that is none is missing, and the mistakes of a record are told together."""

import math
from typing import Any

import pytest

from models.tasks import TASKS
from service.outcomes.answering import Failure
from service.outcomes.records import read_record


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"premise": None, "hypothesis": math.nan}, "premise: is missing; hypothesis: is missing"),
        ({"premise": "It rains.", "hypothesis": None}, "hypothesis: is missing"),
        ({"premise": 1, "hypothesis": None}, "premise: must be a text; hypothesis: is missing"),
    ],
)
def test_a_record_is_told_all_that_it_lacks(record: dict[str, Any], said: str) -> None:
    assert read_record(TASKS["nli"], record) == Failure("validation", said)


def test_a_list_may_be_json_or_lack_an_entry() -> None:
    task = TASKS["reading-comprehension"]
    texts = {"context": "A: It rains.", "question": "What does A say?"}
    read = read_record(task, {**texts, "choices": '["It rains.", "It snows."]'})
    assert not isinstance(read, Failure)
    assert read.model_dump()["choices"] == ("It rains.", "It snows.")
    assert read_record(task, {**texts, "choices": ["It rains.", None]}) == Failure(
        "validation", "choices.1: must be a text"
    )
