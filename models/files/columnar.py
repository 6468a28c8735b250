"""Reads and writes parquet and Arrow files (feather too), whose columns are copied to the bit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet

from models.files.batches import ArrowBlock, as_batch, make_batch
from models.files.opening import DataFile
from models.files.rows import BLOCK_RECORDS, Block, DamagedFile, RecordsError, check_unique, root_of

BLOCK_BYTES = 8_000_000
"""The size of a block for whose sake it takes fewer records, where these are wide."""

GROUP_BYTES = 16_000_000
"""The size from which on a group of rows is written to a parquet file."""

_READ_BYTES = 1_000_000
_ARROW_MAGIC = b"ARROW1"


def read_parquet(file: DataFile, columns: Sequence[str] | None = None) -> Iterator[ArrowBlock]:
    """Read the records of a parquet file, or only some columns of them; dots lead into nested fields."""
    with _opened_parquet(file) as opened:
        rows = min(BLOCK_RECORDS, _rows_in(BLOCK_BYTES, opened.metadata))
        number = 1
        for batch in opened.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            yield ArrowBlock(number, batch)
            number += batch.num_rows


def survey_parquet(file: DataFile) -> tuple[int, pa.Schema]:
    """The number of records and the columns; only the end of the file is read."""
    with _opened_parquet(file) as opened:
        return opened.metadata.num_rows, opened.schema_arrow


def read_arrow(file: DataFile, columns: Sequence[str] | None = None) -> Iterator[ArrowBlock]:
    """Read the records of an Arrow file or stream, or only some columns of them."""
    number = 1
    with _opened_arrow(file) as batches:
        for batch in batches:
            if columns is not None:
                batch = batch.select(list(dict.fromkeys(root_of(batch.schema.names, name) for name in columns)))
            for start in range(0, batch.num_rows, BLOCK_RECORDS):
                piece = batch.slice(start, BLOCK_RECORDS)
                yield ArrowBlock(number, piece)
                number += piece.num_rows


def survey_arrow(file: DataFile) -> tuple[int, pa.Schema]:
    """The number of records and the columns."""
    with _opened_arrow(file) as batches:
        schema = batches.schema
        return sum(batch.num_rows for batch in batches), schema


class _Batches:
    """The batches of an Arrow file or stream, one in memory at a time."""

    def __init__(self, opened: BinaryIO) -> None:
        is_file = opened.read(len(_ARROW_MAGIC)) == _ARROW_MAGIC
        opened.seek(0)
        self._reader = ipc.open_file(opened) if is_file else ipc.open_stream(opened)
        self._is_file = is_file
        self.schema: pa.Schema = self._reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if not self._is_file:
            yield from self._reader
        else:
            for place in range(self._reader.num_record_batches):
                yield self._reader.get_batch(place)


@contextmanager
def _opened_parquet(file: DataFile) -> Iterator[parquet.ParquetFile]:
    with (
        _readable(file, "parquet"),
        file.opened() as raw,
        parquet.ParquetFile(raw, buffer_size=_READ_BYTES, pre_buffer=False) as opened,
    ):
        check_unique(file.name, opened.schema_arrow.names)
        yield opened


@contextmanager
def _opened_arrow(file: DataFile) -> Iterator[_Batches]:
    with _readable(file, "Arrow"), file.opened() as raw:
        batches = _Batches(raw)
        check_unique(file.name, batches.schema.names)
        yield batches


@contextmanager
def _readable(file: DataFile, kind: str) -> Iterator[None]:
    try:
        yield
    except DamagedFile as error:
        # pyarrow raises OSError for what is damaged, too.
        raise DamagedFile(f"{file.name}: not a file of {kind} that can be read ({error.__cause__ or error})") from error
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, pa.ArrowException):
            raise DamagedFile(f"{file.name}: not a file of {kind} that can be read ({error})") from error
        raise


def _rows_in(size: int, metadata: parquet.FileMetaData) -> int:
    """The number of rows of about so many bytes; at least one."""
    whole = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    return max(1, size * metadata.num_rows // whole) if whole else BLOCK_RECORDS


class ParquetWriter:
    """Writes records as a parquet file."""

    def __init__(self, file: BinaryIO, kept: pa.Schema, added: pa.Schema) -> None:
        """Begin the file; `kept` are the columns of blocks, `added` those of the values beside them."""
        self._kept, self._added = kept, added
        self._schema = join_schemas(kept, added)
        with _writable("parquet"):
            self._writer = parquet.ParquetWriter(file, self._schema)
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a block with the values that are added."""
        self._held.append(join_batches(block, added, self._kept, self._added, self._schema))
        self._bytes += self._held[-1].nbytes
        if self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        try:
            self._flush()
            self._writer.close()
        finally:
            # Where the disk is full, pyarrow would try once more when it throws the writer away, and print a traceback.
            self._writer.is_open = False

    def _flush(self) -> None:
        if self._held:
            with _writable("parquet"):
                self._writer.write_table(pa.Table.from_batches(self._held, schema=self._schema))
        self._held, self._bytes = [], 0


class ArrowWriter:
    """Writes records as an Arrow file."""

    def __init__(self, file: BinaryIO, kept: pa.Schema, added: pa.Schema) -> None:
        """Begin the file; `kept` are the columns of blocks, `added` those of the values beside them."""
        self._kept, self._added = kept, added
        self._schema = join_schemas(kept, added)
        options = ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        with _writable("Arrow"):
            self._writer = ipc.new_file(file, self._schema, options=options)
        self._dictionaries: dict[str, pa.Array] = {}

    def write(self, block: Block, added: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a block with the values that are added."""
        batch = join_batches(block, added, self._kept, self._added, self._schema)
        with _writable("Arrow"):
            arrays = [self._with_one_dictionary(*pair) for pair in zip(self._schema.names, batch.columns, strict=True)]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

    def _with_one_dictionary(self, name: str, column: pa.Array) -> pa.Array:
        """The column, where it has a dictionary with the one of all columns before it, to which its own is added.

        A file of Arrow cannot take another dictionary for each batch, as parquet has for each group of rows.
        """
        if not pa.types.is_dictionary(column.type):
            return column
        known = self._dictionaries.setdefault(name, column.dictionary)
        if column.dictionary.equals(known):
            return column
        unseen = column.dictionary.filter(compute.invert(compute.is_in(column.dictionary, value_set=known)))
        known = self._dictionaries[name] = pa.concat_arrays([known, unseen])
        places = compute.index_in(column.dictionary, value_set=known).take(column.indices)
        indices = places.cast(column.type.index_type)
        return pa.DictionaryArray.from_arrays(indices, known, ordered=column.type.ordered)


@contextmanager
def _writable(kind: str) -> Iterator[None]:
    """Say in a sentence that a kind of file cannot hold a column."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise RecordsError(f"a column cannot be written to {kind} ({error}); choose another kind of output") from error


def join_schemas(kept: pa.Schema, added: pa.Schema) -> pa.Schema:
    """The columns of both, with what is known about the kept ones."""
    return pa.schema([*kept, *added], metadata=kept.metadata)


def join_batches(
    block: Block, added: Sequence[Mapping[str, Any]], kept: pa.Schema, further: pa.Schema, schema: pa.Schema
) -> pa.RecordBatch:
    """The records of a block beside the values that are added."""
    arrays = [*as_batch(block, kept).columns, *make_batch(added, further).columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
