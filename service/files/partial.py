"""A folder beside the output that keeps the predictions so far, so that a stopped run can go on where it was.

Predictions lie in files of JSON lines. Each file is named by the number of its first record and is complete from the
moment it has its name. A journal says which run the predictions belong to.
"""

import json
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models.atomic import UNFINISHED, atomic_write, atomic_write_text, flush, flush_names, remove
from models.errors import UserError
from models.files.storage import is_remote, open_storage
from models.folders import locked

FLUSH_RECORDS = 2_000
"""Most predictions in one file: usually some seconds of work."""

FLUSH_CHARACTERS = 16_000_000
"""The limit of one file in characters, which explanations of long texts reach first."""

FLUSH_S = 30
"""Seconds after which predictions are written, however few: a certificate may take ten seconds."""

FINISHED = "finished.json"
"""The file from which on the output is complete, and only names are missing."""

_JOURNAL = "journal.json"
_ENDING = ".rows"
_CURE = "remove it, or discard it with --overwrite"


class PartialError(UserError):
    """The folder beside the output does not hold the beginning of this run."""


class PartialOutput:
    """The predictions so far, in the order of the records.

    As a context manager it saves what was added, whichever way the block ends.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, discard_other: bool) -> None:
        """Go on with the predictions in `folder` if a run with the same `identity` left them; else begin anew.

        With `discard_other`, the folder of another run, or a damaged one, is removed.

        Raises:
            PartialError: no run left the folder; or another run did, or the folder is damaged, and `discard_other` is
                False.
            InUse: a run is working in it.
        """
        self._folder = folder
        self._lines: list[str] = []
        self._characters = 0
        self._stored = 0
        self._flushed_s = time.monotonic()
        journal = folder / _JOURNAL
        if folder.exists() and not journal.exists() and not (folder.is_dir() and _is_as_good_as_empty(folder)):
            raise PartialError(
                f"{folder}: is needed for the predictions so far, but holds what no run left there; "
                "move it, or choose another output with -o"
            )
        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(folder, "choose another output with -o"))
            self._begin(identity, discard_other=discard_other)
            self._opened = stack.pop_all()

    @property
    def records(self) -> int:
        """The number of records that are done."""
        return self._stored + len(self._lines)

    def add(self, prediction: dict[str, Any]) -> None:
        """Add the prediction for the next record."""
        self._lines.append(json.dumps(prediction))
        self._characters += len(self._lines[-1])
        is_large = len(self._lines) >= FLUSH_RECORDS or self._characters >= FLUSH_CHARACTERS
        if is_large or time.monotonic() - self._flushed_s >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write to disk what was added."""
        if self._lines:
            _write_lines(self._folder / f"{self._stored:012}{_ENDING}", self._lines)
            self._stored += len(self._lines)
            self._characters = 0
            self._lines = []
            self._flushed_s = time.monotonic()

    @contextmanager
    def predictions(self) -> Iterator[Iterator[dict[str, Any]]]:
        """All predictions on disk, from the first record on; no file is left open, however many were taken."""
        with closing(self._read()) as predictions:
            yield predictions

    def complete(self, write: Callable[[Path], None], target: Path) -> None:
        """Have `write` write the output, give it its name in one step, and remove this folder."""
        # The unfinished file has the same name, because the endings say which kind of file is written.
        with atomic_write(target, unfinished=self._folder / target.name) as unfinished:
            write(unfinished)
        shutil.rmtree(self._folder)

    def finish(self, moves: Mapping[str, str], record: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Give each file or folder in this folder its place among `moves`, and remove this folder.

        `record` is kept until all have their names, so that `settle` can go on where this was stopped. `output` says
        what the run was to write.
        """
        finished = {"moves": dict(moves), "record": record, "output": output}
        atomic_write_text(self._folder / FINISHED, json.dumps(finished))
        settle(self._folder, output, discard_other=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._opened:
            # After a failed write, a second failure would only hide the first.
            if not isinstance(error, OSError):
                self.flush()

    def _begin(self, identity: dict[str, Any], *, discard_other: bool) -> None:
        """Go on with the predictions on disk, or write a new journal; raises PartialError."""
        journal = self._folder / _JOURNAL
        if journal.exists():
            try:
                self._stored = self._resume(identity)
                return
            except PartialError:
                if not discard_other:
                    raise
            # The journal goes last, because without it the folder seems to be somebody else's.
            for inner in sorted(self._folder.iterdir(), key=lambda one: one == journal):
                remove(inner)
        _write_lines(journal, [json.dumps(identity)])

    def _resume(self, identity: dict[str, Any]) -> int:
        """Count the records whose predictions are on disk.

        Raises:
            PartialError: they belong to another run, or some are missing.
        """
        try:
            begun_with = dict(json.loads((self._folder / _JOURNAL).read_bytes()))
        except (TypeError, ValueError) as error:
            raise PartialError(f"{self._folder}: the journal is damaged; {_CURE}") from error
        if begun_with.get("format") != identity.get("format"):
            raise PartialError(f"{self._folder}: left by another version of Steadfast; {_CURE}")
        if begun_with != identity:
            raise PartialError(
                f"{self._folder}: left by a run with another {', '.join(_differing(begun_with, identity))}; "
                f"give the same again to go on with it, or {_CURE}"
            )
        records = 0
        for path in self._files():
            if path.stem != f"{records:012}":
                raise PartialError(f"{self._folder}: records are missing before {path.name}; {_CURE}")
            with path.open("rb") as file:
                records += sum(1 for _ in file)
        return records

    def _read(self) -> Generator[dict[str, Any], None, None]:
        for path in self._files():
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_ENDING}"))


_SAID = {"kinds": "kind of input", "texts": "columns", "skips_open_quotes": "--on-bad-lines", "attacks": "attack"}
"""Words for the names in an identity that say too little by themselves."""


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names under which two identities differ, the innermost of each."""
    names = []
    for name in dict.fromkeys((*one, *other)):
        mine, theirs = one.get(name), other.get(name)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            names += _differing(mine, theirs)
        elif mine != theirs:
            names.append(_SAID.get(name, name))
    return names


def settle(folder: Path, output: Mapping[str, Any], *, discard_other: bool) -> dict[str, Any] | None:
    """Give what a complete run left in its folder the names it lacks, and remove the folder.

    Returns the record of the run; None where no complete run left the folder, or one that was to write something else
    than `output` and is discarded.

    Raises:
        PartialError: the run was to write something else, and `discard_other` is False.
    """
    try:
        finished = json.loads((folder / FINISHED).read_bytes())
    except FileNotFoundError:
        return None
    if finished["output"] != output:
        if not discard_other:
            raise PartialError(
                f"{folder}: left by a run that was to write {_name_output(finished['output'])}; run that command "
                "again, or write its answers under the new name with --overwrite"
            )
        (folder / FINISHED).unlink()
        return None
    for name, place in finished["moves"].items():
        made = folder / name
        if made.exists():
            _move(made, place)
    shutil.rmtree(folder)
    return dict(finished["record"])


def _move(made: Path, place: str) -> None:
    if is_remote(place):
        storage, path = open_storage(place)
        storage.put(made, path)
        return
    target = Path(place)
    if made.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    if made.stat().st_dev != target.absolute().parent.stat().st_dev:
        # A name cannot be given on another disk.
        beside = target.with_name(target.name + UNFINISHED)
        shutil.copyfile(made, beside)
        made = beside
    flush(made)
    made.replace(target)
    flush_names(target.parent)


def _name_output(output: Mapping[str, Any]) -> str:
    return " and ".join(str(name) for name in (output["output"], output["errors"]) if name)


def _is_as_good_as_empty(folder: Path) -> bool:
    """Whether the folder is empty, or holds only the unfinished journal of a run that was stopped at its beginning."""
    return {path.name for path in folder.iterdir()} <= {Path(_JOURNAL).with_suffix(UNFINISHED).name}


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    atomic_write_text(path, "".join(line + "\n" for line in lines))
