"""Sentiment: what an item may be, what logits mean, and what data files may say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.tasks.classification import LabelAnswer
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import LabelScore, TextItem
from models.text import Encoded


class Bar:
    """A row of a given length; nothing else of it counts here."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def encoded(*lengths: int) -> Encoded:
    rows: Any = tuple(Bar(length) for length in lengths)
    return Encoded(texts={"text": ""}, rows=rows, truncated=False, windows=len(rows))


def decode(logits: list[list[float]], *lengths: int) -> LabelAnswer:
    return SENTIMENT.decode(list(np.array(logits, dtype=np.float32)), encoded(*lengths), SENTIMENT.outputs).answer


def test_one_row_is_a_softmax() -> None:
    answer = decode([[1.0, 3.0]], 5)
    positive = 1 / (1 + np.exp(-2.0))
    assert answer.label == "positive"
    assert answer.score == pytest.approx(positive, abs=1e-15)  # another order of float64 operations
    assert [entry.label for entry in answer.scores] == ["positive", "negative"]


def test_windows_count_by_their_length() -> None:
    answer = decode([[0.0, 50.0], [50.0, 0.0]], 30, 10)
    assert answer.score == pytest.approx(0.75, abs=1e-15)


def test_equal_windows_say_what_one_says() -> None:
    assert decode([[1.0, 2.0]] * 3, 8, 8, 8).score == pytest.approx(decode([[1.0, 2.0]], 8).score, abs=1e-15)


def test_a_tie_keeps_the_labels_order() -> None:
    assert decode([[0.5, 0.5]], 4).label == "negative"


@given(
    logits=st.lists(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=2, max_size=2), min_size=1, max_size=5),
    length=st.integers(3, 512),
)
def test_probabilities_are_finite_ordered_and_add_up_to_one(logits: list[list[float]], length: int) -> None:
    answer = decode(logits, *range(length, length + len(logits)))
    scores = [entry.score for entry in answer.scores]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-12)
    assert answer.scores[0] == LabelScore(label=answer.label, score=answer.score)


def test_the_answer_is_what_an_explanation_explains() -> None:
    logits = np.array([[2, 0], [1, 0]], dtype=np.float32)
    (part,) = SENTIMENT.decode(list(logits), encoded(4, 4), SENTIMENT.outputs).parts
    assert (part.name, part.rows, part.read_at) == ("negative", (0, 1), 0)


def test_a_bare_string_is_an_item() -> None:
    assert TextItem.model_validate("good") == TextItem(text="good")


@pytest.mark.parametrize("wrong", [5, None, [], {}, {"text": 5}, {"text": None}, {"text": "a", "more": 1}, {"id": "a"}])
def test_anything_else_is_none(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TextItem.model_validate(wrong)


@pytest.mark.parametrize(("value", "number"), [(0, 0), (1, 1), ("negative", 0), ("positive", 1)])
def test_a_right_answer_is_given_by_number_or_name(value: Any, number: int) -> None:
    assert SENTIMENT.read_target(value, encoded(4), SENTIMENT.outputs) == number


@pytest.mark.parametrize("value", [2, -1, 0.5, "neutral", "0x", None, [0]])
def test_any_other_answer_lists_what_there_is(value: Any) -> None:
    with pytest.raises(ValueError, match="is none of: 0 or 'negative', 1 or 'positive'"):
        SENTIMENT.read_target(value, encoded(4), SENTIMENT.outputs)


def test_accuracy_and_f1_agree_with_counting() -> None:
    metrics = SENTIMENT.measure([1, 0, 0, 0], [1, 1, 0, 0], SENTIMENT.outputs)
    # One positive found right, one wrongly; two of three negatives found.
    assert metrics == pytest.approx({"accuracy": 0.75, "f1": (2 / 3 + 4 / 5) / 2})
