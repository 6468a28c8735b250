"""What this machine gives to this process: cores and memory as its container allows, and what its CPU can do."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
CPU_INFO = Path("/proc/cpuinfo")

CPU_FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm",
)  # fmt: skip
"""Those that decide how fast matrices are multiplied; the last two are of Arm, the others of x86."""


def available_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Cores this process may use, at least 1: its affinity, cut down by the CPU quotas it stands under."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(round(quota) for quota in cpu_quotas(cgroups, own))]))


def cpu_quotas(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> Iterator[float]:
    """Cores' worth of time that each cgroup around this process may use, where it is limited; versions 1 and 2."""
    for folder in _folders("cpu", cgroups, own):
        limit = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        # -1 and "max" are no limit.
        if len(limit) == 2 and min(limit) > 0:
            yield limit[0] / limit[1]


def available_memory(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Bytes this process may use in the best case: the machine's, cut down by the limits it stands under."""
    limits = [
        limit
        for folder in _folders("memory", cgroups, own)
        for file in ("memory.max", "memory.limit_in_bytes")
        for limit in _numbers(folder / file)
    ]
    return min([psutil.virtual_memory().total, *limits])


def cpu_model(info: Path = CPU_INFO) -> str:
    """What the CPU calls itself; empty where it does not say."""
    return next(_values(info, "model name"), "")


def cpu_flags(info: Path = CPU_INFO) -> tuple[str, ...]:
    """Those of CPU_FLAGS that this CPU has."""
    there = {flag for name in ("flags", "Features") for value in _values(info, name) for flag in value.split()}
    return tuple(flag for flag in CPU_FLAGS if flag in there)


def _folders(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """The cgroups this process stands in and those around them.

    Inside a container the path may be the host's, of which nothing is to be seen but the root.
    """
    for line in _lines(own):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _numbers(file: Path) -> list[int]:
    """The numbers in the first line; none where there are others things, or no file."""
    try:
        return [int(word) for line in _lines(file)[:1] for word in line.split()]
    except ValueError:
        return []


def _values(file: Path, name: str) -> Iterator[str]:
    for line in _lines(file):
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            yield value.strip()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
