"""Progress bars on stderr, with rate or remaining time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from models.progress import ReportProgress
    from models.training.run import Watcher

console = Console(stderr=True)

REDRAW_ROWS = 50
"""Moving the bar takes a lock; a row takes little more."""


@contextmanager
def shown_progress() -> Iterator[Callable[[int, int], None]]:
    """A function to tell how many rows are done and of how many."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=None)

        def show(done: int, total: int) -> None:
            if bar.tasks[task].total is None:
                # What an earlier run did counts as done, and not for the rate.
                bar.reset(task, completed=done, total=total)
            elif done % REDRAW_ROWS == 0 or done == total:
                bar.update(task, completed=done, total=total)

        yield show


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "", style="dim")


@contextmanager
def shown_bar() -> Iterator[Progress]:
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
    with shown_bar() as bar:
        yield watcher(bar, bar.add_task("training", total=None))


@contextmanager
def watched_measuring() -> Iterator["ReportProgress"]:
    with shown_bar() as bar:
        yield measurer(bar, bar.add_task("reading", total=None))


def watcher(bar: Progress, line: TaskID) -> "Watcher":
    from models.training.run import Watcher

    def advance(step: int, steps: int, seen: Mapping[str, float]) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in seen.items())
        bar.update(line, completed=step, total=steps, description=shown)

    return Watcher(say=bar.console.print, advance=advance)


def measurer(bar: Progress, line: TaskID) -> "ReportProgress":
    def progress(name: str, done: int, rows: int) -> None:
        bar.update(line, completed=done, total=rows or None, description=name)

    return progress
