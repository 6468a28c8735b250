"""Progress on stderr, with the time that is left: bars on a terminal, now and then a line in a log."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from models.progress import ReportProgress
    from models.training.run import Watcher

console = Console(stderr=True)

LINE_S = 30.0
"""Seconds between two lines where stderr is no terminal."""


@contextmanager
def shown_bar() -> Iterator[Progress]:
    """A bar on stderr that says what is being done, how long it has taken and how long it will still take."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar, _told_to_logs(bar):
        yield bar


@contextmanager
def _told_to_logs(bar: Progress) -> Iterator[None]:
    """Where stderr is no terminal that can draw, and has a bar only once the work is done, print lines until then."""
    if bar.console.is_interactive:
        yield
        return
    done = threading.Event()

    def tell() -> None:
        while not done.wait(LINE_S):
            for task in bar.tasks:
                if task.total is None or task.completed < task.total:
                    bar.console.print(_as_line(task), markup=False, highlight=False, soft_wrap=True)

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _as_line(task: Task) -> str:
    """The standing of a task, such as `task 0.412: 150 of 780 in 0:05:31, 0:23:10 left`."""
    known = "" if task.total is None else f" of {task.total:.0f}"
    remaining = task.time_remaining
    left = "" if remaining is None else f", {as_time(remaining)} left"
    return f"{task.description or 'working'}: {task.completed:.0f}{known} in {as_time(task.elapsed or 0)}{left}"


def as_time(seconds: float) -> str:
    """A number of seconds in hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@contextmanager
def watched_training() -> Iterator["Watcher"]:
    """Show a training on a bar of its own; yields what the training loop reports to."""
    with shown_bar() as bar:
        yield watcher(bar, bar.add_task("training", total=None))


@contextmanager
def watched_measuring() -> Iterator["ReportProgress"]:
    """Show a measurement on a bar of its own; yields the function that it reports to."""
    with shown_bar() as bar:
        yield measurer(bar, bar.add_task("reading", total=None))


def watcher(bar: Progress, line: TaskID) -> "Watcher":
    """Reports a training on a line of the bar: its step, and losses and metrics as they come."""
    from models.training.run import Watcher

    def advance(step: int, steps: int, seen: Mapping[str, float]) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in seen.items())
        bar.update(line, completed=step, total=steps, description=shown)

    return Watcher(say=bar.console.print, advance=advance)


def measurer(bar: Progress, line: TaskID) -> "ReportProgress":
    """Reports a measurement on a line of the bar: the name of the set, and how many of its records are done."""

    shown = ""

    def progress(name: str, done: int, records: int) -> None:
        nonlocal shown
        if name != shown:
            shown = name
            bar.reset(line, description=name)
        bar.update(line, completed=done, total=records or None)

    return progress
