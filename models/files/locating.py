"""Finds the files that a name stands for: a file, a folder, a pattern, standard input, or files that lie elsewhere."""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.files.formats import ENDINGS, stem_of
from models.files.opening import DataFile, Dialect
from models.files.rows import RecordsError
from models.files.storage import LOCAL_DISK, Storage, is_remote, local_name, open_storage

STDIN = "-"

RUN_RECORD = ".run.json"
"""The end of the name of a file that says how another was made. It holds no records."""

PARTIAL = ".partial"
"""The end of the name of a folder in which a run keeps what is not finished. It holds no records either."""

_PATTERN = re.compile(r"[*?\[]")

_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_LOOK_BYTES = 4_096
_PACKED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}


def locate(names: Sequence[str], dialect: Dialect, kind: str | None, spool: Path) -> list[DataFile]:
    """The files that names stand for, in the order of the names, and below one name in that of the alphabet.

    Standard input and pipes are copied to the folder `spool`, because a run reads its input more than once.
    `kind` says the
    format of all files; without it, names say it, and the contents of standard input.

    Raises:
        RecordsError, StorageError: a name stands for no file, or two for the same one.
    """
    files = [file for name in names for file in _locate(name, spool)]
    _refuse_twice(files)
    return [replace(file, dialect=dialect, kind=kind or file.kind) for file in files]


def _locate(name: str, spool: Path) -> list[DataFile]:
    if name == STDIN:
        return [_spool(sys.stdin.buffer, "standard input", spool)]
    name = local_name(name)
    storage: Storage = LOCAL_DISK
    path = name
    if is_remote(name):
        storage, path = open_storage(name)
    elif Path(name).is_fifo():
        with Path(name).open("rb") as pipe:
            return [_spool(pipe, name, spool)]
    if storage.is_folder(path):
        base = path
        found = [one for one in storage.find(path) if _holds_records(storage.relative(one, base))]
        wanted = f"holds no file of a known kind: {ENDINGS}"
    elif _PATTERN.search(path) and not storage.is_file(path):
        folder, slash, _ = path[: _PATTERN.search(path).start()].rpartition("/")  # type: ignore[union-attr]
        base = folder or slash
        found = [one for one in storage.match(path) if not _is_of_a_run(storage.relative(one, base))]
        wanted = "fits no file"
    else:
        return [DataFile(name=name, path=path, storage=storage)]
    if not found:
        raise RecordsError(f"{name}: {wanted}")
    return [
        DataFile(name=storage.full_name(one), path=one, storage=storage, relative=storage.relative(one, base))
        for one in found
    ]


def _refuse_twice(files: Sequence[DataFile]) -> None:
    """Refuse a file that is there under two names, or through a link; raises RecordsError."""
    found: dict[str, str] = {}
    for file in files:
        place = str(Path(file.path).resolve()) if file.storage is LOCAL_DISK else file.storage.full_name(file.path)
        if place in found:
            raise RecordsError(
                f"{file.name}: is the same file as {found[place]}, and would be scored twice; name it once"
            )
        found[place] = file.name


def _holds_records(path: str) -> bool:
    """Whether a file in a folder is one to read; names that begin with a dot or `_` are for the machines' own use."""
    is_hidden = any(part[:1] in (".", "_") for part in PurePosixPath(path).parts)
    return not is_hidden and not _is_of_a_run(path) and stem_of(PurePosixPath(path).name) is not None


def _is_of_a_run(path: str) -> bool:
    return path.endswith(RUN_RECORD) or any(part.endswith(PARTIAL) for part in PurePosixPath(path).parts)


def _spool(stream: BinaryIO, name: str, spool: Path) -> DataFile:
    """Copy a stream, which can be read only once, to the folder `spool`."""
    copy = spool / f"stream-{len(list(spool.iterdir()))}"
    with copy.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    with copy.open("rb") as file:
        head = file.read(_LOOK_BYTES)
    packed = next((ending for magic, ending in _PACKED.items() if head.startswith(magic)), "")
    spooled = DataFile(name=f"{name}{packed}", path=str(copy))
    if packed:
        with spooled.opened() as unpacked:
            head = unpacked.read(_LOOK_BYTES)
    return replace(spooled, kind=_tell_kind(head))


def _tell_kind(head: bytes) -> str:
    """The format of a file by its first bytes."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        return "jsonl"
    return "csv"
