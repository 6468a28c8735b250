"""The window holds an hour at least, and 500 answers at least."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.figures.reference import LEAST_ANSWERS
from service.watching.window import HOUR_S, SPACING_S, WEEK_S, WINDOW_S, Counts, Snapshot, Window


def _counts(positive: float, negative: float = 0, *, digest: str = "d1") -> Counts:
    return {digest: {"label": {name: n for name, n in (("positive", positive), ("negative", negative)) if n}}}


@pytest.fixture(params=["memory", "file"])
def window(request: pytest.FixtureRequest, tmp_path: Path) -> Window:
    return Window(tmp_path / "watched.json" if request.param == "file" else None)


def _labels(window: Window, counts: Counts, now: float) -> dict[str, float] | None:
    found = window.latest(counts, now).get("d1", {}).get("label")
    return None if found is None else dict(found)


def test_fewer_answers_than_500_are_no_window(window: Window) -> None:
    assert window.latest(_counts(LEAST_ANSWERS - 1), now=0) == {}
    assert window.latest(_counts(LEAST_ANSWERS), now=1) == _counts(LEAST_ANSWERS)


def test_until_an_hour_has_passed_everything_counts(window: Window) -> None:
    window.latest(_counts(600), now=0)
    assert _labels(window, _counts(600, 700), WINDOW_S - 1) == {"positive": 600, "negative": 700}
    assert _labels(window, _counts(600, 700), WINDOW_S) == {"negative": 700}


def test_the_window_goes_as_far_back_as_500_answers_need(window: Window) -> None:
    window.latest(_counts(1_000), now=0)
    window.latest(_counts(1_000, 300), now=2 * HOUR_S)
    assert _labels(window, _counts(1_000, 550), 3 * HOUR_S) == {"negative": 550}
    assert _labels(window, _counts(1_000, 801), 3 * HOUR_S) == {"negative": 501}


def test_each_signal_has_its_own_window(window: Window) -> None:
    window.latest({"d1": {"length": {"8-16": 1_000.0}, "label": {"(none)": 1_000.0}}}, now=0)
    later: Counts = {"d1": {"length": {"8-16": 1_700.0}, "label": {"(none)": 1_100.0}}}
    assert window.latest(later, WINDOW_S) == {"d1": {"length": {"8-16": 700}, "label": {"(none)": 1_100}}}


def test_another_digest_begins_anew(window: Window) -> None:
    window.latest(_counts(5_000), now=0)
    both = {**_counts(5_600), **_counts(0, 499, digest="d2")}
    assert window.latest(both, 2 * HOUR_S) == _counts(600)
    assert window.latest(_counts(0, 500, digest="d2"), 2 * HOUR_S) == _counts(0, 500, digest="d2")


def test_processes_share_what_was_counted_earlier(tmp_path: Path) -> None:
    file = tmp_path / "watched.json"
    Window(file).latest(_counts(1_000), now=0)
    assert _labels(Window(file), _counts(1_000, 600), WINDOW_S) == {"negative": 600}


def test_scrapes_at_one_time_leave_a_whole_file(tmp_path: Path) -> None:
    windows = [Window(tmp_path / "watched.json") for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda n: windows[n % 2].latest(_counts(500 + n), now=n * SPACING_S), range(40))
        assert all(answers)
    assert [path.name for path in tmp_path.iterdir()] == ["watched.json"]
    Window(tmp_path / "watched.json").latest(_counts(1_000), now=100 * SPACING_S)


def test_of_a_month_only_the_last_week_is_kept_and_that_by_the_hour(tmp_path: Path) -> None:
    file = tmp_path / "watched.json"
    window = Window(file)
    for minute in range(0, 10 * 24 * 60, 5):
        window.latest(_counts(10_000 + minute), now=minute * 60.0)
    kept = [Snapshot.model_validate(one) for one in json.loads(file.read_bytes())]
    ages = [minute * 60.0 - one.at for one in kept]
    assert max(ages) <= WEEK_S
    assert len(kept) <= WEEK_S / HOUR_S + 2 * WINDOW_S / SPACING_S
    assert [age for age in ages if age <= WINDOW_S] == [SPACING_S * n for n in reversed(range(13))]


def test_a_file_that_cannot_be_written_costs_a_snapshot_and_no_answer(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    window = Window(folder / "watched.json")
    assert _labels(window, _counts(600), now=0) == {"positive": 600}
    folder.mkdir()
    assert _labels(window, _counts(700), now=1) == {"positive": 700}
    assert _labels(window, _counts(700, 500), now=1 + WINDOW_S) == {"negative": 500}
