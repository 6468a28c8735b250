"""A bar on stderr with rate and remaining time, where stderr is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

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
