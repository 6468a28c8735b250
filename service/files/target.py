"""The output of a run: a file, a folder with a file for each of the input, standard output, or a file elsewhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from models.atomic import atomic_write_text
from models.errors import UserError
from models.files.formats import FORMATS, find_format, find_kind, stem_of
from models.files.locating import PARTIAL, RUN_RECORD
from models.files.opening import DataFile
from models.files.storage import LOCAL_DISK, is_remote, local_name, open_storage
from models.folders import check_writable
from service.files.partial import FINISHED

STDOUT = "-"
_EXISTS = "exists already; choose another name with -o, or pass --overwrite"


class OutputError(UserError):
    """The output cannot be written under the name that was given."""


@dataclass(frozen=True)
class Target:
    """The name under which a user wants the output, and how it gets there."""

    name: str
    """A file; `-`; a folder, with a slash at its end; or a pattern in a folder, whose `*` is the name of the input."""
    kind: str | None = None
    """The format to write; None for the one that the name says, or that of the input."""

    def __post_init__(self) -> None:
        """Take the address of a file of this machine for its path."""
        object.__setattr__(self, "name", local_name(self.name))

    @property
    def is_folder(self) -> bool:
        """Whether each file of the input gets a file of its own."""
        return self.name.endswith("/") or "*" in PurePosixPath(self.name).name

    @property
    def is_local(self) -> bool:
        """Whether the output lies on a disk of this machine under its own name."""
        return self.name != STDOUT and not is_remote(self.name)

    @property
    def path(self) -> Path:
        """The file or the folder that gets its name when the output is complete."""
        path = Path(self.name).parent if "*" in PurePosixPath(self.name).name else Path(self.name)
        # Beside a folder without a name, such as `..`, nothing could be kept under its name.
        return path if path.name not in ("", "..") else path.resolve()

    @property
    def partial(self) -> Path | None:
        """The folder that keeps the outcomes for later runs until the output is complete; None for standard output."""
        if self.name == STDOUT:
            return None
        if is_remote(self.name):
            return Path(PurePosixPath(self.name).name + PARTIAL)
        return self.path.with_name(self.path.name + PARTIAL)

    @property
    def is_complete(self) -> bool:
        """Whether a run left everything complete in its folder, so that only names are missing."""
        return self.partial is not None and (self.partial / FINISHED).exists()

    @property
    def record(self) -> Path:
        """The file beside the output that says how it was made."""
        if self.is_folder:
            return self.path / f"_{RUN_RECORD.lstrip('.')}"
        return self.path.with_name(self.path.name + RUN_RECORD)

    def check(self, sources: Sequence[str], *, overwrite: bool) -> None:
        """Refuse an output that cannot be written, or that is there already; raises OutputError, NotWritable."""
        if self.is_local and not self.path.name:
            raise OutputError(f"{self.name}: is the root of the disk; choose another name with -o")
        if self.is_local and not self.is_folder:
            # Before the format is asked for, which the name of a folder does not say.
            check_writable(self.path, "-o")
        if not self.is_folder and self.name != STDOUT:
            find_format(self.name, self.kind)
        if not self.is_local:
            if self.is_folder:
                raise OutputError(
                    f"{self.name}: a folder elsewhere cannot be written; write it here, and copy it there"
                )
            if self.name != STDOUT:
                self._check_elsewhere(overwrite=overwrite)
            return
        if not self.path.exists():
            return
        if any(Path(source).exists() and self.path.samefile(source) for source in map(local_name, sources)):
            raise OutputError(f"{self.name}: is the input; choose another name with -o")
        if self.is_folder and not self.path.is_dir():
            raise OutputError(f"{self.path}: is a file, not a folder; choose another name with -o")
        if self.is_complete:
            return
        if not overwrite:
            raise OutputError(f"{self.name}: {_EXISTS}")
        if self.is_folder and not self.record.exists() and any(self.path.iterdir()):
            raise OutputError(f"{self.name}: holds what no run left there; choose another folder with -o")

    def _check_elsewhere(self, *, overwrite: bool) -> None:
        storage, path = open_storage(self.name)
        if not overwrite and not self.is_complete and storage.is_file(path):
            raise OutputError(f"{self.name}: {_EXISTS}")

    def refuse_elsewhere(self, file: DataFile) -> None:
        """Refuse to write over a file of the input that lies elsewhere; raises OutputError."""
        if is_remote(self.name):
            storage, path = open_storage(self.name)
            if storage.full_name(path) == file.storage.full_name(file.path):
                raise OutputError(f"{self.name}: is the input; choose another name with -o")

    def outputs(self, files: Sequence[DataFile]) -> list[tuple[str, str | None]]:
        """The name and the format of each file to write; below a folder, one for each file of the input.

        To standard output records go in the format in which they came, or as JSON lines where that is not text with
        columns.

        Raises:
            OutputError: two files of the input would become one.
        """
        if self.is_folder:
            return [(name, self.kind) for name in self._names(files)]
        kind = self.kind
        if self.name == STDOUT and kind is None:
            came_as = find_kind(files[0].name, files[0].kind)
            kind = came_as if FORMATS[came_as].is_text and FORMATS[came_as].write else "jsonl"
        return [(self.name, kind)]

    @property
    def destination(self) -> str:
        """The file, the folder or the place elsewhere that the output becomes."""
        return self.name if is_remote(self.name) else str(self.path)

    def digest(self, made: Path) -> str | dict[str, str]:
        """The digest of the output, or of each file in its folder."""
        if made.is_dir():
            return {path.relative_to(made).as_posix(): LOCAL_DISK.digest(str(path)) for path in _files_in(made)}
        return LOCAL_DISK.digest(str(made))

    def place_record(self, partial: Path, record: Mapping[str, Any]) -> dict[str, str]:
        """Write the record of the run into the partial folder; returns the place that it is to get."""
        if not self.is_local:
            return {}
        text = json.dumps(record, indent=1) + "\n"
        if self.is_folder:
            # It goes with the folder.
            atomic_write_text(partial / "result" / self.record.name, text)
            return {}
        atomic_write_text(partial / "record", text)
        return {"record": str(self.record)}

    def _names(self, files: Sequence[DataFile]) -> list[str]:
        """The path in the output's folder of the file for each file of the input."""
        pattern = PurePosixPath(self.name).name
        names = [PurePosixPath(file.relative or PurePosixPath(file.path).name) for file in files]
        if "*" in pattern:
            names = [name.with_name(pattern.replace("*", stem_of(name.name) or name.stem)) for name in names]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise OutputError(f"{self.name}: two files of the input would both become {twice}; score them apart")
        return [str(name) for name in names]


def refuse_one_name_for_two(written: Iterable[tuple[str, Path]]) -> None:
    """Refuse two files of a run that have one resolved path, each behind the option that names it; OutputError."""
    found: dict[Path, str] = {}
    for option, path in written:
        if other := found.get(path):
            raise OutputError(f"{path}: is written for {other} too; choose another name with {option}")
        found[path] = option


def refuse_to_overwrite(kept: Iterable[Path], written: Iterable[tuple[str, Path]]) -> None:
    """Refuse to write over what a run reads, or into a folder that it reads; raises OutputError.

    `written` are the files and folders that are written, each behind the option that names it. They need not be there.
    """
    places = [(option, path.resolve()) for option, path in written]
    for path in kept:
        found = path.resolve()
        for option, place in places:
            cure = f"choose another name with {option}"
            if place == found:
                raise OutputError(f"{path}: is among the input and the output; {cure}")
            if place in found.parents:
                raise OutputError(f"{place}: holds {path}, which is read and stays as it is; {cure}")
            if found in place.parents:
                raise OutputError(f"{place}: lies in {path}, which is read and stays as it is; {cure}")


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
