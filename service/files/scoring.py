"""Answers for every record of a file, computed on the same path as over HTTP.

All cores stay busy, memory stays flat, and a stopped run loses nothing. There are three passes. The first counts
records and columns. The second computes outcomes, which are kept beside the output. The third writes the records of
the input with their outcomes; the output gets its name only when it is complete.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from export.package import file_digest
from models.errors import UserError, first_mistake
from models.folders import check_writable
from models.records import BadRecord, Record, UnknownColumn, file_format, find_column, read_records
from models.tables import format_count
from models.tasks.task import Item, read_item
from service.answers.certifying import find_certified
from service.answers.predictor import Predictor
from service.files.partial import PartialOutput
from service.files.tables import survey, write_records
from service.outcomes.answering import Failure, answer_each
from service.outcomes.columns import ERROR, WantedColumns, column_types, free_names
from service.outcomes.outcome import Outcome


class OutputError(UserError):
    """The output cannot be written under the name that was given."""


class InputChanged(UserError):
    """The input has changed since the run began."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The file to score, the file to write, and how."""

    source: Path
    target: Path
    columns: Mapping[str, str]
    """The column that holds each field of an item. For a field that is not given, the usual column names are tried."""
    wanted: WantedColumns
    overwrite: bool

    def __post_init__(self) -> None:
        file_format(self.target)
        check_writable(self.target, "-o")
        if self.target.exists() and self.target.samefile(self.source):
            raise OutputError(f"{self.target}: is the input; choose another name with -o")
        if self.target.exists() and not self.overwrite:
            raise OutputError(f"{self.target}: exists already; choose another name with -o, or pass --overwrite")

    @property
    def partial(self) -> Path:
        """The folder that keeps the outcomes so far."""
        return self.target.with_name(self.target.name + ".partial")


@dataclass
class ScoringSummary:
    """The outcome of a run: the number of records, and of those without an answer."""

    records: int
    kept: int
    """Records that an earlier run had scored; they are among `records`."""
    without_answer: int = 0
    error_column: str = ERROR

    @property
    def is_fruitless(self) -> bool:
        """Whether there were records, and not one has an answer."""
        return 0 < self.records == self.without_answer

    def __str__(self) -> str:
        kept = f", {self.kept:,} of them by an earlier run" if self.kept else ""
        bad = f"; {self.without_answer:,} without an answer, see the column {self.error_column!r}"
        return f"{format_count(self.records, 'record')}{kept}{bad if self.without_answer else ''}"


ReportRecords = Callable[[int, int], None]
"""Takes the number of records that are done and their total; the first call counts those of an earlier run."""


def score_file(predictor: Predictor, job: ScoringJob, progress: ReportRecords) -> ScoringSummary:
    """Write `job.target`: all records and columns of the source in their order, and the columns of the predictions.

    Raises:
        NotOffered, CertificateNotOffered, NoConfidence, RecordsError, UnknownColumn, PartialError: before anything is
            computed.
        InputChanged: the source changed during the run.
    """
    options = job.wanted.options
    if options.explain:
        predictor.choose(options.explain)
    if options.certify:
        find_certified(options.certify)
    manifest = predictor.package.manifest
    types = column_types(predictor.task, manifest.labels, job.wanted, has_corrections=manifest.correction is not None)
    records, columns = survey(job.source)
    texts = _find_texts(predictor, job, tuple(columns))
    identity = _identify(predictor, job, texts)
    with PartialOutput(job.partial, identity, discard_other=job.overwrite) as partial:
        summary = ScoringSummary(records, kept=partial.records)
        progress(partial.records, records)
        missing = islice(read_records(job.source), partial.records, None)
        items = (_read(predictor, record, texts) for record in missing)
        for answered in answer_each(predictor, items, options):
            partial.add(Outcome.of(answered, job.wanted).as_json())
            progress(partial.records, records)
    names = free_names(list(types), set(columns))
    summary.error_column = names[ERROR]
    all_columns = {**columns, **{names[name]: kind for name, kind in types.items()}}

    def write(path: Path) -> None:
        write_records(path, _merge(job, partial, names, summary), all_columns)
        if file_digest(job.source) != identity["source"]:
            raise InputChanged(
                f"{job.source}: was written to while it was read; run the command again with --overwrite"
            )

    partial.complete(write, job.target)
    return summary


def _identify(predictor: Predictor, job: ScoringJob, texts: Mapping[str, str]) -> dict[str, Any]:
    """The things on which outcomes depend, so that those of another run are not mixed in."""
    return {
        "format": 4,
        "source": file_digest(job.source),
        "package": predictor.name.digest,
        "texts": texts,
        "options": job.wanted.options.model_dump(mode="json"),
        "scores": job.wanted.scores,
        "min_confidence": job.wanted.min_confidence,
    }


def _find_texts(predictor: Predictor, job: ScoringJob, available: tuple[str, ...]) -> dict[str, str]:
    """The column that holds each field of an item; raises UnknownColumn."""
    task = predictor.task
    for field in job.columns:
        if field not in task.columns:
            raise UnknownColumn(f"{task.name} has no {field}; its inputs have: {', '.join(task.columns)}")
    found = {}
    for field, known_as in task.columns.items():
        try:
            found[field] = find_column(available, known_as, job.columns.get(field))
        except UnknownColumn as error:
            raise UnknownColumn(f"{job.source}: {error}; name it with --{field.replace('_', '-')}-column") from error
    return found


def _read(predictor: Predictor, record: Record | BadRecord, texts: Mapping[str, str]) -> Item | Failure:
    """The item that a record holds, or the reason why it holds none."""
    if isinstance(record, BadRecord):
        return Failure("unreadable_record", record.reason)
    try:
        item: Item = read_item(
            predictor.task.item, {field: record.values.get(column) for field, column in texts.items()}
        )
    except ValidationError as error:
        return Failure("validation", str(first_mistake(error)))
    return item


def _merge(
    job: ScoringJob, partial: PartialOutput, names: Mapping[str, str], summary: ScoringSummary
) -> Iterator[dict[str, Any]]:
    # The lengths differ only where the source has changed, which is checked when everything is written.
    for record, stored in zip(read_records(job.source), partial.predictions(), strict=False):
        outcome = Outcome.from_json(stored)
        summary.without_answer += not outcome.is_answered
        values = record.values if isinstance(record, Record) else {}
        yield {**values, **{free: outcome.columns.get(name) for name, free in names.items()}}
