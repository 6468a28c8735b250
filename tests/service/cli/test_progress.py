"""How far long work is, told on stderr: lines in a log, none beside the bar of a terminal."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from models.progress import ReportProgress
from service.cli import progress


class _Log(io.StringIO):
    """What was printed, and an event for each line that comes."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        self.came.set()
        return written


@contextmanager
def measuring(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool = False) -> Iterator[tuple[ReportProgress, _Log]]:
    """A measurement that reports, and the stderr that is told."""
    log = _Log()
    monkeypatch.setenv("TERM", "xterm" if is_terminal else "dumb")
    monkeypatch.setattr(progress, "console", Console(file=log, force_terminal=True, width=120))
    monkeypatch.setattr(progress, "LINE_S", 0.01)
    with progress.watched_measuring() as report:
        yield report, log


def wait_for(log: _Log, words: str) -> None:
    """Wait until a log has words."""
    while words not in log.getvalue():
        log.came.clear()
        assert log.came.wait(30), f"no {words!r} in {log.getvalue()!r}"


def test_a_log_gets_lines_while_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with measuring(monkeypatch) as (report, log):
        wait_for(log, "reading: 0 in ")
        report("typos [all]", 3, 7)
        wait_for(log, "typos [all]: 3 of 7 in ")
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_a_log_is_told_of_each_set_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with measuring(monkeypatch) as (report, log):
        report("typos", 7, 7)
        report("synonyms", 0, 0)
        report("synonyms", 2, 7)
        wait_for(log, "synonyms: 2 of 7 in ")


def test_no_line_comes_after_work_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="gone"), measuring(monkeypatch):
        raise OSError("gone")
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_a_terminal_gets_a_bar_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with measuring(monkeypatch, is_terminal=True) as (report, log):
        report("typos", 3, 7)
        assert not any(thread.name == "progress" for thread in threading.enumerate())
        wait_for(log, "3/7")


def test_seconds_are_shown_in_hours_minutes_and_seconds() -> None:
    assert progress.as_time(3661.4) == "1:01:01"
