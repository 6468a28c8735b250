"""Similarity: what a number means, what data files may say, and what is measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tasks.pairs import PairItem
from models.tasks.sts import STS, StsAnswer
from models.tasks.task import Outputs, Prediction
from models.text import Encoded, Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=19))
"""Three special tokens leave room for 16 of text."""


def encode(first: int, second: int) -> Encoded:
    """A pair of texts of so many tokens."""
    return STS.encode(PairItem(text_a="good " * first, text_b="bad " * second), READER, "window")


def decode(
    numbers: Sequence[float], encoded: Encoded | None = None, score_range: tuple[float, float] = (0.0, 5.0)
) -> Prediction[StsAnswer]:
    logits = [np.array([number], dtype=np.float32) for number in numbers]
    return STS.decode(logits, encoded or encode(2, 2), Outputs(("similarity",), score_range))


def test_a_number_in_the_range_is_the_score() -> None:
    prediction = decode([3.5])
    assert prediction.answer == StsAnswer(score=3.5, normalized=0.7)
    assert prediction.outcome == 3.5


@pytest.mark.parametrize(("number", "score", "normalized"), [(5.5, 5.0, 1.0), (-0.25, 0.0, 0.0), (5.0, 5.0, 1.0)])
def test_a_number_outside_is_kept_within_and_the_metric_sees_it_as_it_was(
    number: float, score: float, normalized: float
) -> None:
    prediction = decode([number])
    assert prediction.answer == StsAnswer(score=score, normalized=normalized)
    assert prediction.outcome == number


def test_the_range_is_the_models_own() -> None:
    assert decode([0.5], score_range=(-1.0, 1.0)).answer == StsAnswer(score=0.5, normalized=0.75)
    assert decode([2.0], score_range=(-1.0, 1.0)).answer == StsAnswer(score=1.0, normalized=1.0)


def test_windows_count_by_their_length_before_anything_is_cut_off() -> None:
    encoded = encode(30, 3)  # 13 tokens of room for the first text, of which neighbours share 3
    assert [len(row) for row in encoded.rows] == [19, 19, 16]
    prediction = decode([1.0, 10.0, -1.0], encoded)
    assert prediction.outcome == pytest.approx((19 * 1 + 19 * 10 - 16) / 54, abs=1e-15)
    assert prediction.parts[0].rows == (0, 1, 2)


@given(
    number=st.floats(-1e6, 1e6, width=32),
    ends=st.tuples(st.floats(-10, 10), st.floats(-10, 10)).filter(lambda ends: ends[0] < ends[1]),
)
def test_a_score_is_in_the_range_and_its_normal_form_between_0_and_1(number: float, ends: tuple[float, float]) -> None:
    answer = decode([number], score_range=ends).answer
    assert ends[0] <= answer.score <= ends[1]
    assert 0 <= answer.normalized <= 1


@pytest.mark.parametrize(("value", "number"), [(0, 0.0), (5, 5.0), (2.4, 2.4), ("3.25", 3.25)])
def test_a_right_answer_is_a_number_in_the_range(value: Any, number: float) -> None:
    assert STS.read_target(value, encode(1, 1), STS.outputs) == number


@pytest.mark.parametrize("value", [5.01, -1, "similar", "", None, "nan", float("inf"), [1.0]])
def test_any_other_answer_says_what_the_range_is(value: Any) -> None:
    with pytest.raises(ValueError, match="is no number from 0 to 5"):
        STS.read_target(value, encode(1, 1), STS.outputs)


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; equal values share the mean of their places."""
    return [sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values]


@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(-20, 20)), min_size=2, max_size=30))
def test_correlations_agree_with_their_definitions(pairs: list[tuple[int, int]]) -> None:
    targets, outcomes = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    if len(set(targets)) < 2 or len(set(outcomes)) < 2:
        expected = {"spearman": 0.0, "pearson": 0.0}
    else:
        expected = {
            "spearman": float(np.corrcoef(_ranks(targets), _ranks(outcomes))[0, 1]),
            "pearson": float(np.corrcoef(targets, outcomes)[0, 1]),
        }
    assert STS.measure(targets, outcomes, STS.outputs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("targets", "outcomes"), [([1.0, 2.0], [3.0, 3.0]), ([2.0, 2.0], [1.0, 3.0]), ([1.0], [1.0])])
def test_what_never_varies_correlates_with_nothing(targets: list[float], outcomes: list[float]) -> None:
    assert STS.measure(targets, outcomes, STS.outputs) == {"spearman": 0.0, "pearson": 0.0}


def test_numbers_beyond_the_range_still_count_in_their_order() -> None:
    outcomes = [decode([number]).outcome for number in (4.0, 5.5, 6.5)]
    assert STS.measure([3.0, 4.0, 5.0], outcomes, STS.outputs)["spearman"] == pytest.approx(1.0)
