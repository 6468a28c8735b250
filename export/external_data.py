"""Finds out whether a graph keeps weights in other files, which ONNX calls external data.

No digest of the graph covers such a file, and it may lie anywhere: where a package is copied without it, or it is
changed, the same graph answers something else. No export writes one.
"""

import mmap
from pathlib import Path

_KEY = b"location"
"""The entry that names the file: every tensor with external data has one (`TensorProto.external_data`)."""
_LENGTHS = (0x08, 0x00)
"""The last byte of a length of 8 in protobuf, which stands before the text: 8, or 0 where it is written longer."""


def holds_external_data(graph: Path) -> bool:
    """Whether a graph in an ONNX file may have weights in other files.

    The file is searched, not parsed, so that serving needs no package for it. A tensor or node that is called
    `location`, and nothing more, counts as well.
    """
    if not graph.stat().st_size:
        return False
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_KEY)
        while at > 0 and content[at - 1] not in _LENGTHS:
            at = content.find(_KEY, at + 1)
        return at > 0
