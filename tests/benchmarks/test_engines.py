"""The comparison of all ways to ask notices what differs."""

import math

from benchmarks.engines import Way, differs, make_records
from models.tasks import TASKS


def test_answers_that_differ_or_are_missing_are_noticed() -> None:
    expected = [{"score": 0.1}, {"score": 0.2}, {"score": 0.3}]
    assert differs(expected, Way("HTTP", list(expected), 1.0)) == ""
    assert differs(expected, Way("HTTP", expected[:2], 1.0)) == "HTTP: 2 answers"
    other = [expected[0], {"score": 0.2 + 1e-15}, {"score": 0.4}]
    assert differs(expected, Way("HTTP", other, 1.0)) == "HTTP: 2 differ, the first is 2"
    assert differs(expected, Way("Ray", [], math.nan, "cannot be reached")) == "Ray: cannot be reached"


def test_records_of_each_task_differ_and_have_its_fields() -> None:
    for task in (task for task in TASKS.values() if task.endpoint):
        records = make_records(task, 50)
        assert len({str(record) for record in records}) == 50
        assert all(set(record) == set(task.probe_items[0]) for record in records)
