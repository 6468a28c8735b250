"""Weights that a graph keeps in another file, which ONNX calls external data.

A graph too large for one file has its weights in a second one of a name that follows from its own, and a package lists
both with their digests. Any other place is refused: no digest would cover such a file, and it may lie anywhere. Where a
package is copied without it, or it is changed, the same graph answers something else.
"""

import mmap
from pathlib import Path

_KEY = b"location"
"""The entry that names the file: every tensor with external data has one (`TensorProto.external_data`)."""
_LENGTHS = (0x08, 0x00)
"""The last byte of a length of 8 in protobuf, which stands before the text: 8, or 0 where it is written longer."""
_ENTRY, _KEY_TAG, _VALUE_TAG = 0x6A, 0x0A, 0x12
"""The tags of an entry of `TensorProto.external_data`, of its key and of its value."""
_MOST_BYTES = 127
"""Length of the longest entry whose length protobuf writes in one byte."""


def data_file(graph: Path) -> Path:
    """The place of the second file of a graph, whether or not there is one."""
    return graph.with_name(f"{graph.name}.data")


def names_other_files(graph: Path, *, allowed: str | None) -> bool:
    """Whether a graph in an ONNX file may have weights in files other than the one that is `allowed`.

    The file is searched, not parsed, so that serving needs no package for it. A tensor or node that is called
    `location`, and nothing more, counts as another file. So does an entry that is not written as ONNX writes it, or
    that holds more than one name: of several values, readers take the last.
    """
    if not graph.stat().st_size:
        return False
    before, after = (None, b"") if allowed is None else _written(allowed)
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_KEY)
        while at > 0:
            end = at + len(_KEY)
            is_allowed = before == content[max(at - 4, 0) : at] and after == content[end : end + len(after)]
            if content[at - 1] in _LENGTHS and not is_allowed:
                return True
            at = content.find(_KEY, at + 1)
    return False


def _written(name: str) -> tuple[bytes, bytes]:
    """The bytes before the key and behind it, in an entry that holds this name and nothing else."""
    value = bytes((_VALUE_TAG, len(name.encode()))) + name.encode()
    size = 2 + len(_KEY) + len(value)
    if size > _MOST_BYTES:
        raise ValueError(f"{name!r} is too long for the name of a file of weights")
    return bytes((_ENTRY, size, _KEY_TAG, len(_KEY))), value
