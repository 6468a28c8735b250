"""Files to score, and what became of them."""

import csv
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from models.files.formats import read_records
from models.files.rows import Record
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.files.counts import Counts
from service.files.job import ScoringJob
from service.files.scoring import score_file
from service.files.target import Target
from service.outcomes.columns import WantedColumns


def texts_of_many_lengths(count: int) -> list[str]:
    generator = random.Random(0)
    words = ["good", "bad", "great", "awful", "fine", "boring", "the", "film", "é", "漢字", "👩‍🚀", "un", "happy"]
    return [" ".join(generator.choices(words, k=generator.randint(1, 60))) for _ in range(count)]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    if path.name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    with gzip.open(path, "wt", newline="") if path.name.endswith(".gz") else path.open("w", newline="") as file:
        if ".csv" in path.name:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    rows = list(read_records(path))
    assert all(isinstance(row, Record) for row in rows)
    return [dict(row.values) for row in rows if isinstance(row, Record)]


def run(predictor: Predictor, source: Path, target: Path, **changes: Any) -> Counts:
    options = Options(explain=changes.pop("explain", None), certify=changes.pop("certify", None))
    beside = {name: changes.pop(name) for name in ("scores", "min_confidence") if name in changes}
    wanted = WantedColumns(options=options, **beside)
    job = ScoringJob(
        sources=[str(source)],
        target=Target(str(target)),
        wanted=wanted,
        **{"columns": {}, "overwrite": False, **changes},
    )
    return score_file(predictor, job, lambda *_: None)
