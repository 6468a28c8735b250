"""Distributions of numbers that are seen once."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.outcomes.distribution import LENGTHS, SHARES, Distribution, Tally

SHARE = st.integers(0, 10_000).map(lambda step: step / 10_000)


def spread(numbers: list[float]) -> Distribution:
    tally = Tally(SHARES, 10_000)
    for number in numbers:
        tally.add(number)
    distribution = tally.distribution()
    assert distribution is not None
    return distribution


@given(st.lists(SHARE, min_size=1))
def test_the_figures_are_those_of_the_numbers(numbers: list[float]) -> None:
    found = spread(numbers)
    assert (found.count, found.least, found.most) == (len(numbers), min(numbers), max(numbers))
    assert found.mean == pytest.approx(statistics.fmean(numbers))
    assert found.median == statistics.median_low(numbers)
    assert found.p95 == sorted(numbers)[-(-95 * len(numbers) // 100) - 1]


@given(st.lists(SHARE, min_size=1))
def test_every_number_is_in_one_bin(numbers: list[float]) -> None:
    found = spread(numbers)
    expected = [0] * (len(SHARES) - 1)
    for number in numbers:
        expected[min(int(round(number * 10_000) // 500), len(expected) - 1)] += 1
    assert list(found.counts) == expected
    assert found.below(0.5) == pytest.approx(sum(number < 0.5 for number in numbers) / len(numbers))


def test_the_last_bin_holds_all_that_is_above() -> None:
    tally = Tally(LENGTHS)
    for number in (4_095, 4_096, 1_000_000):
        tally.add(number)
    distribution = tally.distribution()
    assert distribution is not None
    assert distribution.counts[-1] == 3


def test_parts_in_any_order_give_what_the_whole_gives() -> None:
    numbers = [random.Random(0).random() for _ in range(500)]
    whole, first, second = (Tally(SHARES, 10_000) for _ in range(3))
    for place, number in enumerate(numbers):
        whole.add(number)
        (first if place % 3 else second).add(number)
    second.merge(first)
    assert second.distribution() == whole.distribution()


def test_nothing_is_spread_nowhere() -> None:
    assert Tally(SHARES).distribution() is None
