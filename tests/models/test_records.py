"""Rows of files: every kind read alike, bad rows reported, damaged files refused."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from models.records import (
    BadRecord,
    Record,
    RecordsError,
    UnknownColumn,
    column_names,
    count_records,
    file_format,
    find_column,
    read_records,
)

ROWS = [{"text": "good", "n": "1"}, {"text": 'a "quote",\nand é漢👩‍🚀', "n": "2"}]
CSV = 'text,n\ngood,1\n"a ""quote"",\nand é漢👩‍🚀",2\n'


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def make(folder: Path, ending: str) -> Path:
    path = folder / f"rows.{ending}"
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    return write(path, (CSV if "csv" in ending.lower() else lines).encode())


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "CSV"])
def test_every_kind_reads_alike(tmp_path: Path, ending: str) -> None:
    assert list(read_records(make(tmp_path, ending))) == [Record(1, ROWS[0]), Record(2, ROWS[1])]


@pytest.mark.parametrize(("ending", "names"), [("csv", ("text", "n")), ("parquet", ("text", "n")), ("jsonl", None)])
def test_the_columns_are_known_where_the_file_names_them(
    tmp_path: Path, ending: str, names: tuple[str, ...] | None
) -> None:
    assert column_names(make(tmp_path, ending)) == names


@pytest.mark.parametrize(("ending", "count"), [("parquet", 2), ("csv", None), ("jsonl", None)])
def test_the_count_is_known_where_the_file_says_so(tmp_path: Path, ending: str, count: int | None) -> None:
    assert count_records(make(tmp_path, ending)) == count


def test_bad_lines_of_json_are_reported_with_their_number(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b"{", b"\xff", b"[1]", b"", rb'{"a": "\ud800"}', b"[" * 100_000, b'{"a": 2}']
    rows = list(read_records(write(tmp_path / "rows.jsonl", b"\n".join(lines))))
    assert [row.number for row in rows] == [1, 2, 3, 4, 6, 7, 8]
    assert [row.reason.split(":")[0] for row in rows if isinstance(row, BadRecord)] == [
        "not JSON",
        "not UTF-8 at byte 0",
        "not a JSON object but a list",
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
        assert two.number - one.number == 3


def test_an_empty_value_in_quotes_is_a_row_of_csv(tmp_path: Path) -> None:
    assert list(read_records(write(tmp_path / "rows.csv", b'a\n""\n'))) == [Record(1, {"a": ""})]


def test_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    for read in (lambda: list(read_records(path)), lambda: column_names(path)):
        with pytest.raises(RecordsError, match=r"rows\.parquet: names a column twice: a, a"):
            read()


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("s")], ids=str)
def test_a_date_that_python_cannot_hold_is_one_bad_row(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = pa.array([0, -(2**31), 1], pa.int32())
    dates = numbers.cast(kind) if kind == pa.date32() else pa.array([0, -(2**40), 1], pa.int64()).cast(kind)
    parquet.write_table(pa.table({"n": [1, 2, 3], "when": dates}), tmp_path / "rows.parquet")
    rows = list(read_records(tmp_path / "rows.parquet"))
    assert [(type(row), row.number) for row in rows] == [(Record, 1), (BadRecord, 2), (Record, 3)]


def test_a_quote_that_is_never_closed_is_one_bad_row(tmp_path: Path) -> None:
    rows = list(read_records(write(tmp_path / "rows.csv", b'a\n1\n"open\n2\n')))
    assert rows[0] == Record(1, {"a": "1"})
    assert [type(row) for row in rows[1:]] == [BadRecord]


def test_a_long_value_of_csv_is_read(tmp_path: Path) -> None:
    (row,) = read_records(write(tmp_path / "rows.csv", b"a\n" + b"x" * 300_000 + b"\n"))
    assert isinstance(row, Record)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert column_names(write(tmp_path / "rows.csv", "\ufefftext\n".encode())) == ("text",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"", "empty; the first line of a csv file names its columns"),
        ("rows.csv", b"a,a\n", "names a column twice: a, a"),
        ("rows.csv", "a,b\n".encode("utf-16"), "not UTF-8; save the file as UTF-8"),
        ("rows.csv", b'"a"b\n', "the first line is not csv"),
        ("rows.parquet", b"PAR1", "not a parquet file that can be read"),
        ("rows.txt", b"", "not a known kind of file; name it .csv, .jsonl"),
        ("rows.parquet.gz", b"", "not a known kind of file"),
        ("rows", b"", "not a known kind of file"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (lambda: list(read_records(path)), lambda: column_names(path)):
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
        read_records(tmp_path / "none.csv")


def test_a_kind_is_told_by_the_name() -> None:
    assert [file_format(Path(name)) for name in ("a.b.csv.gz", "x.JSONL", "p.parquet")] == ["csv", "jsonl", "parquet"]


def test_a_column_is_found_by_choice_or_by_custom() -> None:
    assert find_column(["review", "sentence"], ("text", "sentence", "review")) == "sentence"
    assert find_column(["review", "sentence"], ("text",), "review") == "review"


@pytest.mark.parametrize("chosen", [None, "body"])
def test_a_column_that_is_not_there_lists_those_that_are(chosen: str | None) -> None:
    with pytest.raises(UnknownColumn, match=r"no column .*; there are: 'a', 'b'"):
        find_column(["a", "b"], ("text", "sentence"), chosen)
