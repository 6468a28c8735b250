"""A folder beside the output that holds what is done of it, so that a run that was stopped goes on where it was.

Predictions lie in files of JSON lines, each named by the number of its first row and complete from the moment it has
its name. A journal says what they are predictions of.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models.atomic import UNFINISHED, atomic_write, atomic_write_text
from models.errors import UserError

FLUSH_ROWS = 2_000
"""Rows between two files: some seconds of work, and all that a power cut costs."""

FLUSH_CHARACTERS = 16_000_000
"""The same in characters, for explanations of long texts."""

_JOURNAL = "journal.json"
_ENDING = ".rows"
_CURE = "remove it, or discard it with --overwrite"


class PartialError(UserError):
    """What lies beside the output is not the beginning of this run."""


class Partial:
    """The predictions so far, in row order. As a context it keeps what it was given, however it is left."""

    def __init__(self, folder: Path, identity: dict[str, Any], *, discard_other: bool) -> None:
        """Go on with what is in `folder` if it was begun with the same `identity`, else begin.

        Raises:
            PartialError: the folder is not of a run; or it was begun with another identity or is damaged, and that is
                not to be discarded.
        """
        self._folder = folder
        self._lines: list[str] = []
        self._characters = 0
        self._stored = 0
        journal = folder / _JOURNAL
        if journal.exists():
            try:
                self._stored = self._resume(identity)
                return
            except PartialError:
                if not discard_other:
                    raise
            shutil.rmtree(folder)
        elif folder.exists() and not (folder.is_dir() and _is_as_good_as_empty(folder)):
            raise PartialError(
                f"{folder}: is needed for what is done so far, and holds what no run left there; "
                "move it, or choose another output with -o"
            )
        folder.mkdir(exist_ok=True)
        _write_lines(journal, [json.dumps(identity)])

    @property
    def rows(self) -> int:
        """How many rows are done."""
        return self._stored + len(self._lines)

    def add(self, prediction: dict[str, Any]) -> None:
        """The next row's prediction."""
        self._lines.append(json.dumps(prediction))
        self._characters += len(self._lines[-1])
        if len(self._lines) >= FLUSH_ROWS or self._characters >= FLUSH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Put what was added on disk."""
        if self._lines:
            _write_lines(self._folder / f"{self._stored:012}{_ENDING}", self._lines)
            self._stored += len(self._lines)
            self._characters = 0
            self._lines = []

    def predictions(self) -> Iterator[dict[str, Any]]:
        """All that is on disk, from the first row on."""
        for path in self._files():
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def complete(self, write: Callable[[Path], None], target: Path) -> None:
        """Have `write` write the output, give it its name in one step, and remove this folder."""
        # Of the same name, whose endings say which kind of file is written.
        with atomic_write(target, unfinished=self._folder / target.name) as unfinished:
            write(unfinished)
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # After a failed write another one would only hide what failed.
        if not isinstance(error, OSError):
            self.flush()

    def _resume(self, identity: dict[str, Any]) -> int:
        """How many rows are on disk; raises PartialError where they are not those of `identity` from the first on."""
        try:
            begun_with = json.loads((self._folder / _JOURNAL).read_bytes())
        except ValueError as error:
            raise PartialError(f"{self._folder}: the journal is damaged; {_CURE}") from error
        if begun_with != identity:
            raise PartialError(
                f"{self._folder}: left by a run over other rows, or with another package or other options; {_CURE}"
            )
        rows = 0
        for path in self._files():
            if path.stem != f"{rows:012}":
                raise PartialError(f"{self._folder}: rows are missing before {path.name}; {_CURE}")
            with path.open("rb") as file:
                rows += sum(1 for _ in file)
        return rows

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_ENDING}"))


def _is_as_good_as_empty(folder: Path) -> bool:
    """Whether nothing is there, or what a run leaves that was stopped while it began."""
    return {path.name for path in folder.iterdir()} <= {Path(_JOURNAL).with_suffix(UNFINISHED).name}


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    atomic_write_text(path, "".join(line + "\n" for line in lines))
