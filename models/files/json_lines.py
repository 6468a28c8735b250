"""Reads and writes JSON lines, one object a line, and JSON documents: an array of objects, or objects in a row."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.files.labelled.spacy_json import is_pair, read_pair
from models.files.opening import DataFile
from models.files.rows import BadRecord, Block, DamagedFile, Record, RecordBlock, in_blocks, is_unicode, show_bytes
from models.files.spelling import as_json
from models.files.text import opened_text

LONGEST_VALUE = 100_000_000
"""Most characters of an object in a JSON document; without a limit, a damaged one would fill the memory."""

_PIECE = 1 << 20
_SPACE = " \t\r\n"
# Possessive: a search that could go back would keep its way through a long text in memory.
_TEXT_OR_CONSTANT = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?(?:NaN|Infinity)')


def read(file: DataFile) -> Iterator[RecordBlock]:
    """Read the records of a file of JSON; raises RecordsError.

    It is taken for a document if its first line opens an array, or is nothing but the brace that opens an object.
    """
    with opened_text(file) as text:
        first = next((line for line in text if line.strip()), "").strip()
    is_document = first.startswith("[") or first == "{"
    with opened_text(file) as text:
        yield from in_blocks(_read_document(file, text) if is_document else _read_lines(text))


def _read_lines(text: io.TextIOWrapper) -> Iterator[tuple[Record | BadRecord, int]]:
    number = 0
    for place, line in enumerate(text, start=1):
        raw = line.strip()
        if raw:
            number += 1
            yield _read_object(raw, number, place), len(line)


def _read_object(raw: str, number: int, line: int) -> Record | BadRecord:
    if not is_unicode(raw):
        at = len(raw[: next(place for place, sign in enumerate(raw) if "\ud800" <= sign <= "\udfff")].encode())
        return BadRecord(number, f"not UTF-8 at byte {at} (line {line})", line, {}, show_bytes(raw))
    try:
        values = json.loads(raw, object_pairs_hook=_as_object)
    except (ValueError, RecursionError) as error:
        return BadRecord(number, f"not JSON: {error} (line {line})", line, {}, raw)
    return _check(values, raw, number, line)


def _check(values: Any, raw: str, number: int, line: int) -> Record | BadRecord:
    if is_pair(values):
        values, raw = read_pair(values), ""
    if not isinstance(values, dict):
        reason = f"not a JSON object but a {type(values).__name__} (line {line})"
        return BadRecord(number, reason, line, {}, raw)
    if "\\ud" in raw.lower() and not _is_sound(values):
        reason = f"not Unicode: half of a surrogate pair (line {line})"
        kept = {name: value for name, value in values.items() if _is_sound({name: value})}
        return BadRecord(number, reason, line, kept, raw)
    return Record(number, values, line, raw)


def _is_sound(values: dict[str, Any]) -> bool:
    """Whether no text in the values has half of a surrogate pair."""
    return is_unicode(json.dumps(values, ensure_ascii=False))


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names {twice!r} twice")
    return values


class _Document:
    """The text of a document, read piece by piece."""

    def __init__(self, file: DataFile, text: io.TextIOWrapper) -> None:
        self._file = file
        self._text = text
        self._held = ""
        self._at = 0
        self._has_ended = False
        self._decoder = json.JSONDecoder(object_pairs_hook=_as_object)
        self.line = 1

    def look(self) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            while self._at < len(self._held):
                sign = self._held[self._at]
                if sign not in _SPACE:
                    return sign
                self._pass(self._at + 1)
            if not self._read_more():
                return ""

    def take(self) -> None:
        """Go past the sign that `look` gave."""
        self._pass(self._at + 1)

    def take_value(self) -> tuple[Any, str]:
        """The next value, and how the file has it; raises DamagedFile."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
            except (ValueError, RecursionError) as error:
                # A value that is cut at the end of the piece looks wrong too.
                if len(self._held) - self._at > LONGEST_VALUE or not self._read_more():
                    raise self.damaged(f"not JSON: {error}") from error
                continue
            # A number may go on behind the end of the piece.
            if end == len(self._held) and self._read_more():
                continue
            raw = self._held[self._at : end]
            self._pass(end)
            return value, raw

    def damaged(self, reason: str) -> DamagedFile:
        """The error for a document that is wrong here."""
        return DamagedFile(f"{self._file.name}: line {self.line}: {reason}; a JSON file holds an array of objects")

    def _pass(self, end: int) -> None:
        self.line += self._held.count("\n", self._at, end)
        self._at = end

    def _read_more(self) -> bool:
        more = self._text.read(max(_PIECE, len(self._held) - self._at))
        self._held = self._held[self._at :] + more
        self._at = 0
        return bool(more)


def _read_document(file: DataFile, text: io.TextIOWrapper) -> Iterator[tuple[Record | BadRecord, int]]:
    document = _Document(file, text)
    is_array = document.look() == "["
    if is_array:
        document.take()
    number = 0
    while sign := document.look():
        if is_array and sign == "]":
            document.take()
            if document.look():
                raise document.damaged("something stands behind the end of the array")
            return
        if number and is_array:
            if sign != ",":
                raise document.damaged("a comma is missing between two objects")
            document.take()
            document.look()
        number += 1
        line = document.line
        value, raw = document.take_value()
        raw = raw.replace("\r", " ").replace("\n", " ")
        yield _check_document(value, raw, number, line), len(raw)
    if is_array:
        raise document.damaged("the array is not closed: the file is cut")


def _check_document(value: Any, raw: str, number: int, line: int) -> Record | BadRecord:
    if not is_unicode(raw):
        return BadRecord(number, f"not UTF-8 (line {line})", line, {}, show_bytes(raw))
    return _check(value, raw, number, line)


class JsonWriter:
    """Writes records as objects of JSON, one a line; as an array, where that is wanted."""

    def __init__(self, file: io.TextIOBase, *, is_array: bool = False) -> None:
        """Begin the file."""
        self._file = file
        self._is_array = is_array
        self._is_first = True

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a block with the values that are added; what was JSON already stays as it was."""
        for record, values in zip(block.records(), added, strict=True):
            self._file.write(self._before() + _extend(record, values) + ("" if self._is_array else "\n"))

    def close(self) -> None:
        """End the file."""
        if self._is_array:
            self._file.write("[]\n" if self._is_first else "\n]\n")

    def _before(self) -> str:
        before = "" if not self._is_array else "[\n" if self._is_first else ",\n"
        self._is_first = False
        return before


def _extend(record: Record | BadRecord, added: Mapping[str, Any]) -> str:
    """The record with further values. Its own JSON is kept to the letter: numbers may have more digits than here."""
    if isinstance(record, Record) and record.raw:
        tail = as_json(dict(added))
        head = _without_constants(record.raw)[:-1].rstrip()
        return f"{head}{', ' if record.values and added else ''}{tail[1:]}"
    return as_json({**record.values, **added})


def _without_constants(raw: str) -> str:
    """JSON that could be read, with null for the numbers that Python's reader knows and JSON does not."""
    if "NaN" not in raw and "Infinity" not in raw:
        return raw
    return _TEXT_OR_CONSTANT.sub(lambda found: found[0] if found[0].startswith('"') else "null", raw)
