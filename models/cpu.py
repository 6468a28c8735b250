"""The CPU of this machine: its name, and its instructions that decide how fast matrices are multiplied.

Both are read where Linux tells them; other systems tell nothing.
"""

from collections.abc import Iterator
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

CPU_FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm",
)  # fmt: skip
"""Instructions that matter, as Linux names them; the last two are Arm's, the others x86's."""


def cpu_model(info: Path = CPU_INFO) -> str:
    """The CPU's own name; empty where it does not tell."""
    return next(_values(info, "model name"), "")


def cpu_flags(info: Path = CPU_INFO) -> tuple[str, ...]:
    """The flags among CPU_FLAGS that this CPU has, in that order."""
    found = {flag for name in ("flags", "Features") for value in _values(info, name) for flag in value.split()}
    return tuple(flag for flag in CPU_FLAGS if flag in found)


def _values(file: Path, name: str) -> Iterator[str]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            yield value.strip()
