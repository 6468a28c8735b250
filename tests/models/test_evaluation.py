"""Measuring a model, whatever computes its logits."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import Example
from models.evaluation import EvaluatedModel, by_length, measure, predict_all
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import Logits
from models.text import Reader, ReadingLimits, Row
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))


def _count_tokens(rows: Sequence[Row]) -> list[Logits]:
    return [np.array([len(row), 10.0], dtype=np.float32) for row in rows]


MODEL = EvaluatedModel(task=SENTIMENT, outputs=SENTIMENT.outputs, reader=READER, run=_count_tokens)


@given(st.lists(st.integers(1, 14), min_size=1, max_size=40), st.integers(1, 9))
def test_batches_by_length_give_results_in_the_order_asked(counts: list[int], batch_size: int) -> None:
    rows = [READER.read("good " * count).rows[0] for count in counts]
    sizes: list[int] = []

    def run(batch: Sequence[Row]) -> list[Logits]:
        sizes.append(len(batch))
        return _count_tokens(batch)

    assert [result[0] for result in by_length(rows, run, batch_size)] == [count + 2 for count in counts]
    assert max(sizes) <= batch_size


def test_each_item_is_answered_from_its_own_windows() -> None:
    short, long = READER.read("good"), READER.read("good " * 40)
    answers = [prediction.answer for prediction in predict_all(MODEL, [long, short, long])]
    assert answers[0] == answers[2]
    assert [answer.label for answer in answers] == ["negative", "positive", "negative"]


def test_metrics_are_shares_of_the_examples() -> None:
    short, long = READER.read("good"), READER.read("good " * 40)
    examples = [Example(short, 1), Example(short, 0), Example(long, 0), Example(long, 0)]
    found = measure(MODEL, examples)
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
