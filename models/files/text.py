"""The text of a file in lines, decoded by its byte order mark, with the line ends that it has."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager

from models.files.opening import DataFile
from models.files.rows import DamagedFile

_LOOK_BYTES = 65_536

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@contextmanager
def opened_text(file: DataFile) -> Iterator[io.TextIOWrapper]:
    """The text of a file, which is read in lines with their ends.

    Lines end in a newline; where the beginning of the file has none, in a carriage return. The text is UTF-16 where a
    byte order mark says so, and else UTF-8. A byte that is neither becomes half of a surrogate pair.

    Raises:
        DamagedFile: it cannot be read, unpacked or decoded; also from the block that reads it.
    """
    with file.opened() as raw:
        head = raw.read(_LOOK_BYTES)
        raw.seek(0)
        encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        start = head.decode(encoding, "replace")
        newline = "\r" if "\r" in start and "\n" not in start else "\n"
        try:
            yield io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline=newline)
        except UnicodeError as error:
            # Only in UTF-16: there a bad byte is not of one line alone.
            raise DamagedFile(f"{file.name}: not {encoding.upper()}, as its byte order mark says ({error})") from error
