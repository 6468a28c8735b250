"""The distance is the Jensen-Shannon distance, and a metric."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from service.watching.distance import measure_distance

SPREADS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10_000), min_size=1)
ROUNDING = 1e-7
"""The square root turns an error of 1e-16 in the divergence into one of 1e-8."""


@given(SPREADS)
def test_a_spread_is_at_no_distance_from_itself(one: dict[str, int]) -> None:
    assert measure_distance(one, one) <= ROUNDING


@given(SPREADS, SPREADS)
def test_spreads_without_a_bin_in_common_are_at_distance_1(one: dict[str, int], other: dict[str, int]) -> None:
    assert measure_distance(one, {f"other {name}": count for name, count in other.items()}) == pytest.approx(1)


@given(SPREADS, SPREADS)
def test_it_is_the_same_both_ways(one: dict[str, int], other: dict[str, int]) -> None:
    assert measure_distance(one, other) == pytest.approx(measure_distance(other, one), abs=ROUNDING)


@given(SPREADS, SPREADS, st.integers(1, 1_000))
def test_it_depends_on_shares_alone(one: dict[str, int], other: dict[str, int], factor: int) -> None:
    more = {name: count * factor for name, count in one.items()}
    assert measure_distance(more, other) == pytest.approx(measure_distance(one, other), abs=ROUNDING)


@given(SPREADS, SPREADS, SPREADS)
def test_a_detour_is_no_shorter(one: dict[str, int], other: dict[str, int], third: dict[str, int]) -> None:
    detour = measure_distance(one, third) + measure_distance(third, other)
    assert measure_distance(one, other) <= detour + 2 * ROUNDING


@given(SPREADS, SPREADS)
def test_it_is_what_scipy_computes(one: dict[str, int], other: dict[str, int]) -> None:
    assume(one != other)
    names = sorted(one.keys() | other.keys())
    expected = jensenshannon(*(np.array([counts.get(name, 0) for name in names]) for counts in (one, other)), base=2)
    # scipy takes the root of a rounding error below 0 for equal shares.
    expected = 0.0 if math.isnan(expected) else expected
    assert measure_distance(one, other) == pytest.approx(expected, abs=ROUNDING)


def test_a_known_distance() -> None:
    assert measure_distance({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(math.sqrt(1.5 - 0.75 * math.log2(3)))


def test_the_figures_of_the_guide() -> None:
    even = {"a": 1, "b": 1}
    shares = {0.7: 0.17, 0.75: 0.22, 0.9: 0.38}
    assert {share: round(measure_distance(even, {"a": share, "b": 1 - share}), 2) for share in shares} == shares
    draw = np.random.default_rng(0)
    drawn = draw.multinomial(500, [0.1] * 10, size=4_000).tolist()
    spreads = [dict(zip("abcdefghij", one, strict=True)) for one in drawn]
    by_chance = [measure_distance(one, other) for one, other in zip(spreads[::2], spreads[1::2], strict=True)]
    assert np.quantile(by_chance, 0.99) == pytest.approx(0.12, abs=0.01)


def test_what_counts_nothing_has_no_distance() -> None:
    with pytest.raises(ValueError, match="counts nothing"):
        measure_distance({"a": 1}, {"a": 0})
