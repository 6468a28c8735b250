"""How far long work is, told on stderr: lines in a log, none beside the bar of a terminal."""

import io
import time

import pytest
from rich.console import Console

from service.cli import progress


def watch(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> str:
    """What stderr gets while work of which three of seven steps are done goes on."""
    shown = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=shown, force_terminal=is_terminal, width=80))
    monkeypatch.setattr(progress, "LINE_S", 0.01)
    with progress.shown_bar() as bar:
        line = bar.add_task("reading [all]", total=None)
        bar.update(line, completed=3, total=7)
        until = time.monotonic() + 10
        while "3 of 7" not in shown.getvalue() and not is_terminal and time.monotonic() < until:
            time.sleep(0.01)
    return shown.getvalue()


def test_a_log_gets_lines_while_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "reading [all]: 3 of 7 in 0:00:0" in watch(monkeypatch, is_terminal=False)


def test_a_terminal_gets_a_bar_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3 of 7" not in watch(monkeypatch, is_terminal=True)


def test_seconds_are_shown_in_hours_minutes_and_seconds() -> None:
    assert progress.as_time(3661.4) == "1:01:01"
