"""Reads column files, such as those of CoNLL-2003: a word a line with its tag, and a blank line after each sentence.

The first column is the word and the last one the tag. Columns are parted by tabs where a line has one, else by spaces.
Lines that begin with `-DOCSTART-` and comments are left out.
"""

import io
import re
from collections.abc import Iterator, Sequence

from models.files.opening import DataFile
from models.files.rows import BadRecord, Record, RecordBlock, RecordsError, in_blocks, is_unicode, show_bytes
from models.files.text import opened_text

COLUMNS = ("tokens", "tags")
"""The columns of a record, which is a sentence: its words, and a tag for each."""

MOST_LINES = 100_000
"""Most lines of a sentence; without a limit, a file without blank lines would fill the memory."""

_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#(?:\s|$)")
_TAG = re.compile(r"O|[BIESLU]-\S+")
_GAP = re.compile(r"[ \t]+")
_LOOKED_AT = 200

_Line = tuple[int, list[str]]
"""A line of a sentence: its number in the file, counted from 1, and its cells."""


def read(file: DataFile) -> Iterator[RecordBlock]:
    """Read a record for each sentence; raises RecordsError."""
    with opened_text(file) as text:
        yield from in_blocks(_read(file, text))


def is_column_file(file: DataFile) -> bool:
    """Whether each of the first lines ends in a tag, so that a text or table by its name is a column file by content.

    All have as many cells: a text has lines of many lengths. One word at least must be outside of entities: then no
    table has a first line with names. What was said to be a file of another kind is none.
    """
    if file.kind is not None:
        return False
    with opened_text(file) as text:
        lines = [line for line, _ in zip(text, range(_LOOKED_AT), strict=False)]
    rows = [cells for line in lines if (cells := _cells(line)) and not _is_apart(line)]
    tags = [cells[-1] for cells in rows]
    is_even = len({len(cells) for cells in rows}) == 1 and len(rows[0]) > 1
    return len(rows) > 1 and is_even and "O" in tags and all(map(_TAG.fullmatch, tags))


def _read(file: DataFile, text: io.TextIOWrapper) -> Iterator[tuple[Record | BadRecord, int]]:
    number = 1
    for sentence in _sentences(file, text):
        yield _make(sentence, number), sum(len(cell) for _, cells in sentence for cell in cells)
        number += 1


def _sentences(file: DataFile, text: io.TextIOWrapper) -> Iterator[list[_Line]]:
    sentence: list[_Line] = []
    for number, line in enumerate(text, start=1):
        cells = _cells(line)
        if cells and not (_is_apart(line) if not sentence else line.startswith(_DOCUMENT)):
            sentence.append((number, cells))
            if len(sentence) > MOST_LINES:
                raise RecordsError(
                    f"{file.name}: {MOST_LINES:,} lines from line {sentence[0][0]} on are one sentence; a blank line "
                    "stands after each sentence of a column file"
                )
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    if not line.strip():
        return []
    return line.split("\t") if "\t" in line else _GAP.split(line.strip(" "))


def _is_apart(line: str) -> bool:
    """Whether a line is no word of a sentence but begins a document, or is a comment before a sentence."""
    return line.startswith(_DOCUMENT) or (bool(_COMMENT.match(line)) and not _TAG.fullmatch(_cells(line)[-1]))


def _make(sentence: Sequence[_Line], number: int) -> Record | BadRecord:
    first = sentence[0][0]
    tokens = [cells[0].strip() for _, cells in sentence]
    tags = [cells[-1].strip() for _, cells in sentence]
    values = dict(zip(COLUMNS, (list(map(show_bytes, tokens)), list(map(show_bytes, tags))), strict=True))
    if reason := _find_fault(sentence, tokens, tags):
        return BadRecord(number, reason, first, values)
    return Record(number, values, first)


def _find_fault(sentence: Sequence[_Line], tokens: Sequence[str], tags: Sequence[str]) -> str | None:
    """The reason why the lines are no sentence with tags; None where they are one."""
    for (line, cells), token, tag in zip(sentence, tokens, tags, strict=True):
        if not (is_unicode(token) and is_unicode(tag)):
            return f"not UTF-8 (line {line}); save the file as UTF-8"
        if len(cells) < 2 or not token or not tag:
            return f"line {line} holds no word with a tag behind it, but {' '.join(cells)!r:.80}"
    if any(tokens == [str(place) for place in range(begin, begin + len(tokens))] for begin in (0, 1)) and (
        len(tokens) > 1 or len(sentence[0][1]) > 2
    ):
        return f"the first column counts the words (line {sentence[0][0]}); it must hold the word, and the last the tag"
    return None
