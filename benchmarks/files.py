"""`steadfast score` over a wide parquet file of any size: is no record lost, and what does a record cost?

    python -m benchmarks.files --records 1000000 --folder FOLDER

It prints each claim with its verdict: the records and the columns that come out, memory, CPU time beside that of the
bare graph, and busy cores. In a folder that is named, a run that was stopped goes on where it was, and the time and the
memory of all its parts count. Without one, all is thrown away at the end.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import rich

from benchmarks.arrow_tables import every_type, same_bits
from benchmarks.bare import Bare, measure
from benchmarks.texts import make_mixed_texts
from benchmarks.watched import Run, score
from models.atomic import atomic_write
from models.cpu import cpu_flags, cpu_model
from models.errors import UserError
from models.machine import available_cores
from service.files.target import Target
from service.outcomes.answering import WINDOW_RECORDS

WORDS = (3, 225)
"""Fewest and most words of a text: 5 to about 300 tokens."""

PIECE = 10_000
"""Records that are made, and compared, at a time."""

SAMPLED = 16
"""The most pieces whose first texts the bare graph computes."""

FLAT = 0.05
"""The most that memory in the last tenth of the records may differ from that in the first."""

RAW = 1.08
"""The most CPU time that a record may take, of that which the bare graph takes for it."""

BUSY = 0.92
"""The least share of the cores that must be busy, from start to end."""


@dataclass(frozen=True)
class Claim:
    """A claim, and what was seen."""

    is_met: bool
    said: str

    def __str__(self) -> str:
        return f"  {'met' if self.is_met else 'NOT met':<7}  {self.said}"


def write_source(path: Path, records: int) -> None:
    """Write texts of mixed length among columns of every type."""
    writer = None
    for start in range(0, records, PIECE):
        rows = min(PIECE, records - start)
        texts = make_mixed_texts(rows, words=WORDS, seed=start)
        table = every_type(rows, seed=start).append_column("text", pa.array(texts))
        table = table.append_column("number", pa.array(range(start, start + rows)))
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def sample_texts(source: Path) -> list[str]:
    """The first texts of some pieces, from all over the file."""
    with parquet.ParquetFile(source) as opened:
        pieces = opened.num_row_groups
        chosen = sorted({place * pieces // min(SAMPLED, pieces) for place in range(min(SAMPLED, pieces))})
        tables = [opened.read_row_group(place, columns=["text"]) for place in chosen]
    return [text for table in tables for text in table["text"].slice(0, WINDOW_RECORDS).to_pylist()]


def differing_columns(source: Path, target: Path) -> set[str]:
    """The columns of the source that are not the same in the target, type, bits and metadata."""
    with parquet.ParquetFile(source) as one, parquet.ParquetFile(target) as other:
        names = one.schema_arrow.names
        if one.metadata.num_rows != other.metadata.num_rows:
            return set(names)
        wrong = {
            name for name in names if not other.schema_arrow.field(name).equals(one.schema_arrow.field(name), True)
        }
        for before, after in zip(_pieces(one), _pieces(other), strict=True):
            wrong |= {name for name in names if not same_bits(before[name], after[name])}
    return wrong


def _pieces(opened: parquet.ParquetFile) -> Iterator[pa.Table]:
    """The records in tables of equal length, whatever groups they lie in."""
    held: list[pa.RecordBatch] = []
    for batch in opened.iter_batches(PIECE):
        while batch.num_rows:
            room = PIECE - sum(one.num_rows for one in held)
            held.append(batch.slice(0, room))
            batch = batch.slice(room)
            if room <= held[-1].num_rows:
                yield pa.Table.from_batches(held)
                held = []
    if held:
        yield pa.Table.from_batches(held)


def report(package: Path, records: int, folder: Path) -> Iterator[str]:
    """The lines to print; the last says whether all is as it must be."""
    source, target, one = folder / f"{records}.parquet", folder / f"{records}.out.parquet", folder / "one.parquet"
    kept = folder / f"{records}.looks"
    if target.exists():
        # What is missing is said before anything is measured.
        Run.read(kept)
    yield f"{cpu_model()}, {' '.join(cpu_flags())}, {available_cores()} cores"
    for path, count in ((one, 1), (source, records)):
        if not path.exists():
            with atomic_write(path) as unfinished:
                write_source(unfinished, count)
    yield f"steadfast score, {records:,} records of {len(parquet.read_schema(source))} columns, {package}"
    texts = sample_texts(source)
    before = measure(package, texts)
    yield (
        f"  texts of {min(before.tokens)} to {max(before.tokens)} tokens, "
        f"{sum(before.tokens) / len(texts):.0f} on average; bare: {_cost(before)}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        score(package, one, Path(scratch) / "out.parquet", Path(scratch) / "looks")
        begun = Run.read(Path(scratch) / "looks")
    # A run that was complete need not be done again to look at it.
    said = "" if target.exists() else score(package, source, target, kept)
    run = Run.read(kept)
    yield f"  {records / run.wall_s:,.0f} records/s from start to end" if target.exists() else f"  it ended: {said}"
    after = measure(package, texts)
    yield f"  bare once more: {_cost(after)}"
    met = True
    for claim in claims(run, begun, (before, after), source, target):
        met = met and claim.is_met
        yield str(claim)
    yield "as it must be" if met else "NOT as it must be"


def _cost(bare: Bare) -> str:
    count = len(bare.tokens)
    return (
        f"{1e3 * bare.text_s:.3f} CPU-ms a record ({1e3 * bare.reading_s / count:.3f} to read it, "
        f"{1e3 * bare.graph_s / count:.3f} the graph)"
    )


def claims(run: Run, begun: Run, bare: tuple[Bare, Bare], source: Path, target: Path) -> Iterator[Claim]:
    """Each claim with its verdict; `begun` is a run over a single record, whose time is that of the start."""
    records = parquet.read_metadata(source).num_rows
    found = parquet.read_metadata(target).num_rows if target.exists() else 0
    record = Target(str(target)).record
    counts = json.loads(record.read_bytes())["counts"] if record.exists() else {}
    yield Claim(
        found == records and counts.get("answered") == records,
        f"no record lost: {records:,} in, {found:,} out, {counts.get('answered', 0):,} of them answered",
    )
    columns = set(parquet.read_schema(source).names)
    wrong = differing_columns(source, target) if target.exists() else columns
    yield Claim(
        not wrong,
        f"{len(columns - wrong)} of {len(columns)} columns of the input are equal to the bit"
        + (f"; not {', '.join(sorted(wrong))}" if wrong else ""),
    )
    yield _claim_memory(run)
    record_s = (run.cpu_s - begun.cpu_s) / max(1, records - 1)
    raw_s = sum(one.text_s for one in bare) / len(bare)
    yield Claim(
        record_s <= RAW * raw_s,
        f"CPU time a record: {1e3 * record_s:.3f} ms, {record_s / raw_s:.3f} x bare (at most {RAW})",
    )
    busy = run.cpu_s / run.wall_s / available_cores()
    yield Claim(busy >= BUSY, f"busy cores: {busy:.1%} of {available_cores()} from start to end (at least {BUSY:.0%})")


def _claim_memory(run: Run) -> Claim:
    # Nothing is computed yet at 0, where the package is opened.
    tenths = [run.mean_memory(max(place / 10, 1e-9), (place + 1) / 10) for place in range(10)]
    said = " ".join("-" if one is None else f"{one:.0f}" for one in tenths)
    most = max(one.memory_mb for one in run.looks)
    first, last = tenths[0], tenths[-1]
    if first is None or last is None:
        return Claim(False, f"memory: the run is too short to tell ({said} MB by tenths); ask for more --records")
    # All records are done while the output is written, which the shortest runs do between two looks.
    written = run.mean_memory(1.0, math.inf) or last
    return Claim(
        abs(last / first - 1) <= FLAT and written / first - 1 <= FLAT,
        f"memory: in the last tenth of the records {last / first:.3f} x that in the first (at most {FLAT:.0%} apart), "
        f"and {written / first:.3f} x while the output is written (at most {1 + FLAT:.2f}); "
        f"{said} MB by tenths, {most:.0f} MB at most",
    )


def main() -> None:
    """Print the lines as they come; ends with 1 where a claim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1] / "zoo" / "sentiment")
    parser.add_argument("--folder", type=Path, help="keeps the files of the run; it must exist")
    given = parser.parse_args()
    if given.folder is not None and not given.folder.is_dir():
        parser.error(f"--folder {given.folder}: no such folder; make it first")
    line = ""
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for line in report(given.package, given.records, folder):
                rich.get_console().print(line, soft_wrap=True, highlight=False)
        except UserError as error:
            sys.exit(str(error))
    sys.exit(line.startswith("NOT"))


if __name__ == "__main__":
    main()
