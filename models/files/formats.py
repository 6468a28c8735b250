"""The kinds of data files, found by name: for each how it is read, surveyed and written.

Libraries that only some kinds need are loaded when a file of that kind is opened.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from models.errors import UserError
from models.files import delimited, json_lines, plain
from models.files.labelled import column_files
from models.files.opening import PACKINGS, DataFile, Dialect, pack
from models.files.rows import BadRecord, Block, Record, RecordBlock, RecordsError

if TYPE_CHECKING:
    import pyarrow as pa

Records = Iterator[Record | BadRecord]


class MissingLibrary(UserError):
    """A library that only some kinds of files need, and that is not installed."""


@dataclass(frozen=True)
class Survey:
    """The number of records of a file, bad ones too, and its columns."""

    records: int
    columns: tuple[str, ...]
    schema: "pa.Schema | None" = None
    """The types of the columns, where the file has them or they were asked for."""


@dataclass(frozen=True)
class OutputColumns:
    """The columns of an output: those kept of the input, and those added."""

    kept: tuple[str, ...]
    added: tuple[str, ...]
    schemas: "Callable[[], tuple[pa.Schema, pa.Schema]]"
    """Gives the types of both, for kinds of files that have types."""


class Writer(Protocol):
    """Writes blocks of records in order."""

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a block with the values that are added to each."""

    def close(self) -> None:
        """Write what is left, and the end of the file."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of file."""

    endings: tuple[str, ...]
    read: Callable[[DataFile, Sequence[str] | None], Iterator[Block]]
    """Reads a file; only the given columns, where that saves work."""
    survey: Callable[[DataFile, bool], Survey]
    """Surveys a file, with the types of its columns if the second argument is true."""
    write: Callable[[BinaryIO, OutputColumns], Writer] | None
    """Begins a file; None where the kind cannot hold answers."""
    is_text: bool = True
    """Whether it is text, which may be packed; else it has types and needs pyarrow."""


def stem_of(name: str) -> str | None:
    """The name of a file without its ending, or None where the ending is that of no kind."""
    path = PurePosixPath(name)
    if path.suffix.lower() in PACKINGS:
        path = path.with_suffix("")
    ending = path.suffix.lower()
    return path.stem if any(ending in known.endings for known in FORMATS.values()) else None


def find_format(name: str, kind: str | None = None) -> Format:
    """The format of a file by its name, or by the name of the format; raises RecordsError, MissingLibrary."""
    found = FORMATS[find_kind(name, kind)]
    if not found.is_text:
        _need_pyarrow(name)
    return found


def find_kind(name: str, kind: str | None = None) -> str:
    """The name of the format of a file, by the file's name where `kind` does not say it; raises RecordsError."""
    if kind is not None:
        if kind not in FORMATS:
            raise RecordsError(f"{kind}: not a known kind of file; choose one of: {', '.join(FORMATS)}")
        return kind
    path = PurePosixPath(name.lower())
    is_packed = path.suffix in PACKINGS
    ending = PurePosixPath(path.stem).suffix if is_packed else path.suffix
    for found, known in FORMATS.items():
        if ending in known.endings and (known.is_text or not is_packed):
            return found
    raise RecordsError(f"{name}: not a known kind of file; name it {ENDINGS}")


def _need_pyarrow(name: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingLibrary(
            f"{name}: parquet and Arrow need pyarrow; run pip install -e '.[files]' in a clone, or use csv or jsonl"
        ) from error


def read_blocks(file: DataFile, columns: Sequence[str] | None = None) -> Iterator[Block]:
    """Read the records of a file in blocks; only the given columns, where that saves work.

    Raises:
        RecordsError: the file is missing, of an unknown kind, or damaged as a whole.
        DamagedFile: it is damaged from some place on; what stands before that is given first.
    """
    file.check()
    return find_format(file.name, file.kind).read(file, columns)


def read_records(path: Path, dialect: Dialect | None = None) -> Records:
    """Read every record of a file of this machine, in order; raises as `read_blocks` does."""
    blocks = read_blocks(DataFile.local(path, dialect))
    return (record for block in blocks for record in block.records())


def survey(file: DataFile, *, typed: bool = False) -> Survey:
    """Count the records of a file and find its columns; reads it to the end, unless its end says all.

    Raises:
        RecordsError: it cannot be read as records.
    """
    file.check()
    return find_format(file.name, file.kind).survey(file, typed)


@contextmanager
def opened_writer(path: Path, name: str, kind: str | None, columns: OutputColumns) -> Iterator[Writer]:
    """Write a file at `path` of the kind that `name` or `kind` says, packed where `name` says so."""
    begin = find_format(name, kind).write
    if begin is None:
        raise RecordsError(f"{name}: files of that kind have no place for answers; name it .csv, .jsonl or .parquet")
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("wb"))
        packed = pack(file, PACKINGS.get(PurePosixPath(name).suffix.lower()))
        writer = begin(file if packed is file else stack.enter_context(packed), columns)
        try:
            yield writer
        except BaseException:
            # Libraries end what nobody has ended when they throw it away, into a file that is closed by then, and
            # complain of that. Why this file has no use is said already.
            with suppress(Exception):
                writer.close()
            raise
        writer.close()


def _survey_csv(file: DataFile, typed: bool) -> Survey:
    names = delimited.read_header(file)
    return Survey(sum(map(len, delimited.read(file))), tuple(names), _as_texts(names) if typed else None)


def _survey_plain(file: DataFile, typed: bool) -> Survey:
    names = (plain.COLUMN,)
    return Survey(sum(map(len, plain.read(file))), names, _as_texts(names) if typed else None)


