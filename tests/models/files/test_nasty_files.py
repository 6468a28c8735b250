"""Files as nobody should write them: every record is read or refused, none vanishes, and only sentences are raised."""

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import UserError
from models.files.formats import read_records, survey
from models.files.opening import DataFile, Dialect
from models.files.rows import BadRecord, Record

MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\x00", "é".encode(), "é".encode("latin-1"), "漢".encode("utf-16"))
PIECES = (b'"', b'""', b",", b";", b"\t", b"\n", b"\r\n", b"\r", b"a", b"1", b"sep=;\n", b" ", b"a,b\n", b"1,2\n")
JSON_PIECES = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\r\n", b" ", b"\\", b"{\n", b"[\n")
JSON_VALUES = (
    b'{"a": 1}',
    b'{"a": "x\\ud800"}',
    b"null",
    b"NaN",
    b'{"a": 1, "a": 2}',
    b"1e999",
    b'"a"',
    b'{"a": [{}]}\n',
)


def content_of(*pieces: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=30).map(b"".join)


def read(path: Path, dialect: Dialect) -> list[Record | BadRecord] | None:
    """The records, or None where the whole file is refused by a sentence."""
    try:
        records = list(read_records(path, dialect))
        surveyed = survey(DataFile.local(path, dialect), typed=True)
    except UserError as error:
        said = str(error)
    else:
        assert surveyed.records == len(records)
        assert [record.number for record in records] == list(range(1, len(records) + 1))
        return records
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return None


@settings(deadline=None, max_examples=400)
@given(
    content=st.lists(st.sampled_from([*PIECES, *MARKS, b'"x\ny",2\n']), max_size=30).map(b"".join), skips=st.booleans()
)
@example(content=b'a\n"\r', skips=True)
@example(content=b"\xff\xfe", skips=False)
def test_any_csv_is_read_or_refused(content: bytes, skips: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(content)
        read(path, Dialect(skips_open_quotes=skips))


@settings(deadline=None, max_examples=400)
@given(
    content=content_of(*JSON_PIECES, *JSON_VALUES, *MARKS),
    name=st.sampled_from(["in.jsonl", "in.json"]),
)
def test_any_json_is_read_or_refused(content: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        read(path, Dialect())


CELLS = st.text(st.sampled_from('ab é漢,"\n\r;'), max_size=8)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=12),
    torn=st.dictionaries(st.integers(0, 11), st.sampled_from(["open", "short", "long", "latin"]), max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_torn_lines_among_good_ones_cost_themselves_alone(
    rows: list[tuple[str, str]], torn: dict[int, str], end: str
) -> None:
    if "open" in torn.values():
        # A value of several lines looks like others, once a quote before it was never closed.
        rows = [(one.translate(ONE_LINE), other.translate(ONE_LINE)) for one, other in rows]
    sink, expected = [b"n,text,note" + end.encode()], []
    for number, row in enumerate(rows):
        kind = torn.get(number)
        if kind is None:
            sink.append(line_of([str(number), *row], end))
            expected.append({"n": str(number), "text": row[0], "note": row[1]})
        else:
            sink.append(TORN[kind].replace(b"#", str(number).encode()) + end.encode())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(b"".join(sink))
        records = read(path, Dialect(skips_open_quotes=True))
    assert records is not None
    assert [record.values for record in records if isinstance(record, Record)] == expected
    assert len(records) == len(rows)


ONE_LINE = str.maketrans("\r\n", "  ")
TORN = {"open": b'#,"open', "short": b"#,short", "long": b"#,too,long,by one", "latin": b"#,caf\xe9,x"}


def line_of(cells: list[str], end: str) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator=end, quoting=csv.QUOTE_ALL).writerow(cells)
    return sink.getvalue().encode()


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.json"])
def test_a_value_of_ten_million_characters_is_read(tmp_path: Path, name: str) -> None:
    long = 'x"\n,' * 2_500_000
    rows = [{"text": "a"}, {"text": long}, {"text": "b"}]
    path = tmp_path / name
    if name == "in.csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    elif name == "in.json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [record.values for record in read_records(path) if isinstance(record, Record)] == rows
