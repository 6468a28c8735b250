"""Comprehensiveness, sufficiency and average precision against closed forms, definitions and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from models.measuring.faithfulness import (
    PERCENTS,
    Drops,
    average_drops,
    average_precision,
    first_words,
    measure_drops,
    removals,
    report_faithfulness,
)

SCORES = st.lists(st.floats(-3, 3), min_size=1, max_size=40)


class _Bag:
    """A model whose support for an answer is the sum of what its words say: each word's weight is its true share."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        self.weights = weights

    def support(self, removed: frozenset[int]) -> float:
        return sum(weight for word, weight in enumerate(self.weights) if word not in removed)


def _drops(comprehensiveness: float, sufficiency: float) -> Drops:
    return Drops(
        comprehensiveness=np.full(len(PERCENTS), comprehensiveness), sufficiency=np.full(len(PERCENTS), sufficiency)
    )


@pytest.mark.parametrize(("words", "counts"), [(1, [1] * 5), (10, [1, 1, 1, 2, 5]), (19, [1, 1, 2, 4, 10])])
def test_the_number_of_words_is_rounded_up(words: int, counts: list[int]) -> None:
    assert [len(first_words([0.5] * words, percent)) for percent in PERCENTS] == counts


def test_words_that_tie_keep_the_order_of_the_text() -> None:
    assert first_words([0.1, 0.7, 0.7, 0.7], 50) == {1, 2}


@given(scores=SCORES)
def test_the_words_taken_out_for_one_measure_are_left_for_the_other(scores: list[float]) -> None:
    for chosen, others in removals(scores):
        assert not chosen & others
        assert chosen | others == set(range(len(scores)))
        assert min(scores[word] for word in chosen) >= max((scores[word] for word in others), default=-math.inf)


@given(weights=SCORES)
def test_exact_scores_of_a_sum_drop_by_their_own_sums(weights: list[float]) -> None:
    """Where the answer is a sum over words and the scores are its terms, both measures have a closed form."""
    drops = measure_drops(weights, _Bag(tuple(weights)).support)
    ranked = sorted(weights, reverse=True)
    for place, percent in enumerate(PERCENTS):
        count = math.ceil(len(weights) * percent / 100 - 1e-9)
        assert drops.comprehensiveness[place] == pytest.approx(sum(ranked[:count]), abs=1e-9)
        assert drops.sufficiency[place] == pytest.approx(sum(ranked[count:]), abs=1e-9)


@given(weights=SCORES, data=st.data())
def test_no_order_of_a_sum_is_more_faithful_than_the_exact_one(weights: list[float], data: st.DataObject) -> None:
    support = _Bag(tuple(weights)).support
    exact = measure_drops(weights, support)
    other = measure_drops(data.draw(st.permutations(weights)), support)
    assert (exact.comprehensiveness >= other.comprehensiveness - 1e-9).all()
    assert (exact.sufficiency <= other.sufficiency + 1e-9).all()


@given(scores=SCORES, seed=st.integers(0, 99))
def test_drops_of_a_probability_lie_between_its_bounds(scores: list[float], seed: int) -> None:
    def support(removed: frozenset[int]) -> float:
        return float(np.random.default_rng([seed, *removed]).random())

    whole = support(frozenset())
    drops = measure_drops(scores, support)
    for values in (drops.comprehensiveness, drops.sufficiency):
        assert ((values >= whole - 1) & (values <= whole)).all()


def test_a_report_is_made_of_means_over_rows_and_shares() -> None:
    rows = [measure_drops([3.0, 2.0, 1.0], _Bag((0.6, 0.3, 0.1)).support), _drops(0.4, 0.2), None]
    report = report_faithfulness(rows, {})
    assert report is not None
    # Of three words the first shares are one word, and 50 % are two.
    assert report.by_percent[1] == pytest.approx(((0.6 + 0.4) / 2, (0.4 + 0.2) / 2))
    assert report.by_percent[50] == pytest.approx(((0.9 + 0.4) / 2, (0.1 + 0.2) / 2))
    assert report.comprehensiveness.mean == pytest.approx(np.mean([c for c, _ in report.by_percent.values()]))
    assert report.sufficiency.mean == pytest.approx(np.mean([s for _, s in report.by_percent.values()]))
    assert report.larger == pytest.approx(np.mean([report.by_percent[percent] for percent in (10, 20, 50)], axis=0))
    assert report.rows == 2
    assert report.comprehensiveness.interval[0] <= report.comprehensiveness.mean <= report.comprehensiveness.interval[1]


def test_methods_are_compared_on_the_rows_that_both_explain() -> None:
    found = [_drops(0.5, 0.1), _drops(0.4, 0.2), None]
    other = [_drops(0.3, 0.4), None, _drops(0.9, 0.9)]
    report = report_faithfulness(found, {"other": other, "none": [None] * 3})
    assert report is not None
    assert list(report.less) == ["other"]
    assert report.less["other"].comprehensiveness.mean == pytest.approx(0.2)
    assert report.less["other"].sufficiency.mean == pytest.approx(-0.3)


def test_without_any_explained_row_there_is_no_report() -> None:
    assert report_faithfulness([None, None], {}) is None


def test_parts_are_averaged_share_by_share() -> None:
    mean = average_drops([_drops(0.5, 0.1), _drops(0.1, 0.3)])
    np.testing.assert_allclose(mean.comprehensiveness, 0.3)
    np.testing.assert_allclose(mean.sufficiency, 0.2)


@given(scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=20), data=st.data())
@settings(deadline=None)
def test_average_precision_is_scikit_learns(scores: list[float], data: st.DataObject) -> None:
    marked = data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    is_marked = [word in marked for word in range(len(scores))]
    assert average_precision(scores, marked) == pytest.approx(average_precision_score(is_marked, scores))


def test_average_precision_needs_a_mark() -> None:
    with pytest.raises(ValueError, match="needs a marked word"):
        average_precision([0.5], set())
