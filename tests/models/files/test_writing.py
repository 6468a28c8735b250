"""Files written and read back: nothing of a text is lost in any kind of file, and columns of Arrow stay as they are."""

import gc
import json
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.arrow_tables import every_type, same_bits
from models.files.formats import OutputColumns, opened_writer, read_blocks, read_records, survey
from models.files.opening import DataFile
from models.files.rows import Record, RecordBlock, RecordsError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text(
    ",\"'\r\n\t\x00 é漢👩‍🚀a=;|\\", max_size=20
)
ENDINGS = ["csv", "tsv", "csv.gz", "jsonl", "JSONL.zst", "json", "parquet", "arrow"]


def write_records(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> None:
    """Write rows whose columns are all added ones."""
    schemas = (pa.schema([]), pa.schema(dict(columns)))
    with opened_writer(path, path.name, None, OutputColumns((), tuple(columns), lambda: schemas)) as writer:
        writer.write(RecordBlock(1, [Record(number, {}) for number in range(len(rows))]), rows)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_texts_read_back_as_they_were_written(ending: str, rows: list[tuple[str, str]]) -> None:
    columns = {"a": pa.string(), "b": pa.string()}
    written = [dict(zip(columns, row, strict=True)) for row in rows]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{ending}"
        write_records(path, written, columns)
        assert list(read_records(path)) == [Record(number, row) for number, row in enumerate(written, start=1)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_without_rows_keeps_what_it_can(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    write_records(path, [], {"a": pa.string()})
    surveyed = survey(DataFile.local(path))
    assert surveyed.records == 0
    assert list(surveyed.columns) == ([] if "json" in ending.lower() else ["a"])


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        (['{"x": 1}', '{"x": 2}'], {"x": "int64"}),
        (['{"x": 1}', '{"x": 2.5}'], {"x": "double"}),
        (['{"x": 1}', '{"x": "a"}'], {"x": "string"}),
        (['{"x": true}', '{"x": 1}'], {"x": "string"}),
        (['{"x": [1]}'], {"x": "string"}),
        (['{"x": {}}'], {"x": "string"}),
        (['{"x": 100000000000000000000}'], {"x": "string"}),
        (['{"x": null}'], {"x": "string"}),
        (['{"x": null}', '{"x": 1}'], {"x": "int64"}),
        (['{"a": 1}', "bad", '{"b": "x", "a": 2}'], {"a": "int64", "b": "string"}),
    ],
)
@pytest.mark.parametrize("apart", [0, 2_000], ids=["near", "far"])
def test_the_kind_of_a_column_holds_all_its_values(
    tmp_path: Path, lines: list[str], kinds: dict[str, str], apart: int
) -> None:
    # Far apart, the lines lie in batches of their own, whose kinds are joined.
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(line + "\n" + "{}\n" * apart for line in lines))
    surveyed = survey(DataFile.local(path), typed=True)
    assert surveyed.records == len(lines) * (1 + apart)
    assert surveyed.schema is not None
    assert {field.name: str(field.type) for field in surveyed.schema} == kinds


