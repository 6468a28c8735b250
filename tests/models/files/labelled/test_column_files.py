"""Column files: what is a sentence, what is none, and which files are column files whatever their name."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from models.files.formats import read_records, survey
from models.files.labelled import column_files
from models.files.opening import DataFile
from models.files.rows import BadRecord, Record, RecordsError


def _read(path: Path, content: bytes) -> list[Record | BadRecord]:
    path.write_bytes(content)
    return list(read_records(path))


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"Ann B-PER\nsang\n", 1, "line 2 holds no word with a tag behind it, but 'sang'"),
        (b"O O\n\n\tO\nsang\tO\n", 3, "line 3 holds no word with a tag behind it"),
        (b"Ann B-PER\nZo\xeb B-PER\n", 1, "not UTF-8 (line 2); save the file as UTF-8"),
        (b"0 Ann B-PER\n1 sang O\n", 1, "the first column counts the words (line 1)"),
        (b"1 Ann B-PER\n", 1, "the first column counts the words (line 1)"),
        (b"1 Ann B-PER\n2 sang O\n", 1, "the first column counts the words (line 1); it must hold the word"),
    ],
)
def test_a_sentence_that_cannot_be_read_is_one_bad_record(
    content: bytes, line: int, reason: str, tmp_path: Path
) -> None:
    *_, bad, good = _read(tmp_path / "a.conll", content + b"\nBo B-PER\n")
    assert isinstance(bad, BadRecord)
    assert (bad.line, reason in bad.reason) == (line, True)
    assert isinstance(good, Record)
    assert good.values == {"tokens": ["Bo"], "tags": ["B-PER"]}


def test_line_ends_marks_and_packing_are_those_of_all_text(tmp_path: Path) -> None:
    content = "\ufeff-DOCSTART- O\r\n\r\nNew\u00a0York B-LOC\r\nsang O\r\n \r\nBo B-PER".encode()
    (tmp_path / "a.bio.gz").write_bytes(gzip.compress(content))
    first, second = read_records(tmp_path / "a.bio.gz")
    assert (first.line, first.values) == (3, {"tokens": ["New\u00a0York", "sang"], "tags": ["B-LOC", "O"]})
    assert (second.number, second.values) == (2, {"tokens": ["Bo"], "tags": ["B-PER"]})


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("a.txt", "Ann B-PER\nsang O\n", True),
        ("a.tsv", "Ann\tB-PER\nsang\tO\n", True),
        ("a.tsv", "# id 7\nAnn\tB-PER\nsang\tO\n", True),
        ("a.tsv", "word\ttag\nAnn\tB-PER\nsang\tO\n", False),
        ("a.tsv", "text\tlabel\nAnn sang\t1\n", False),
        ("a.txt", "I take vitamin B-12\nNothing else\n", False),
        ("a.txt", "Ann sang O\n", False),
        ("a.txt", "The blood is O\nsend me an e-mail\n", False),
        ("a.txt", "The blood group is O\nHers is O\n", False),
        ("a.txt", "", False),
    ],
)
def test_a_text_or_table_whose_lines_all_end_in_tags_is_a_column_file(
    name: str, content: str, is_one: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    file = DataFile.local(tmp_path / name)
    assert column_files.is_column_file(file) is is_one
    if is_one:
        assert survey(file, typed=True).columns == ("tokens", "tags")
        assert [record.values for record in read_records(tmp_path / name)] == [
            {"tokens": ["Ann", "sang"], "tags": ["B-PER", "O"]}
        ]


def test_a_document_begins_a_sentence_without_a_blank_line(tmp_path: Path) -> None:
    records = _read(tmp_path / "a.conll", b"Ann B-PER\n-DOCSTART- O\nBo B-PER\n")
    assert [record.values["tokens"] for record in records] == [["Ann"], ["Bo"]]


def test_a_file_that_is_said_to_be_text_is_no_column_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ann B-PER\nsang O\n")
    file = DataFile.local(tmp_path / "a.txt")
    assert not column_files.is_column_file(replace(file, kind="txt"))


def test_a_file_without_blank_lines_does_not_fill_the_memory(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="100,000 lines from line 1 on are one sentence"):
        _read(tmp_path / "a.conll", b"a O\n" * 100_001)
