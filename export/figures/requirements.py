"""Demands on a package's own figures, such as `typos-1>=0.70`: an export or a server refuses one that falls short."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from export.figures.stated import list_figures
from export.package import Manifest, PackageError
from models.checkpoint import TrainingRecord
from models.errors import UserError
from models.tasks import TASKS

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}
_PATTERN = re.compile(
    r"(?:(?P<task>[a-z-]+):\s*)?(?P<figure>[^<>=:]+?)\s*(?P<comparison>>=|<=)\s*(?P<bound>\d*\.?\d+(?:[eE][-+]?\d+)?)"
)


class BadRequirement(UserError):
    """A demand that cannot be read."""


class FallsShort(PackageError):
    """A package whose figures are not what is demanded."""


@dataclass(frozen=True)
class Requirement:
    """One demand."""

    task: str | None
    """The task whose packages must meet it; None for every package."""
    figure: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        """The demand as it is written."""
        prefix = f"{self.task}:" if self.task else ""
        return f"{prefix}{self.figure}{self.comparison}{self.bound!r}"


def read_requirement(written: str) -> Requirement:
    """Read `FIGURE>=NUMBER` or `FIGURE<=NUMBER`, with `TASK:` before it where it is for one task.

    Raises:
        BadRequirement: it is written otherwise, or there is no such task.
    """
    found = _PATTERN.fullmatch(written.strip())
    if found is None:
        raise BadRequirement(
            f"requirement {written!r}: write FIGURE>=NUMBER or FIGURE<=NUMBER, such as typos-1>=0.70, and TASK: before "
            "it for the packages of one task"
        )
    if found["task"] and found["task"] not in TASKS:
        raise BadRequirement(f"requirement {written!r}: no task {found['task']!r}; there are: {', '.join(TASKS)}")
    return Requirement(found["task"], found["figure"], found["comparison"], float(found["bound"]))


def check_measured(record: TrainingRecord, requirements: Iterable[Requirement], *, is_robust: bool) -> None:
    """Refuse demands on figures that an export of this training will not measure; with `is_robust` it may measure any.

    Raises:
        FallsShort: names the figure, and what to add.
    """
    for one in requirements:
        if not is_robust and one.task in (None, record.task) and one.figure not in record.metrics:
            raise FallsShort(
                f"{one} is required, and without --robust only these are measured: {', '.join(record.metrics)}; add "
                "--robust, or require one of them"
            )


def check_requirements(manifest: Manifest, requirements: Iterable[Requirement], *, origin: str) -> None:
    """Refuse a package that falls short; `origin` names it in the message.

    Raises:
        FallsShort: a figure is on the wrong side of its bound, or was not measured.
    """
    figures = list_figures(manifest)
    for one in requirements:
        if one.task not in (None, manifest.task):
            continue
        found = figures.get(one.figure)
        if found is None:
            raise FallsShort(
                f"{origin}: {one} is required, and {one.figure} was not measured; it has: {', '.join(figures)}"
                + ("" if manifest.passport else "; `steadfast export --robust` measures more")
            )
        if not _COMPARISONS[one.comparison](found, one.bound):
            raise FallsShort(f"{origin}: {one} is required, and {one.figure} is {found:.6g}; train for it, or ask less")
