"""The items every package is tried with."""

import math

import pytest

from export.probes import distance, rows_of_many_lengths
from models.tasks import TASKS, find_task
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_eight_to_twelve_probes_that_it_accepts(task: str) -> None:
    assert 8 <= len(TASKS[task].probe_items) <= 12
    for item in TASKS[task].probe_items:
        find_task(task).item.model_validate(item)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_probe_longer_than_any_window(name: str) -> None:
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=512))
    task = find_task(name)
    assert task.encode(task.item.model_validate(task.probe_items[-1]), reader, "window").windows > 1


@pytest.mark.parametrize("max_tokens", [32, 128, 512])
@pytest.mark.parametrize("task", TASKS)
def test_rows_of_many_lengths_differ_in_length_and_reach_the_longest(task: str, max_tokens: int) -> None:
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=max_tokens))
    lengths = [len(row) for row in rows_of_many_lengths(find_task(task), reader)]
    assert lengths == sorted(set(lengths))
    assert lengths[0] <= 24
    assert lengths[-1] == max_tokens
    assert len(lengths) >= min(64, max_tokens) // 6


def test_a_decomposition_is_compared_with_its_largest_share() -> None:
    expected, found = [[0.5, -4.0, 1.0]], [[0.5, -4.0, 1.8]]
    assert distance("logits", expected, found) == pytest.approx(0.8)
    assert distance("decomposition", expected, found) == pytest.approx(0.1)
    assert distance("decomposition", [[0.1]], [[0.3]]) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["logits", "decomposition"])
@pytest.mark.parametrize("found", [[[math.nan], [0.1]], [[0.1], [math.nan]]])
def test_what_is_not_a_number_is_infinitely_far_in_whichever_row(name: str, found: list[list[float]]) -> None:
    assert distance(name, [[0.1], [0.1]], found) == math.inf
