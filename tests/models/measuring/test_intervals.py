"""The bootstrap interval against the normal one, and its edges."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.measuring.intervals import bootstrap_interval, sign_flip_p


def test_of_many_values_it_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(0.4, 2.0, size=400)
    error = values.std() / 20
    low, high = bootstrap_interval(values.tolist())
    # 2000 resamples place a quantile to about a tenth of the standard error.
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=30))
@settings(deadline=None, max_examples=15)
def test_it_lies_within_the_values_and_depends_on_no_order(values: list[float]) -> None:
    low, high = bootstrap_interval(values)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert bootstrap_interval(values[::-1]) == (low, high)


def test_a_single_value_has_no_width() -> None:
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="needs one value or more"):
        bootstrap_interval([])


@given(values=st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=10))
@settings(deadline=None, max_examples=15)
def test_a_sign_flip_p_is_that_of_all_flips(values: list[float]) -> None:
    sums = [sum(flips) for flips in itertools.product(*((value, -value) for value in values))]
    exact = float(np.mean(np.abs(sums) >= abs(sum(values)) - 1e-9))
    # 10,000 flips know a share to three standard errors of at most 0.005.
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p(values[::-1]) == sign_flip_p(values)


def test_differences_of_one_sign_are_no_accident() -> None:
    assert sign_flip_p([0.1] * 40) == 1 / 10_001


def test_no_differences_have_no_p() -> None:
    with pytest.raises(ValueError, match="needs one pair or more"):
        sign_flip_p([])
