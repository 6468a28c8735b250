"""Graphs whose weights are packed for this machine once, and then shared by all processes that map them into memory.

Whenever ONNX Runtime loads a graph, it optimises the graph and packs the weights for the CPU's instructions, in memory
of each session's own. A cache keeps both: an entry holds the optimised graph, a file with the weights as they are and
as they are packed, and a record with the sha256 of these two. Sessions map the file of weights, so that the system
holds it once.

The cache must be the user's own, because whoever can write there decides what is computed. Entries are never changed:
they are written elsewhere, appear by one rename, and disappear by another.
"""

import errno
import functools
import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from export.package import DamagedFile, file_digest
from export.providers import PROVIDERS, ProviderName
from export.runtime import onnxruntime
from export.session import SLOW_FUSIONS, Session
from models.cpu import cpu_fingerprint
from models.errors import UserError, first_mistake
from models.machine import return_memory

FOLDER = "prepacked"
"""The folder in the cache that holds the entries, each a folder."""
RECORD = "entry.json"
GRAPH = "model.onnx"
WEIGHTS = "weights.bin"

ALIGNMENT = 64
"""Packed weights begin at a multiple of so many bytes: float kernels read them by instructions that fault elsewhere.

ONNX Runtime 1.31 writes constants one right after the other, so one of another size moves all behind it. Where that
moves a packed weight, the entry holds the weights as they are alone, and each session packs its own.
"""
_PACKED = re.compile(rb"[A-Za-z]+\+\d+\|(\d+);\d+;")
"""The entry of a packed weight in a graph's file: its operator and digest, and the byte at which it begins."""

SMALLEST_BYTES = 1024
"""Smaller constants stay in the graph's file: ONNX Runtime reads shapes from there only."""

DAY_S = 24 * 60 * 60
UNUSED_S = 30 * DAY_S
"""An entry that no process has opened for so long is dropped."""
MOST_ENTRIES = 32
"""Beyond this number of entries, those that were not opened for a day are dropped."""
ABANDONED_S = 60 * 60
"""Older scratch folders were left by a process that was killed."""

log = logging.getLogger(__name__)


class UnusableCache(UserError):
    """The cache cannot be used; graphs are loaded without it."""


class DamagedEntry(UserError):
    """An entry of the cache is not what was written there."""


