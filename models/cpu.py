"""The CPU of this machine: its name, and its instructions that decide how fast matrices are multiplied.

Both are read where Linux tells them; other systems tell nothing.
"""

import hashlib
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

CPU_FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm",
)  # fmt: skip
"""Instructions that matter, as Linux names them; the last two are Arm's, the others x86's."""

FINGERPRINT = ("flags", "Features", "vendor_id", "model name", "cpu family", "model", "CPU implementer", "CPU part")
"""The lines in which Linux tells the CPU's kind and instructions, on x86 and on Arm."""


def cpu_model(info: Path = CPU_INFO) -> str:
    """The CPU's own name; empty where it does not tell."""
    return next(_values(info, "model name"), "")


def cpu_flags(info: Path = CPU_INFO) -> tuple[str, ...]:
    """The flags among CPU_FLAGS that this CPU has, in that order."""
    found = {flag for name in ("flags", "Features") for value in _values(info, name) for flag in value.split()}
    return tuple(flag for flag in CPU_FLAGS if flag in found)


@cache
def cpu_fingerprint(info: Path = CPU_INFO) -> str:
    """A digest of the CPU's kind and all its instructions; empty where it does not tell.

    Weights that were packed on one CPU suit each other CPU of the same fingerprint.
    """
    told = {f"{name}: {value}" for name in FINGERPRINT for value in _values(info, name)}
    if not any(line.startswith(("flags", "Features")) for line in told):
        return ""
    return hashlib.sha256("\n".join([platform.machine(), *sorted(told)]).encode()).hexdigest()


def _values(file: Path, name: str) -> Iterator[str]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            yield value.strip()
