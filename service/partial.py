"""A folder beside the output that holds what is done of it, so that a run that was stopped goes on where it was.

Predictions lie in files of JSON lines, each named by the number of its first row and complete from the moment it has
its name. A journal says what they are predictions of.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLUSH_ROWS = 2_000
"""Rows between two files: some seconds of work, and all that a power cut costs."""

FLUSH_CHARACTERS = 16_000_000
"""The same in characters, for explanations of long texts."""

_JOURNAL = "journal.json"
_ENDING = ".rows"


class PartialError(ValueError):
    """What lies beside the output belongs to another run."""


class Partial:
    """The predictions so far, in row order. As a context it keeps what it was given, however it is left."""

    def __init__(self, folder: Path, identity: dict[str, Any], *, discard_other: bool) -> None:
        """Go on with what is in `folder` if it was begun with the same `identity`, else begin.

        Raises:
            PartialError: it was begun with another one, and that is not to be discarded.
        """
        self._folder = folder
        journal = folder / _JOURNAL
        begun_with = json.loads(journal.read_bytes()) if journal.exists() else None
        if begun_with != identity:
            if begun_with and not discard_other:
                raise PartialError(
                    f"{folder}: left by a run over other rows, or with another package or other options; "
                    "remove it, or discard it with --overwrite"
                )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _write_whole(journal, [json.dumps(identity)])
        self._lines: list[str] = []
        self._characters = 0
        self._stored = sum(1 for _ in self.predictions())

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
            _write_whole(self._folder / f"{self._stored:012}{_ENDING}", self._lines)
            self._stored += len(self._lines)
            self._characters = 0
            self._lines = []

    def predictions(self) -> Iterator[dict[str, Any]]:
        """All that is on disk, from the first row on."""
        for path in sorted(self._folder.glob(f"*{_ENDING}")):
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def complete(self, write: Callable[[Path], None], target: Path) -> None:
        """Have the output written aside, give it its name in one step, and leave nothing behind."""
        aside = self._folder / target.name
        try:
            write(aside)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # After a failed write another one would only hide what failed.
        if not isinstance(error, OSError):
            self.flush()


def _write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a file that is there completely or not at all, even after a power cut."""
    aside = path.with_suffix(".tmp")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
