"""The verdict on a server's memory: what counts as growth, and what does not."""

import mmap

import numpy as np
import psutil
import pytest

from benchmarks.growth import BOUND_MB, Growth, Memory, Seen, find_growth, report


def looks(own_mb: np.ndarray, files_mb: float = 70.0) -> list[Seen]:
    """A look at every 250 requests."""
    return [
        Seen(250 * place, Memory(own_mb=float(one), files_mb=files_mb - place / 10)) for place, one in enumerate(own_mb)
    ]


NOISE = np.random.default_rng(0).normal(0, 5, 200)
WARMING = 400 - 150 * np.exp(-np.arange(200) / 20)


def test_memory_that_levels_off_in_the_first_half_has_not_grown() -> None:
    growth = find_growth(looks(WARMING + NOISE))
    assert growth.slope == pytest.approx(0, abs=3 * growth.error)
    assert growth.verdict == "no growth"


@pytest.mark.parametrize("slope", [24.0, 12.0])
def test_a_steady_rise_is_measured_and_called_growth(slope: float) -> None:
    growth = find_growth(looks(WARMING + NOISE + slope * np.arange(200) * 250 / 10_000))
    assert growth.slope == pytest.approx(slope, abs=3 * growth.error)
    assert growth.verdict == "growth"


def test_a_slope_is_exact_where_there_is_no_noise() -> None:
    growth = find_growth(looks(300 + 8.0 * np.arange(60) * 250 / 10_000))
    assert (growth.slope, growth.error) == pytest.approx((8.0, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    ("growth", "verdict"),
    [
        (Growth(BOUND_MB, 0.0), "no growth"),
        (Growth(BOUND_MB - 1, 1.0), "too few requests to tell"),
        (Growth(BOUND_MB + 2, 1.0), "too few requests to tell"),
        (Growth(BOUND_MB + 3, 1.0), "growth"),
        (Growth(-30.0, 10.0), "no growth"),
    ],
)
def test_the_verdict_is_sure_by_two_standard_errors(growth: Growth, verdict: str) -> None:
    assert growth.verdict == verdict


@pytest.mark.parametrize(("count", "every"), [(3, 5_000), (100, 99)])
def test_a_run_of_few_looks_or_requests_gets_no_verdict(count: int, every: int) -> None:
    memory = (Memory(own_mb=300.0 + place, files_mb=70.0) for place in range(count))
    growth = find_growth([Seen(every * place, one) for place, one in enumerate(memory)])
    assert growth.verdict == "too few requests to tell"


def test_the_report_has_memory_by_kind_at_each_tenth() -> None:
    header, *rows, last = report(looks(300 + np.arange(101.0)))
    assert header.split() == ["requests", "memory", "(PSS)", "own", "files", "MB"]
    assert rows[0].split() == ["0", "370", "300", "70"]
    assert rows[5].split() == ["12,500", "415", "350", "65"]
    assert rows[10].split() == ["25,000", "460", "400", "60"]
    assert len(rows) == 11
    assert last == (
        "own memory in the second half: +40.0 MB for 10,000 requests, standard error 0.0; growth (bound: 5 MB)"
    )


def test_memory_is_told_by_kind() -> None:
    before = Memory.of(psutil.Process())
    with mmap.mmap(-1, 100_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        taken.write(bytes([1]) * 100_000_000)
        after = Memory.of(psutil.Process())
        # Servers that other tests started count too.
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        whole_mb = sum(member.memory_full_info().pss for member in family) / 1e6
    # The bytes that are written lie in memory too for a moment.
    assert 95 < after.own_mb - before.own_mb < 250
    assert after.files_mb - before.files_mb < 20
    assert after.whole_mb == pytest.approx(whole_mb, rel=0.05)
