"""Reads plain text, in which every line is a text, an empty one too."""

import io
from collections.abc import Iterator

from models.files.opening import DataFile
from models.files.rows import BadRecord, Record, RecordBlock, in_blocks, is_unicode, show_bytes
from models.files.text import opened_text

COLUMN = "text"
"""The name of the only column."""


def read(file: DataFile) -> Iterator[RecordBlock]:
    """Read a record for each line; raises RecordsError."""
    with opened_text(file) as text:
        yield from in_blocks(_read(text))


def _read(text: io.TextIOWrapper) -> Iterator[tuple[Record | BadRecord, int]]:
    for number, line in enumerate(text, start=1):
        value = line.removesuffix("\n").removesuffix("\r")
        if is_unicode(value):
            yield Record(number, {COLUMN: value}, number), len(line)
        else:
            shown = show_bytes(value)
            reason = f"not UTF-8 (line {number}); save the file as UTF-8"
            yield BadRecord(number, reason, number, {COLUMN: shown}, shown), len(line)
