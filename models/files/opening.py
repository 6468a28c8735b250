"""Opens the files that data are read from, wherever they lie and however they are packed."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from models.errors import UserError
from models.files.rows import DamagedFile, RecordsError
from models.files.storage import LOCAL_DISK, Storage

PACKINGS = {".gz": "gzip", ".zst": "zstd"}
"""The endings of packed files, and how they are packed."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the text of a file is to be taken where the file does not say so itself."""

    delimiter: str | None = None
    """The sign between values of csv; None to find it in the first line."""
    skips_open_quotes: bool = False
    """Whether a line with a quote that is never closed is one bad record; else it is an error of the whole file."""

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise RecordsError(f"delimiter {self.delimiter!r}: it is one sign, such as ; or a tab")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of data: its name as the user knows it, where it lies, and how it is to be taken."""

    name: str
    path: str
    storage: Storage = LOCAL_DISK
    dialect: Dialect = field(default_factory=Dialect)
    kind: str | None = None
    """The name of its format, where the file's name does not say so."""
    relative: str = ""
    """Its path below the folder or the pattern by which it was found; empty where it was named itself."""

    @classmethod
    def local(cls, path: Path, dialect: Dialect | None = None) -> "DataFile":
        """A file of this machine."""
        return cls(name=str(path), path=str(path), dialect=dialect or Dialect())

    @property
    def packing(self) -> str | None:
        """How the file is packed, by its name: "gzip", "zstd" or None."""
        return PACKINGS.get(PurePosixPath(self.name).suffix.lower())

    def check(self) -> None:
        """Refuse a file that is not there; raises RecordsError."""
        if self.storage.is_folder(self.path):
            raise RecordsError(f"{self.name}: is a folder; name a file in it")
        if not self.storage.is_file(self.path):
            raise RecordsError(f"{self.name}: no such file")

    def digest(self) -> str:
        """Names the contents: others have another digest; raises DamagedFile."""
        try:
            return self.storage.digest(self.path)
        except OSError as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end ({error.strerror or error})") from error

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The unpacked bytes of the file.

        Raises:
            DamagedFile: the bytes cannot be read or unpacked; also from the block that reads them.
        """
        try:
            with self.storage.open(self.path) as file, self._unpacked(file) as unpacked:
                yield unpacked
        except (gzip.BadGzipFile, EOFError, zlib.error, zstd.ZstdError) as error:
            raise DamagedFile(f"{self.name}: damaged {self.packing} file ({error})") from error
        except OSError as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end ({error.strerror or error})") from error
        except UserError:
            raise
        except Exception as error:
            if self.storage is LOCAL_DISK:
                raise
            # Object stores raise errors of their own libraries.
            raise DamagedFile(f"{self.name}: cannot be read to its end ({error})") from error

    def _unpacked(self, file: BinaryIO) -> BinaryIO:
        match self.packing:
            case "gzip":
                return cast(BinaryIO, gzip.GzipFile(fileobj=file))
            case "zstd":
                return cast(BinaryIO, zstd.ZstdFile(file))
            case _:
                return file


def pack(file: BinaryIO, packing: str | None) -> BinaryIO:
    """A file whose bytes are packed into `file`; the same bytes always become the same ones."""
    match packing:
        case "gzip":
            # Without the name and the time that would stand in the header.
            return cast(BinaryIO, gzip.GzipFile("", "wb", 6, file, mtime=0))
        case "zstd":
            return cast(BinaryIO, zstd.ZstdFile(file, "wb"))
        case _:
            return file
