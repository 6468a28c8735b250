"""The bootstrap interval against the normal one, and its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.measuring.intervals import bootstrap_interval


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
