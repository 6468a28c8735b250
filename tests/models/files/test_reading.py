"""Rows of files: every kind read alike, bad rows reported, damaged files refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from backports import zstd

from models.files.delimited import OpenQuote
from models.files.formats import find_format, read_records, survey
from models.files.opening import DataFile, Dialect
from models.files.rows import (
    BadRecord,
    Record,
    RecordsError,
    UnknownColumn,
    find_column,
    look_up,
)

ROWS = [{"text": "good", "n": "1"}, {"text": 'a "quote",\nand é漢👩‍🚀', "n": "2"}]
CSV = 'text,n\ngood,1\n"a ""quote"",\nand é漢👩‍🚀",2\n'


def write(path: Path, content: bytes) -> Path:
    match path.suffix.lower():
        case ".gz":
            content = gzip.compress(content)
        case ".zst":
            content = zstd.compress(content)
    path.write_bytes(content)
    return path


def make(folder: Path, ending: str) -> Path:
    path = folder / f"rows.{ending}"
    table = pa.Table.from_pylist(ROWS)
    lines = [json.dumps(row) for row in ROWS]
    if ending == "parquet":
        parquet.write_table(table, path)
    elif ending in ("arrow", "feather"):
        feather.write_feather(table, path)
    elif ending.split(".")[0] == "json":
        write(path, f"[{', '.join(lines)}]".encode())
    else:
        write(path, (CSV if "csv" in ending.lower() else "\n".join(lines)).encode())
    return path


@pytest.mark.parametrize(
    "ending",
    [
        "csv",
        "csv.gz",
        "jsonl",
        "jsonl.gz",
        "ndjson",
        "json",
        "json.zst",
        "parquet",
        "arrow",
        "feather",
        "CSV",
        "CSV.GZ",
    ],
)
def test_every_kind_reads_alike(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path, ending)
    assert list(read_records(path)) == [Record(1, ROWS[0]), Record(2, ROWS[1])]
    surveyed = survey(DataFile.local(path), typed=True)
    assert (surveyed.records, surveyed.columns) == (2, ("text", "n"))
    assert surveyed.schema == pa.schema({"text": pa.string(), "n": pa.string()})


def test_bad_lines_of_json_are_reported_with_their_number(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b"{", b"\xff", b"[1]", b"", rb'{"a": "\ud800"}', b"[" * 100_000, b'{"a": 2}']
    rows = list(read_records(write(tmp_path / "rows.jsonl", b"\n".join(lines))))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.line for row in rows] == [1, 2, 3, 4, 6, 7, 8]
    assert [row.reason.split(":")[0] for row in rows if isinstance(row, BadRecord)] == [
        "not JSON",
        "not UTF-8 at byte 0 (line 3)",
        "not a JSON object but a list (line 4)",
        "not Unicode",
        "not JSON",
    ]


def test_a_whole_surrogate_pair_in_json_is_text(tmp_path: Path) -> None:
    (row,) = read_records(write(tmp_path / "rows.jsonl", rb'{"a": "\ud83d\ude00"}'))
    assert row == Record(1, {"a": "😀"})


def test_bad_lines_of_csv_are_reported_and_reading_goes_on(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n1\n1,2,3\n"x"y,2\n\xff,2\n3,4\n'
    rows = list(read_records(write(tmp_path / "rows.csv", content)))
    assert [isinstance(row, BadRecord) for row in rows] == [False, True, True, True, True, False]
    assert rows[-1] == Record(6, {"a": "3", "b": "4"})


def test_blank_lines_are_no_rows_and_count_as_lines(tmp_path: Path) -> None:
    for name, content in (("rows.csv", b"a\n1\n\n\r\n2\n\n"), ("rows.jsonl", b'\n{"a": "1"}\n\n\r\n{"a": "2"}\n')):
        one, two = read_records(write(tmp_path / name, content))
        assert isinstance(one, Record)
        assert isinstance(two, Record)
        assert (one.values, two.values) == ({"a": "1"}, {"a": "2"})
        assert two.number - one.number == 1
        assert (two.line or 0) - (one.line or 0) == 3


def test_an_empty_value_in_quotes_is_a_row_of_csv(tmp_path: Path) -> None:
    assert list(read_records(write(tmp_path / "rows.csv", b'a\n""\n'))) == [Record(1, {"a": ""})]


def test_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    for read in (lambda: list(read_records(path)), lambda: survey(DataFile.local(path))):
        with pytest.raises(RecordsError, match=r"rows\.parquet: names a column twice: 'a'"):
            read()


@pytest.mark.parametrize(
    ("kind", "far"),
    [(pa.date32(), 3_000_000), (pa.timestamp("s"), 2**38), (pa.timestamp("ns"), 1_000_000_001)],
    ids=str,
)
def test_a_time_that_python_cannot_hold_is_text(tmp_path: Path, kind: pa.DataType, far: int) -> None:
    width = pa.int32() if kind == pa.date32() else pa.int64()
    feather.write_feather(pa.table({"when": pa.array([0, far, None], width).cast(kind)}), tmp_path / "rows.arrow")
    _, second, third = read_records(tmp_path / "rows.arrow")
    assert isinstance(second, Record)
    assert third == Record(3, {"when": None})
    unit = "D" if kind == pa.date32() else kind.unit
    assert second.values["when"] == str(np.array(far).astype(f"datetime64[{unit}]")).replace("T", " ")


def test_a_time_that_nobody_can_write_is_a_number_with_its_unit(tmp_path: Path) -> None:
    times = pa.array([2**60, 5], pa.int64())
    table = pa.table({"when": times.cast(pa.timestamp("s")), "long": times.cast(pa.duration("ns"))})
    feather.write_feather(table, tmp_path / "rows.arrow")
    first, second = read_records(tmp_path / "rows.arrow")
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.values["when"], first.values["long"]) == (f"{2**60} s", f"{2**60} ns")
    assert second.values["long"] == "5 ns"


OPEN = [
    (b'a,b\n1,x\n2,"open\n3,y\n4,z\n', 3, [1, 3, 4]),
    (b'a,b\n1,x\n2,"open\n3,"good, or not"\n4,z\n', 3, [1, 3, 4]),
    (b'a,b\n1,"two\nlines"\n2,"two\nlines","open\n4,z\n', 5, [1, 4]),
    (b'a,b\n1,x\n2,"', 3, [1]),
]
"""Files with a quote that is never closed, the line in which it opens, and the records that can be read."""


@pytest.mark.parametrize(("content", "line", "good"), OPEN)
def test_a_quote_that_is_never_closed_is_an_error_that_names_its_line(
    tmp_path: Path, content: bytes, line: int, good: list[int]
) -> None:
    path = write(tmp_path / "rows.csv", content)
    for read in (lambda: list(read_records(path)), lambda: survey(DataFile.local(path))):
        with pytest.raises(OpenQuote, match=rf"rows\.csv: line {line}: a quote opens there .* --on-bad-lines skip"):
            read()
    rows = list(read_records(path, Dialect(skips_open_quotes=True)))
    assert [int(row.values["a"]) for row in rows if isinstance(row, Record)] == good
    (bad,) = (row for row in rows if isinstance(row, BadRecord))
    assert f"a quote opens in line {line}" in bad.reason
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))


def test_no_record_behind_an_open_quote_is_lost(tmp_path: Path) -> None:
    lines = [f"{number},the plot" for number in range(10_000)]
    lines[5] = '5,"the plot is fine'
    path = write(tmp_path / "rows.csv", "\n".join(["id,text", *lines]).encode())
    rows = list(read_records(path, Dialect(skips_open_quotes=True)))
    assert len(rows) == 10_000
    assert [row.number for row in rows if isinstance(row, BadRecord)] == [6]


def test_a_long_value_of_csv_is_read(tmp_path: Path) -> None:
    (row,) = read_records(write(tmp_path / "rows.csv", b"a\n" + b"x" * 300_000 + b"\n"))
    assert isinstance(row, Record)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert survey(DataFile.local(write(tmp_path / "rows.csv", "\ufefftext\n".encode()))).columns == ("text",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"", "empty; the first line of a csv file names its columns"),
        ("rows.csv", b"a,a\n", "names a column twice: 'a'"),
        ("rows.csv", "a,b\n".encode("utf-16-le"), "not UTF-8; save the file as UTF-8"),
        ("rows.csv", b'"a"b\n', "the first line is not csv"),
        ("rows.parquet", b"PAR1", "not a file of parquet that can be read"),
        ("rows.pdf", b"", "not a known kind of file; name it .csv, .tsv, .jsonl"),
        ("rows.json", b"[{}", "the array is not closed"),
        ("rows.json", b"[{}]\n{}", "line 2: something stands behind the end of the array"),
        ("rows.json", b"[{}\n{}]", "line 2: a comma is missing"),
        ("rows.json", b'[{"a": 1},\n{"a": }]', "line 2: not JSON"),
        ("rows.arrow", b"ARROW1", "not a file of Arrow that can be read"),
        ("rows.parquet.gz", b"", "not a known kind of file"),
        ("rows", b"", "not a known kind of file"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (lambda: list(read_records(path)), lambda: survey(DataFile.local(path))):
        with pytest.raises(RecordsError, match=f"{name}: .*{said}"):
            read()


@pytest.mark.parametrize("damage", ["cut", "changed", "no gzip"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(b"\n".join(b'{"a": %d}' % number for number in range(5_000)))
    content = {"cut": whole[:-30], "changed": whole[:500] + b"\x00" * 50 + whole[550:], "no gzip": b"a,b"}[damage]
    (tmp_path / "rows.jsonl.gz").write_bytes(content)
    with pytest.raises(RecordsError, match="damaged gzip file"):
        list(read_records(tmp_path / "rows.jsonl.gz"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such file"):
        list(read_records(tmp_path / "none.csv"))


def test_a_kind_is_told_by_the_name() -> None:
    assert [
        find_format(name).endings[0] for name in ("a.b.csv.gz", "x.JSONL.ZST", "p.parquet", "s3://b/c.Feather")
    ] == [
        ".csv",
        ".jsonl",
        ".parquet",
        ".arrow",
    ]


@pytest.mark.parametrize(
    "content",
    [b"id;text\n1;a, b\n", b"sep=;\r\nid;text\r\n1;a, b\r\n", b"id\ttext\n1\ta, b\n", b'"id"|"text"\n1|"a, b"\n'],
)
def test_the_delimiter_is_found_in_the_first_line(tmp_path: Path, content: bytes) -> None:
    assert list(read_records(write(tmp_path / "rows.csv", content))) == [Record(1, {"id": "1", "text": "a, b"})]


def test_the_delimiter_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", b"id#text;,\n1#a\n")
    assert list(read_records(path, Dialect(delimiter="#"))) == [Record(1, {"id": "1", "text;,": "a"})]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_texts_of_excel_are_read_by_their_mark_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    content = end.join(["id\ttext", "1\tgood é漢", '2\t"bad"', ""])
    rows = read_records(write(tmp_path / "rows.csv", content.encode(encoding)))
    assert list(rows) == [Record(1, {"id": "1", "text": "good é漢"}), Record(2, {"id": "2", "text": "bad"})]


def test_a_row_that_is_not_utf_8_keeps_its_columns_and_names_its_line(tmp_path: Path) -> None:
    _, bad = read_records(write(tmp_path / "rows.csv", "id,text\n1,good\n2,café\n".encode("latin-1")))
    assert isinstance(bad, BadRecord)
    assert bad.values == {"id": "2", "text": r"caf\xe9"}
    assert (bad.line, bad.raw) == (3, r"2,caf\xe9")
    assert bad.reason == "the column 'text' is not UTF-8 (line 3); save the file as UTF-8"


@pytest.mark.parametrize(("row", "kept"), [(b"2", {"id": "2"}), (b"2,a,b", {"id": "2", "text": "a"})])
def test_a_row_of_another_length_keeps_what_it_has(tmp_path: Path, row: bytes, kept: dict[str, str]) -> None:
    (bad,) = read_records(write(tmp_path / "rows.csv", b"id,text\n" + row + b"\n"))
    assert isinstance(bad, BadRecord)
    assert (bad.values, bad.raw) == (kept, row.decode())
    assert "line 2" in bad.reason


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('[{"a": 1},\n {"a": 2}]\n', [1, 2]),
        ('[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]', [2, 5]),
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', [1, 4]),
    ],
)
def test_json_is_read_however_it_is_laid_out(tmp_path: Path, name: str, content: str, lines: list[int]) -> None:
    rows = list(read_records(write(tmp_path / name, content.encode())))
    assert rows == [Record(1, {"a": 1}), Record(2, {"a": 2})]
    assert [row.line for row in rows] == lines


def test_values_longer_than_a_piece_of_a_document_are_whole(tmp_path: Path) -> None:
    texts = ["x" * 3_000_000, "y", "z" * 1_048_576]
    path = write(tmp_path / "rows.json", json.dumps([{"text": text} for text in texts], indent=1).encode())
    assert [row.values["text"] for row in read_records(path) if isinstance(row, Record)] == texts


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_file_of_json_may_be_empty(tmp_path: Path, name: str) -> None:
    assert list(read_records(write(tmp_path / name, b""))) == []


def test_an_object_that_names_a_value_twice_is_bad(tmp_path: Path) -> None:
    (bad,) = read_records(write(tmp_path / "rows.jsonl", b'{"a": 1, "a": 2}'))
    assert isinstance(bad, BadRecord)
    assert bad.reason == "not JSON: names 'a' twice (line 1)"


def test_every_line_of_plain_text_is_a_text(tmp_path: Path) -> None:
    rows = list(read_records(write(tmp_path / "rows.txt", b'good, really\r\n\n"bad\n\xff')))
    assert [row.values["text"] for row in rows] == ["good, really", "", '"bad', r"\xff"]
    assert [type(row) for row in rows] == [Record, Record, Record, BadRecord]


def test_dots_lead_into_nested_fields() -> None:
    assert look_up({"data": {"text": "good"}, "data.text": "bad"}, "data.text") == "bad"
    assert look_up({"data": {"text": "good"}}, "data.text") == "good"
    assert look_up({"data": ["good"]}, "data.text") is None


def test_a_column_is_found_by_choice_or_by_custom() -> None:
    assert find_column(["review", "sentence"], ("text", "sentence", "review")) == "sentence"
    assert find_column(["review", "sentence"], ("text",), "review") == "review"


@pytest.mark.parametrize("chosen", [None, "body"])
def test_a_column_that_is_not_there_lists_those_that_are(chosen: str | None) -> None:
    with pytest.raises(UnknownColumn, match=r"no column .*; there are: 'a', 'b'"):
        find_column(["a", "b"], ("text", "sentence"), chosen)