def _survey_columns(file: DataFile, typed: bool) -> Survey:
    names = column_files.COLUMNS
    return Survey(sum(map(len, column_files.read(file))), names, _as_lists(names) if typed else None)


def _survey_json(file: DataFile, typed: bool) -> Survey:
    count = 0
    names: dict[str, Any] = {}
    for block in json_lines.read(file):
        count += len(block)
        if typed:
            _join_kinds(names, block)
        else:
            names.update(dict.fromkeys(name for record in block.rows for name in record.values))
    return Survey(count, tuple(names), _as_schema(names) if typed else None)


def _join_kinds(known: dict[str, "pa.DataType"], block: RecordBlock) -> None:
    from models.files.batches import join_kinds, kinds_of

    for name, kind in kinds_of(block).items():
        known[name] = join_kinds(known[name], kind) if name in known else kind


def _as_schema(kinds: Mapping[str, "pa.DataType"]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema({name: pa.string() if pa.types.is_null(kind) else kind for name, kind in kinds.items()})


def _as_texts(names: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in names])


def _as_lists(names: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, pa.list_(pa.string())) for name in names])


def _text(file: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)


class _TextWriter:
    """Hands what a writer of text writes on to a file of bytes."""

    def __init__(self, file: BinaryIO, begin: Callable[[io.TextIOWrapper], Writer]) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._writer = begin(self._text)

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        self._writer.write(block, added)

    def close(self) -> None:
        self._writer.close()
        self._text.detach()


def _write_csv(delimiter: str) -> Callable[[BinaryIO, OutputColumns], Writer]:
    return lambda file, columns: _TextWriter(
        file, lambda text: delimited.CsvWriter(text, (*columns.kept, *columns.added), delimiter)
    )


def _write_json(*, is_array: bool) -> Callable[[BinaryIO, OutputColumns], Writer]:
    return lambda file, _: _TextWriter(file, lambda text: json_lines.JsonWriter(text, is_array=is_array))


def _read_parquet(file: DataFile, columns: Sequence[str] | None) -> Iterator[Block]:
    from models.files import columnar

    return columnar.read_parquet(file, columns)


def _survey_parquet(file: DataFile, _: bool) -> Survey:
    from models.files import columnar

    records, schema = columnar.survey_parquet(file)
    return Survey(records, tuple(schema.names), schema)


def _write_parquet(file: BinaryIO, columns: OutputColumns) -> Writer:
    from models.files import columnar

    return columnar.ParquetWriter(file, *columns.schemas())


def _read_arrow(file: DataFile, columns: Sequence[str] | None) -> Iterator[Block]:
    from models.files import columnar

    return columnar.read_arrow(file, columns)


def _survey_arrow(file: DataFile, _: bool) -> Survey:
    from models.files import columnar

    records, schema = columnar.survey_arrow(file)
    return Survey(records, tuple(schema.names), schema)


def _write_arrow(file: BinaryIO, columns: OutputColumns) -> Writer:
    from models.files import columnar

    return columnar.ArrowWriter(file, *columns.schemas())


def _without_columns(read: Callable[[DataFile], Iterator[Block]]) -> Callable[..., Iterator[Block]]:
    """Text is read whole: its columns cannot be taken apart without."""
    return lambda file, _: read(file)


def _or_column_file(read: Callable[..., Iterator[Block]]) -> Callable[..., Iterator[Block]]:
    """Read a file as a column file where its first lines are words with tags, and else as its name says."""
    return lambda file, columns: column_files.read(file) if column_files.is_column_file(file) else read(file, columns)


def _or_column_file_survey(survey: Callable[[DataFile, bool], Survey]) -> Callable[[DataFile, bool], Survey]:
    return lambda file, typed: (_survey_columns if column_files.is_column_file(file) else survey)(file, typed)


FORMATS: Mapping[str, Format] = {
    "csv": Format(endings=(".csv",), read=_without_columns(delimited.read), survey=_survey_csv, write=_write_csv(",")),
    "tsv": Format(
        endings=(".tsv", ".tab"),
        read=_or_column_file(_without_columns(delimited.read)),
        survey=_or_column_file_survey(_survey_csv),
        write=_write_csv("\t"),
    ),
    "jsonl": Format(
        endings=(".jsonl", ".ndjson"),
        read=_without_columns(json_lines.read),
        survey=_survey_json,
        write=_write_json(is_array=False),
    ),
    "json": Format(
        endings=(".json",),
        read=_without_columns(json_lines.read),
        survey=_survey_json,
        write=_write_json(is_array=True),
    ),
    "txt": Format(
        endings=(".txt", ".text"),
        read=_or_column_file(_without_columns(plain.read)),
        survey=_or_column_file_survey(_survey_plain),
        write=None,
    ),
    "conll": Format(
        endings=(".conll", ".bio", ".iob", ".iob2", ".bioes"),
        read=_without_columns(column_files.read),
        survey=_survey_columns,
        write=None,
    ),
    "parquet": Format(
        endings=(".parquet", ".pq"),
        read=_read_parquet,
        survey=_survey_parquet,
        write=_write_parquet,
        is_text=False,
    ),
    "arrow": Format(
        endings=(".arrow", ".feather", ".ipc"),
        read=_read_arrow,
        survey=_survey_arrow,
        write=_write_arrow,
        is_text=False,
    ),
}
"""The kinds of files by name. Another kind is another entry here, and a module that reads and writes it."""

ENDINGS = ".csv, .tsv, .jsonl, .json, .txt, .conll (all also .gz or .zst), .parquet or .arrow"
