"""Progress bars on stderr, with the time that is left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from models.progress import ReportProgress
    from models.training.run import Watcher

console = Console(stderr=True)


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
    with Progress(*columns, console=console) as bar:
        yield bar


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

    def progress(name: str, done: int, records: int) -> None:
        bar.update(line, completed=done, total=records or None, description=name)

    return progress
