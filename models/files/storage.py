"""Places where files lie: the disk of this machine, and object stores and hubs through fsspec."""

import glob
import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from models.errors import UserError


class StorageError(UserError):
    """A place that files cannot be fetched from or put into."""


class Storage(Protocol):
    """A place where files lie."""

    def open(self, path: str) -> BinaryIO:
        """The bytes of a file, which can be read from any place on."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file of that path."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that path."""

    def find(self, folder: str) -> list[str]:
        """The paths of all files in a folder and the folders in it, in order."""

    def match(self, pattern: str) -> list[str]:
        """The paths of all files that a pattern fits, in order."""

    def digest(self, path: str) -> str:
        """Names the contents of a file: other contents have another digest."""

    def full_name(self, path: str) -> str:
        """The name by which a user finds the file."""

    def relative(self, path: str, folder: str) -> str:
        """The path of a file from a folder on, as `find` and `match` give it."""


class LocalDisk:
    """The disk of this machine."""

    def open(self, path: str) -> BinaryIO:
        """The bytes of a file."""
        return Path(path).open("rb")

    def is_file(self, path: str) -> bool:
        """Whether there is something of that path that can be read."""
        return Path(path).exists() and not Path(path).is_dir()

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that path."""
        return Path(path).is_dir()

    def find(self, folder: str) -> list[str]:
        """The paths of all files in a folder and the folders in it, in order."""
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())

    def match(self, pattern: str) -> list[str]:
        """The paths of all files that a pattern fits, in order; `**` stands for folders however deep."""
        # Not by pathlib, whose patterns start at a folder.
        return sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())  # noqa: PTH207

    def digest(self, path: str) -> str:
        """The SHA-256 of the contents."""
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def full_name(self, path: str) -> str:
        """The path itself."""
        return path

    def relative(self, path: str, folder: str) -> str:
        """The path of a file from a folder on, however either is written."""
        return Path(path).relative_to(folder).as_posix()


LOCAL_DISK = LocalDisk()


class RemoteStorage:
    """A file system of fsspec, such as an object store or a hub."""

    def __init__(self, system: Any) -> None:
        """Take a file system that fsspec opened."""
        self._system = system

    def open(self, path: str) -> BinaryIO:
        """The bytes of a file."""
        return cast(BinaryIO, self._system.open(path, "rb"))

    def is_file(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return bool(self._system.isfile(path))

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that path."""
        return bool(self._system.isdir(path))

    def find(self, folder: str) -> list[str]:
        """The paths of all files in a folder and the folders in it, in order."""
        return sorted(self._system.find(folder))

    def match(self, pattern: str) -> list[str]:
        """The paths of all files that a pattern fits, in order."""
        return sorted(path for path in self._system.glob(pattern) if self._system.isfile(path))

    def digest(self, path: str) -> str:
        """A key of all that the store says of the file: its size, its time, and its own digest if it has one."""
        self._system.invalidate_cache()
        return str(self._system.ukey(path))

    def full_name(self, path: str) -> str:
        """The path with the protocol before it."""
        return str(self._system.unstrip_protocol(path))

    def relative(self, path: str, folder: str) -> str:
        """The path of a file from a folder on."""
        return path.removeprefix(folder).lstrip("/")

    def put(self, file: Path, path: str) -> None:
        """Copy a file of this machine there."""
        self._system.put_file(str(file), path)


def local_name(name: str) -> str:
    """The path, where a name such as `file:///data/a.csv` is that of a file of this machine; else the name."""
    return next((name.removeprefix(one) for one in ("file://", "local://") if name.startswith(one)), name)


def is_remote(name: str) -> bool:
    """Whether a name is that of a file elsewhere, such as `s3://bucket/a.csv`."""
    return "://" in name


def open_storage(name: str) -> tuple[RemoteStorage, str]:
    """The storage that a name such as `s3://bucket/a.csv` leads to, and the path there; raises StorageError."""
    try:
        import fsspec
    except ImportError as error:
        raise StorageError(
            f"{name}: files that lie elsewhere need fsspec; run pip install -e '.[files]' in a clone, or fetch the file"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{name}: cannot be opened ({error}); install what its protocol needs, or fetch it"
        ) from error
    return RemoteStorage(system), path
