"""Files and folders that commands read and write, checked before anything slow starts and told apart from hub ids."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import UserError


class NoSuchFolder(UserError):
    """A name that can only be a folder's, and no folder has it."""


class AlreadyThere(UserError):
    """Something is where a new folder should go; nothing is ever overwritten."""


class NotWritable(UserError):
    """A file or folder that cannot be written under the name that was given."""


class InUse(UserError):
    """A folder that another run works in."""


def check_new(folder: Path) -> None:
    """Refuse a folder to write to that exists already, or cannot be made; raises AlreadyThere, NotWritable."""
    if folder.exists():
        raise AlreadyThere(f"{folder}: exists already; choose another name or remove it")
    check_output_folder(folder)


def check_output_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or, where it is there, written to. Nothing is made; raises NotWritable."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise NotWritable(f"{folder}: {there} is a file, not a folder; choose another name")
    _check_takes_files(there, folder, "choose another name")


def check_writable(file: Path, option: str) -> None:
    """Refuse a file that cannot be written, and name the `option` that says another. What is there is left alone.

    Raises:
        NotWritable: it is a folder, a link or a device, or lies in no folder, or in one that takes no new files.
    """
    if file.is_symlink():
        raise NotWritable(f"{file}: is a link, and a file would take its place; name {file.resolve()} with {option}")
    if file.is_dir():
        raise NotWritable(f"{file}: is a folder; name a file in it with {option}")
    if file.exists() and not file.is_file():
        raise NotWritable(f"{file}: is a device or a pipe, and a file would take its place; name a file with {option}")
    if not file.parent.is_dir():
        raise NotWritable(f"{file}: there is no folder {file.parent}; make it, or choose another with {option}")
    _check_takes_files(file.parent, file, f"choose another with {option}")


def _check_takes_files(folder: Path, wanted: Path, cure: str) -> None:
    try:
        # Rights alone do not tell: a disk may be read-only, and `/proc` takes no files from root either.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotWritable(f"{wanted}: the folder {folder} cannot be written to; {cure}") from error


def check_folder(name: str) -> None:
    """Refuse a name that looks like a folder's and is not there; any other name may still be an id on a hub.

    An id is NAME or OWNER/NAME, with :CONFIGURATION behind it for a data set. OWNER/NAME looks like a folder where a
    folder OWNER is here.

    Raises:
        NoSuchFolder: there is no such folder.
    """
    path = Path(name)
    if _looks_like_path(name) and not path.is_dir():
        raise NoSuchFolder(f"{name}: {why_no_folder(path)}")


def why_no_folder(path: Path) -> str:
    """The reason why `path` is no folder."""
    return "a file, not a folder; name the folder that it is in" if path.is_file() else "no such folder"


def _looks_like_path(name: str) -> bool:
    if Path(name).exists() or name.startswith((".", "/", "~")) or "\\" in name:
        return True
    owner, *rest = name.split("/")
    return len(rest) > 1 or rest == [""] or (len(rest) == 1 and Path(owner).is_dir())


@contextmanager
def locked(folder: Path, cure: str) -> Iterator[None]:
    """Keep other runs out of a folder; a run that is killed keeps nobody out.

    Raises:
        InUse: another run works in it; the message ends with the `cure`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(f"{folder}: another run is working in it; wait until that is done, or {cure}") from error
        yield
    finally:
        os.close(descriptor)