PLAIN = {
    date(2020, 1, 2): "2020-01-02",
    datetime(2020, 1, 2, 3, 4, 5): "2020-01-02 03:04:05",
    time(3, 4): "03:04:00",
    Decimal("1.50"): "1.50",
    UUID(int=1): "00000000-0000-0000-0000-000000000001",
    b"\xff": "/w==",
}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(("value", "written"), PLAIN.items(), ids=str)
def test_what_json_does_not_know_is_written_plainly_and_bytes_in_base64(
    tmp_path: Path, value: Any, written: str, ending: str
) -> None:
    path = tmp_path / f"rows.{ending}"
    write_records(path, [{"x": value}], {"x": pa.string()})
    assert list(read_records(path)) == [Record(1, {"x": written})]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_missing_number_inside_a_list_is_null(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    write_records(path, [{"x": [1.5, {"y": float("nan"), "z": b"a"}]}], {"x": pa.string()})
    (row,) = read_records(path)
    assert isinstance(row, Record)
    value = row.values["x"]
    assert (value if ending == "jsonl" else json.loads(value)) == [1.5, {"y": None, "z": "YQ=="}]


def test_whole_numbers_among_others_are_written_however_large(tmp_path: Path) -> None:
    write_records(tmp_path / "rows.parquet", [{"x": 2**60 + 1}, {"x": 0.5}], {"x": pa.float64()})
    assert [row.values for row in read_records(tmp_path / "rows.parquet") if isinstance(row, Record)] == [
        {"x": float(2**60)},
        {"x": 0.5},
    ]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columns_of_arrow_are_copied_to_the_bit(tmp_path: Path, ending: str) -> None:
    table = every_type(500)
    source = tmp_path / f"in.{ending}"
    (parquet.write_table if ending == "parquet" else feather.write_feather)(table, source)
    file = DataFile.local(source)
    found = survey(file)
    schemas = (found.schema, pa.schema({"label": pa.string()}))
    target = tmp_path / f"out.{ending}"
    columns = OutputColumns(found.columns, ("label",), lambda: schemas)
    with opened_writer(target, target.name, None, columns) as writer:
        for block in read_blocks(file):
            writer.write(block.cut(0, 100), [{"label": "x"}] * 100)
            writer.write(block.cut(100, len(block)), [{"label": "y"}] * (len(block) - 100))
    read = parquet.read_table if ending == "parquet" else feather.read_table
    before, after = read(source), read(target)
    assert after.drop_columns(["label"]).schema.equals(before.schema, check_metadata=True)
    for name in before.column_names:
        assert same_bits(after[name], before[name]), name


def test_json_lines_keep_their_numbers_to_the_letter(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890.5 }\n{}\n')
    columns = OutputColumns(("a", "b", "c"), ("label",), lambda: (pa.schema([]), pa.schema([])))
    with opened_writer(target, target.name, None, columns) as writer:
        for block in read_blocks(DataFile.local(source)):
            writer.write(block, [{"label": "x"}] * len(block))
    assert target.read_text() == (
        '{"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890.5, "label": "x"}\n{"label": "x"}\n'
    )


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_json_is_written_without_numbers_that_json_does_not_have(tmp_path: Path, ending: str) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    source.write_text(r'{"a": NaN, "b": [-Infinity, 1.10, "NaN"], "c": "say \"NaN", "Infinity": Infinity}' + "\n")
    with opened_writer(
        target, target.name, None, OutputColumns((), (), lambda: (pa.schema([]), pa.schema([])))
    ) as writer:
        for block in read_blocks(DataFile.local(source)):
            writer.write(block, [{"label": "x"}] * len(block))
    assert (
        r'{"a": null, "b": [null, 1.10, "NaN"], "c": "say \"NaN", "Infinity": null, "label": "x"}' in target.read_text()
    )


def test_a_long_text_that_speaks_of_infinity_needs_little_memory(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"text": 'Infinity "quoted" ' * 50_000, "score": float("nan")}) + "\n")
    columns = OutputColumns((), (), lambda: (pa.schema([]), pa.schema([])))
    with opened_writer(target, target.name, None, columns) as writer:
        for block in read_blocks(DataFile.local(source)):
            tracemalloc.start()
            writer.write(block, [{"label": "x"}])
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    # A few copies of the record; a search that could go back in each character takes 90 bytes for it.
    assert most < 10 * source.stat().st_size
    assert json.loads(target.read_text())["score"] is None


def test_plain_text_has_no_place_for_answers(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"out\.txt: files of that kind have no place for answers; name it \.csv"):
        write_records(tmp_path / "out.txt", [], {})


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_dictionaries_that_differ_between_groups_of_rows_are_one_column(tmp_path: Path, ending: str) -> None:
    groups: list[list[str | None]] = [["a", None, "b"], ["b", "c", "c"], ["a", "d", None]]
    tables = [pa.table({"x": pa.array(group).dictionary_encode()}) for group in groups]
    with parquet.ParquetWriter(tmp_path / "in.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    file, target = DataFile.local(tmp_path / "in.parquet"), tmp_path / f"out.{ending}"
    kind = survey(file).schema
    columns = OutputColumns(("x",), (), lambda: (kind, pa.schema([])))
    with opened_writer(target, target.name, None, columns) as opened:
        for block in read_blocks(file):
            for place in range(len(block)):
                opened.write(block.cut(place, place + 1), [{}])
    written = (parquet.read_table if ending == "parquet" else feather.read_table)(target)
    assert written.schema == tables[0].schema
    assert written["x"].to_pylist() == [one for group in groups for one in group]


def test_a_column_that_parquet_cannot_hold_is_one_sentence(tmp_path: Path) -> None:
    months = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    with pytest.raises(RecordsError, match=r"a column cannot be written to parquet .*; choose another kind of output"):
        write_records(tmp_path / "out.parquet", [{"x": None}], {"x": months.type})


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out.csv", "out.jsonl.gz"])
def test_a_file_that_is_given_up_says_nothing_later(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    path = tmp_path / name
    columns = OutputColumns((), ("label",), lambda: (pa.schema([]), pa.schema([("label", pa.string())])))
    with pytest.raises(KeyboardInterrupt), opened_writer(path, name, None, columns):
        raise KeyboardInterrupt
    gc.collect()
    assert said == []