class _Record(BaseModel):
    """`entry.json`: what an entry was made from and for, and its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    graph: str
    """sha256 of the graph that was optimised."""
    machine: str
    files: dict[str, str]
    """sha256 of each file but this one."""
    weights: tuple[int, ...]
    """The identity of the file of weights when it was written; empty where no constant is large enough for it."""


def open_session(
    graph: Path, digest: str, *, cache: Path | None, pad_id: int, provider: ProviderName = "cpu"
) -> Session:
    """A session for `graph`, whose sha256 is `digest`, with packed weights from the folder `cache` where that can be.

    The entry of the cache is written if it is missing or damaged. Where the cache cannot be used, the log says why,
    once. Only the CPU computes with packed weights; with another provider, or without a folder, nothing is cached.

    Raises:
        DamagedFile: the graph is not the one of this digest, and had to be read.
        ProviderMissing: see `Session`.
    """
    if cache is not None and provider == "cpu":
        try:
            return _open_cached(graph, digest, cache, pad_id)
        except (UnusableCache, DamagedEntry, OSError) as error:
            _warn_once(f"{error}; processes do not share weights; set STEADFAST_CACHE to another folder, or to off")
    return Session(graph, pad_id=pad_id, provider=provider)


def private_folder(cache: Path) -> Path:
    """The folder of entries in a cache, made if it is missing.

    Raises:
        UnusableCache: it cannot be made, others can write there, or the CPU's instructions are not known.
    """
    if not cpu_fingerprint():
        raise UnusableCache(f"{cache}: this system does not say which instructions its CPU has")
    folder = cache / FOLDER
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnusableCache(f"{error.filename}: {error.strerror}") from error
    obstacle = _obstacle(folder, stat.S_ISDIR)
    if obstacle:
        raise UnusableCache(f"{folder}: {obstacle}")
    return folder


def entry_bytes(folder: Path) -> Iterator[int]:
    """The size of each entry in a folder of entries."""
    for entry in folder.glob("[!.]*"):
        with suppress(OSError):
            yield sum(file.stat().st_size for file in entry.iterdir())


def _open_cached(graph: Path, digest: str, cache: Path, pad_id: int) -> Session:
    """Open an entry, after writing it where it is missing or damaged; raises UnusableCache and DamagedEntry."""
    entry = private_folder(cache) / _entry_name(digest)
    try:
        return _open_entry(entry, digest, pad_id)
    except FileNotFoundError:
        pass
    except DamagedEntry as error:
        log.warning("%s; it is written anew", error)
    _write_entry(entry, graph, digest)
    return _open_entry(entry, digest, pad_id)


def _open_entry(entry: Path, digest: str, pad_id: int) -> Session:
    """A session with an entry's graph; nothing is computed with a file that is not as it was written.

    Raises:
        FileNotFoundError: there is no entry.
        DamagedEntry: it must not be used.
    """
    _check_entry(entry, digest)
    with suppress(OSError):
        # For those who drop entries that are not used; a cache that cannot be written can still be read.
        os.utime(entry)
    try:
        return Session(entry / GRAPH, pad_id=pad_id, optimize=False)
    # ONNX Runtime's errors have no base of their own.
    except Exception as error:
        raise DamagedEntry(f"{entry}: {_first_line(error)}") from error


def _check_entry(entry: Path, digest: str) -> None:
    """Refuse an entry that is not as it was written, by us, for this graph on this machine; raises as `_open_entry`."""
    _refuse_foreign(entry, stat.S_ISDIR)
    names = {file.name for file in entry.iterdir()}
    for name in names:
        _refuse_foreign(entry / name, stat.S_ISREG)
    try:
        record = _Record.model_validate_json((entry / RECORD).read_bytes())
    except ValidationError as error:
        raise DamagedEntry(f"{entry / RECORD}: {first_mistake(error)}") from error
    if (record.graph, record.machine) != (digest, _machine()):
        raise DamagedEntry(f"{entry / RECORD}: made for another graph, ONNX Runtime or CPU")
    if names != {RECORD, *record.files} or GRAPH not in names:
        raise DamagedEntry(f"{entry}: holds other files than were written")
    for name, expected in record.files.items():
        file = entry / name
        # Reading the weights takes as long as loading, so it is left out where nobody has touched the file.
        if (name != WEIGHTS or _identity(file) != record.weights) and file_digest(file) != expected:
            raise DamagedEntry(f"{file}: not the file that was written")
    if not _is_aligned(entry):
        raise DamagedEntry(f"{entry / WEIGHTS}: packed weights at bytes where they cannot be read")


def _is_aligned(entry: Path) -> bool:
    """Whether all packed weights begin where they can be read."""
    content = (entry / GRAPH).read_bytes()
    return all(int(found[1]) % ALIGNMENT == 0 for found in _PACKED.finditer(content))


def _write_entry(entry: Path, graph: Path, digest: str) -> None:
    """Write an entry in place of the one that there may be, unless another process has just done so.

    Raises:
        UnusableCache: it cannot be written.
        DamagedFile: the graph is not the one of this digest.
    """
    content = graph.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedFile(f"{graph}: changed since its package was opened; copy or export the package again")
    try:
        with TemporaryDirectory(prefix=".", dir=entry.parent, ignore_cleanup_errors=True) as scratch:
            made = Path(scratch) / "made"
            made.mkdir(mode=0o700)
            _optimize(content, made, packs=True)
            if not _is_aligned(made):
                (made / WEIGHTS).unlink()
                _optimize(content, made, packs=False)
            return_memory()
            (made / RECORD).write_text(_record(digest, made).model_dump_json(), encoding="utf-8")
            _drop_unused(entry.parent, Path(scratch))
            if not _is_good(entry, digest):
                with suppress(FileNotFoundError):
                    entry.rename(Path(scratch) / "damaged")
                made.rename(entry)
    except OSError as error:
        # Another process has put its own there since, and a folder that is not empty is never replaced.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise UnusableCache(f"{entry.parent}: {error.strerror}") from error


def _optimize(graph: bytes, into: Path, *, packs: bool) -> None:
    """Let ONNX Runtime write the optimised graph and its weights, packed too or as they are alone.

    The session that does it is not used: its weights lie in memory of its own, which no other session shares.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As in sessions that run: looking for buffers to take over takes long and finds next to nothing.
    options.enable_mem_reuse = False
    options.optimized_model_filepath = str(into / GRAPH)
    # Without it, ONNX Runtime warns that the graph is made for this machine.
    options.log_severity_level = 3
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", str(int(packs)))
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(SMALLEST_BYTES)
    )
    providers = [PROVIDERS["cpu"].called]
    try:
        onnxruntime.InferenceSession(graph, options, providers=providers, disabled_optimizers=SLOW_FUSIONS)
    # ONNX Runtime's errors have no base of their own.
    except Exception as error:
        raise UnusableCache(f"{into.parent.parent}: {_first_line(error)}") from error


