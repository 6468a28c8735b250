"""Writing that is complete or did not happen: a file gets its name only when all of it is on disk."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import UserError

UNFINISHED = ".tmp"
"""Ending of a file or folder that is still being written."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No room on the disk, in the user's share of it, or in a file."""
_IN_WORDS = re.compile(r"\(os error (\d+)\)")
"""How libraries in Rust (safetensors, tokenizers) tell of the system's errors, which they raise as errors of theirs."""


@contextmanager
def atomic_write(target: Path, *, unfinished: Path | None = None) -> Iterator[Path]:
    """Give the path to write to; when the block ends, the file or folder that was written there becomes `target`.

    The path is `unfinished`, by default `target` with the ending `.tmp`. It must lie on the same disk as `target`. An
    error in the block removes what was written and leaves `target` as it was. A file replaces an older `target` in one
    step and is safe from a power cut afterwards. A folder replaces an older one in two steps: the older one is removed
    first.

    Raises:
        OSError: as whatever writes raises it; where the disk is full and it names no file, with the name of `target`.
    """
    unfinished = unfinished or target.with_suffix(UNFINISHED)
    remove(unfinished)
    with naming_full_disk(target):
        try:
            yield unfinished
            if unfinished.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            else:
                flush(unfinished)
            unfinished.replace(target)
        except BaseException:
            remove(unfinished)
            raise
    flush_names(target.parent)


@contextmanager
def naming_full_disk(target: Path) -> Iterator[None]:
    """Where the block finds the disk full and names no file, raise OSError with the name of `target`.

    So do errors of libraries in Rust that tell of it in words; other libraries have words of their own for it.
    """
    try:
        yield
    except Exception as error:
        if (number := _full_disk(error)) is not None:
            raise OSError(number, os.strerror(number), str(target)) from error
        raise


def _full_disk(error: BaseException) -> int | None:
    """The number of the system's error where it says, without a name, that no more can be written; None for others."""
    if isinstance(error, OSError):
        number = error.errno if error.filename is None else None
    else:
        found = _IN_WORDS.search(str(error))
        number = int(found[1]) if found and not isinstance(error, UserError) else None
    return number if number in _FULL else None


def atomic_write_text(target: Path, text: str) -> None:
    """Write a text file in UTF-8 that is there completely or not at all, even after a power cut."""
    with atomic_write(target) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the contents of a file written to disk, or those of all files in a folder."""
    if path.is_dir():
        for inner in path.rglob("*"):
            if inner.is_file():
                flush(inner)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_names(folder: Path) -> None:
    """Have the list of the files in `folder` written to disk; only POSIX can do this, and only there it is needed."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
