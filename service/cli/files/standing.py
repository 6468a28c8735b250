"""How far a run over files is: a bar on a terminal, a line now and then elsewhere, or JSON for a program."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.tables import format_count
from service.cli.progress import LINE_S, as_time

if TYPE_CHECKING:
    from service.files.scoring import ReportStanding, Standing

ProgressKind = Literal["auto", "json", "off"]

REDRAW_S = 0.2
"""Seconds between two looks of a terminal."""

Described = dict[str, float | int | None]


class Pace:
    """The speed of a run, from its beginning; records of an earlier run do not count for it."""

    def __init__(self, first: "Standing", now: float) -> None:
        """Begin at `now`, in seconds."""
        self._first = first
        self._began = now

    def describe(self, standing: "Standing", now: float) -> Described:
        """The standing as numbers, with rates by the second and the seconds that are left, if they can be told."""
        done = standing.done - self._first.done
        seconds = max(now - self._began, 1e-9)
        left = (standing.total - standing.done) * seconds / done if done else None
        return {
            "done": standing.done,
            "total": standing.total,
            "refused": standing.refused,
            "refused_share": standing.refused / done if done else 0.0,
            "records_per_s": done / seconds,
            "tokens_per_s": standing.tokens / seconds,
            "seconds_left": left,
        }


def as_line(standing: "Standing", described: Described) -> str:
    """The standing for people."""
    left = described["seconds_left"]
    said = [
        f"{standing.done:,} of {format_count(standing.total, 'record')}",
        f"{described['records_per_s']:,.0f} records/s",
        f"{described['tokens_per_s']:,.0f} tokens/s",
        f"{described['refused_share']:.1%} refused",
    ]
    return ", ".join([*said, *([f"{as_time(left)} left"] if left is not None else [])])


@contextmanager
def shown_standing(kind: ProgressKind) -> Iterator["ReportStanding"]:
    """Show on stderr how far a run is while this lasts; yields the function that is told."""
    console = Console(stderr=True)
    if kind == "off":
        yield lambda _: None
    elif kind == "json":
        yield _Told(lambda _, described: typer.echo(json.dumps(described), err=True), every_s=1.0)
    elif not console.is_interactive:
        yield _Told(lambda *given: typer.echo(as_line(*given), err=True), every_s=LINE_S, begins_late=True)
    else:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            line = bar.add_task("", total=None)

            def draw(standing: "Standing", described: Described) -> None:
                rates = as_line(standing, {**described, "seconds_left": None}).partition(", ")[2]
                bar.update(line, completed=standing.done, total=standing.total, description=rates)

            yield _Told(draw, every_s=REDRAW_S)


class _Told:
    """Passes a standing on at once, then once in so many seconds, and at the end."""

    def __init__(
        self, show: "Callable[[Standing, Described], None]", *, every_s: float, begins_late: bool = False
    ) -> None:
        self._show = show
        self._every_s = every_s
        self._begins_late = begins_late
        self._pace: Pace | None = None
        self._shown = 0.0

    def __call__(self, standing: "Standing") -> None:
        now = time.monotonic()
        if self._pace is None:
            self._pace, self._shown = Pace(standing, now), now
            if not self._begins_late:
                self._show(standing, self._pace.describe(standing, now))
            return
        is_due = now - self._shown >= self._every_s
        is_last = standing.done == standing.total and not self._begins_late
        if is_due or is_last:
            self._shown = now
            self._show(standing, self._pace.describe(standing, now))
