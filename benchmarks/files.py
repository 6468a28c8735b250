"""`steadfast score` over a wide parquet file of any size: is memory flat, and does every column come out to the bit?

python -m benchmarks.files --records 1000000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as parquet
import rich

from benchmarks.arrow_tables import every_type, same_bits
from benchmarks.texts import make_mixed_texts

WORDS = (3, 225)
"""Fewest and most words of a text: 5 to about 300 tokens."""

PIECE = 10_000
"""Records that are made, and compared, at a time."""

FLAT = 1.05
"""The most that memory in the last tenth of the records may be of that in the first."""


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    code: int
    wall_s: float
    cpu_s: float
    memory: tuple[tuple[float, float], ...]
    """The share of the records that were done, and the resident memory in MB at that time."""
    said: str

    def mean_memory(self, start: float, stop: float) -> float:
        """The mean of the memory while this share of the records was computed."""
        seen = [memory for share, memory in self.memory if start <= share < stop]
        return float(np.mean(seen))


def write_source(path: Path, records: int) -> None:
    """Write texts of mixed length among columns of every type."""
    writer = None
    for start in range(0, records, PIECE):
        rows = min(PIECE, records - start)
        texts = make_mixed_texts(rows, words=WORDS)
        table = every_type(rows, seed=start).append_column("text", pa.array(texts))
        table = table.append_column("number", pa.array(range(start, start + rows)))
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def score(package: Path, source: Path, target: Path) -> Run:
    """Run the command and watch it."""
    command = [sys.executable, "-m", "service.cli", "score", "sentiment", str(source), "-o", str(target)]
    began = time.perf_counter()
    done = [0.0]
    told: list[str] = []
    memory: list[tuple[float, float]] = []
    cpu_s = 0.0
    words = [*command, "--package", str(package), "--progress", "json"]
    with psutil.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        listening = threading.Thread(target=_listen, args=(process.stderr, done, told))
        listening.start()
        while process.poll() is None:
            try:
                memory.append((done[0], process.memory_info().rss / 1e6))
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                break
            cpu_s = times.user + times.system
            time.sleep(0.2)
        listening.join()
    counts = next((line for line in told if " answered, " in line), told[-1] if told else "")
    return Run(process.wait(), time.perf_counter() - began, cpu_s, tuple(memory), counts)


def _listen(stream: Iterator[str], done: list[float], told: list[str]) -> None:
    for line in stream:
        if line.startswith("{"):
            standing = json.loads(line)
            done[0] = standing["done"] / max(1, standing["total"])
        else:
            told.append(line.strip())


def differing_columns(source: Path, target: Path) -> set[str]:
    """The columns of the source that are not the same in the target, a missing record among them."""
    with parquet.ParquetFile(source) as one, parquet.ParquetFile(target) as other:
        names = one.schema_arrow.names
        if one.metadata.num_rows != other.metadata.num_rows:
            return {"a record is missing", *names}
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


def report(package: Path, records: int) -> Iterator[str]:
    """The lines to print; the last says whether all is as it must be."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.parquet", Path(name) / "out.parquet"
        write_source(source, records)
        columns = len(parquet.read_schema(source).names)
        yield f"steadfast score, {records:,} records of {columns} columns, {WORDS[0]} to {WORDS[1]} words a text"
        run = score(package, source, target)
        yield f"  {run.said}; exit code {run.code}"
        yield f"  {records / run.wall_s:,.0f} records/s from start to end, {run.cpu_s / run.wall_s:.2f} cores busy"
        tenths = [run.mean_memory(max(place / 10, 0.001), (place + 1) / 10) for place in range(10)]
        first, last = tenths[0], tenths[-1]
        yield f"  memory by tenths of the records, in MB: {' '.join(f'{one:.0f}' for one in tenths)}"
        most = max(memory for _, memory in run.memory)
        yield f"  memory: {first:.0f} MB in the first tenth, in the last {last / first:.3f} x, {most:.0f} MB at most"
        wrong = differing_columns(source, target) if run.code == 0 else {"there is no output"}
        yield f"  columns that differ: {', '.join(sorted(wrong)) or 'none'}"
        good = not wrong and last / first <= FLAT and run.said.startswith(f"{records:,} record")
        yield (
            "  as it must be" if good else f"  NOT as it must be: no column differs, and memory grows {FLAT} x at most"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1] / "zoo" / "sentiment")
    given = parser.parse_args()
    lines = list(report(given.package, given.records))
    for line in lines:
        rich.get_console().print(line, soft_wrap=True, highlight=False)
    sys.exit("NOT" in lines[-1])