def _drop_unused(folder: Path, scratch: Path) -> None:
    """Move what nobody needs from a folder of entries into `scratch`; a process that has opened an entry keeps it."""
    opened: dict[Path, float] = {}
    for path in folder.iterdir():
        with suppress(OSError):
            opened[path] = time.time() - path.lstat().st_mtime
    newest_first = sorted(opened, key=opened.__getitem__)
    entries = [path for path in newest_first if not path.name.startswith(".")]
    unused = [path for path in entries if opened[path] > UNUSED_S]
    surplus = [path for path in entries[MOST_ENTRIES:] if opened[path] > DAY_S]
    abandoned = [path for path in opened if path.name.startswith(".") and opened[path] > ABANDONED_S]
    for number, path in enumerate(dict.fromkeys([*unused, *surplus, *abandoned])):
        with suppress(OSError):
            path.rename(scratch / f"unused{number}")


def _is_good(entry: Path, digest: str) -> bool:
    try:
        _check_entry(entry, digest)
    except (OSError, DamagedEntry):
        return False
    return True


def _entry_name(digest: str) -> str:
    return f"{digest}-{onnxruntime.__version__}-{_machine()[:16]}"


def _machine() -> str:
    """A digest of all that an entry depends on beside its graph."""
    parts = (onnxruntime.__version__, onnxruntime.get_build_info(), *SLOW_FUSIONS, cpu_fingerprint())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _record(digest: str, made: Path) -> _Record:
    """The record of the files in `made`, which are on the disk when it returns."""
    for file in made.iterdir():
        with file.open("rb") as opened:
            # The weights are not read again while their identity stays, which must not outlive their bytes in a crash.
            os.fsync(opened.fileno())
    weights = made / WEIGHTS
    return _Record(
        graph=digest,
        machine=_machine(),
        files={file.name: file_digest(file) for file in made.iterdir()},
        weights=_identity(weights) if weights.exists() else (),
    )


def _identity(file: Path) -> tuple[int, ...]:
    """Numbers that change when a file is replaced or written; no program can set the last one."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _refuse_foreign(path: Path, is_kind: Callable[[int], bool]) -> None:
    obstacle = _obstacle(path, is_kind)
    if obstacle:
        raise DamagedEntry(f"{path}: {obstacle}")


def _obstacle(path: Path, is_kind: Callable[[int], bool]) -> str:
    """The reason not to trust a file or folder, because another user may have had a hand in it; empty if none."""
    status = path.lstat()
    if not is_kind(status.st_mode):
        return "not a plain file" if is_kind is stat.S_ISREG else "not a folder, or a link to one"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077:
        return f"others may use it, its mode is {stat.S_IMODE(status.st_mode):03o} and must be 700"
    return ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)
