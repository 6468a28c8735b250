"""The cores and the memory that this process may use, as its container allows, and how memory goes back."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
PROCESS_CGROUPS = Path("/proc/self/cgroup")

# A parameter of glibc's `mallopt`, from its malloc.h.
_M_MMAP_THRESHOLD = -3


def available_cores(cgroups: Path = CGROUPS, own: Path = PROCESS_CGROUPS) -> int:
    """Cores this process may use, at least 1: its affinity, cut down by the CPU quotas of its cgroups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(round(quota) for quota in cpu_quotas(cgroups, own))]))


def cpu_quotas(cgroups: Path = CGROUPS, own: Path = PROCESS_CGROUPS) -> Iterator[float]:
    """The CPU time that each cgroup around this process allows, in cores, where there is a limit; versions 1 and 2."""
    for folder in _folders("cpu", cgroups, own):
        limit = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        # -1 and "max" stand for no limit.
        if len(limit) == 2 and min(limit) > 0:
            yield limit[0] / limit[1]


def available_memory(cgroups: Path = CGROUPS, own: Path = PROCESS_CGROUPS) -> int:
    """Bytes this process may use at most: the machine's memory, cut down by the limits of its cgroups."""
    limits = [
        limit
        for folder in _folders("memory", cgroups, own)
        for file in ("memory.max", "memory.limit_in_bytes")
        for limit in _numbers(folder / file)
    ]
    return min([psutil.virtual_memory().total, *limits])


def return_memory() -> None:
    """Give the system back what was freed: glibc would keep some 40 MB that optimising a MiniLM has scattered.

    Any thread may call it at any time, and what it gives back is that of all threads.
    """
    _ask_glibc("malloc_trim", 0)


def map_blocks(size: int) -> None:
    """Let glibc map blocks of `size` bytes and more on their own, so that all of one goes back when it is freed.

    Usually it maps fewer blocks with time: each one that is freed raises the size from which it maps, up to 32 MB.
    """
    _ask_glibc("mallopt", _M_MMAP_THRESHOLD, size)


def _ask_glibc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        # Other C libraries have no such function.
        with suppress(AttributeError):
            getattr(ctypes.CDLL(None), function)(*arguments)


def _folders(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """The cgroups that this process belongs to, each followed by those around it.

    Inside a container the path may be the host's; then only the root exists here.
    """
    for line in _lines(own):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _numbers(file: Path) -> list[int]:
    """The numbers in the first line; none if it holds anything else, or if there is no file."""
    try:
        return [int(word) for line in _lines(file)[:1] for word in line.split()]
    except ValueError:
        return []


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
