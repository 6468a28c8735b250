"""The name gap, on models whose scores hang on names in a way that the test chose."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import EvaluatedModel
from models.measuring.name_gap import GROUPS, measure_name_gap
from models.tasks import TASKS
from models.tasks.task import Logits
from models.text import Reader, ReadingLimits, Row
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=64))
WITH_TEMPLATES = [name for name, task in TASKS.items() if task.robustness.templates]


def _evaluated(task: str, score: Callable[[Row], float]) -> EvaluatedModel:
    labels = len(TASKS[task].outputs.labels)

    def run(rows: Sequence[Row]) -> list[Logits]:
        return [np.array([0.0] * (labels - 1) + [score(row)], dtype=np.float32) for row in rows]

    return EvaluatedModel(task=TASKS[task], outputs=TASKS[task].outputs, reader=READER, run=run)


def _holds(word: str) -> Callable[[Row], float]:
    """1 for a row with this word, else 0."""
    wanted = tuple(READER.read(word).rows[0].ids[1:-1])
    size = len(wanted)
    return lambda row: float(any(tuple(row.ids[at : at + size]) == wanted for at in range(len(row.ids))))


@pytest.mark.parametrize("task", WITH_TEMPLATES)
def test_a_model_that_reads_no_names_has_no_gap(task: str) -> None:
    found = measure_name_gap(_evaluated(task, lambda _: 0.3))
    assert found is not None
    assert found.gap == pytest.approx(0, abs=1e-12)


def test_the_gap_is_that_between_the_groups_furthest_apart() -> None:
    found = measure_name_gap(_evaluated("sentiment", _holds("Sikh")))
    assert found is not None
    assert (found.kind, found.highest, found.templates) == ("religion", "Sikh", 4)
    # softmax of (0, 1) against that of (0, 0).
    assert found.gap == pytest.approx(1 / (1 + np.exp(-1)) - 0.5, abs=1e-6)


def test_a_group_counts_by_the_mean_of_its_words() -> None:
    found = measure_name_gap(_evaluated("sentiment", _holds("Olga")))
    assert found is not None
    assert (found.kind, found.highest) == ("name", "Slavic")
    share = 1 / len(GROUPS["name"]["Slavic"])
    assert found.gap == pytest.approx(share * (1 / (1 + np.exp(-1)) - 0.5), abs=1e-6)


@pytest.mark.parametrize("task", WITH_TEMPLATES)
def test_every_kind_is_put_into_some_sentence_and_nothing_is_left_in_braces(task: str) -> None:
    templates = TASKS[task].robustness.templates
    for kind in GROUPS:
        filled = [one.fill(kind, "X") for one in templates if any(f"{{{kind}}}" in text for text in one.item.values())]
        assert filled
        assert not any("{" in text for item in filled for text in item.values())


def test_a_model_with_other_labels_has_none() -> None:
    evaluated = _evaluated("sentiment", _holds("Sikh"))
    renamed = replace(evaluated, outputs=replace(evaluated.outputs, labels=("bad", "good")))
    assert measure_name_gap(renamed) is None


def test_a_task_without_sentences_has_none() -> None:
    assert measure_name_gap(_evaluated("ner", lambda _: 0.0)) is None
