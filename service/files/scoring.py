"""Answers for every record of a file, computed on the same path as over HTTP.

All cores stay busy, memory stays flat, and a stopped run loses nothing. There are three passes. The first counts
records and columns. The second computes predictions, which are kept beside the output. The third writes the records of
the input with their predictions; the output gets its name only when it is complete.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from models.tasks.task import read_item
from service.answers.answers import PendingAnswers
from service.answers.certifying import find_certified
from service.answers.contract import Options
from service.answers.errors import BrokenModel, ItemsRejected, UnknownTarget
from service.answers.predictor import Predictor
from service.files.columns import ERROR, as_columns, column_types, free_names
from service.files.partial import PartialOutput
from service.files.tables import survey, write_records

WINDOW_RECORDS = 2_048
"""Records under way at once. Among so many the engine finds rows of similar length for its batches."""

WINDOW_CERTIFIED = 32
"""Records under way at once where edits of each are tried, because these are many rows."""

WINDOW_TOKENS = 262_144
"""Tokens of the records under way, which bound memory when texts are long."""


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
    options: Options
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
        """The folder that keeps the predictions so far."""
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
        NotOffered, CertificateNotOffered, RecordsError, UnknownColumn, PartialError: before anything is computed.
        InputChanged: the source changed during the run.
    """
    if job.options.explain:
        predictor.choose(job.options.explain)
    if job.options.certify:
        find_certified(job.options.certify)
    records, columns = survey(job.source)
    texts = _find_texts(predictor, job, tuple(columns))
    identity = {
        "format": 3,
        "source": file_digest(job.source),
        "package": predictor.name.digest,
        "texts": texts,
        "options": job.options.model_dump(mode="json"),
    }
    with PartialOutput(job.partial, identity, discard_other=job.overwrite) as partial:
        summary = ScoringSummary(records, kept=partial.records)
        progress(partial.records, records)
        missing = islice(read_records(job.source), partial.records, None)
        for prediction in _predict(predictor, missing, texts, job.options):
            partial.add(prediction)
            progress(partial.records, records)
    manifest = predictor.package.manifest
    types = column_types(predictor.task, manifest.labels, job.options, has_corrections=manifest.correction is not None)
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


def _predict(
    predictor: Predictor, records: Iterable[Record | BadRecord], texts: Mapping[str, str], options: Options
) -> Iterator[dict[str, Any]]:
    """The prediction for each record, in the order of the records; several thousand records are under way at once."""
    window: deque[PendingAnswers | str] = deque()
    most = WINDOW_CERTIFIED if options.certify else WINDOW_RECORDS
    tokens = 0
    for record in records:
        window.append(_start(predictor, record, texts, options))
        tokens += _tokens(window[-1])
        while len(window) >= most or tokens > WINDOW_TOKENS:
            tokens -= _tokens(window[0])
            yield _finish(window.popleft())
    for started in window:
        yield _finish(started)


def _start(
    predictor: Predictor, record: Record | BadRecord, texts: Mapping[str, str], options: Options
) -> PendingAnswers | str:
    """The answer to a record, still to come; or the reason why there will be none."""
    if isinstance(record, BadRecord):
        return record.reason
    try:
        item = read_item(predictor.task.item, {field: record.values.get(column) for field, column in texts.items()})
    except ValidationError as error:
        return str(first_mistake(error))
    try:
        return predictor.submit([item], options)
    except ItemsRejected as error:
        return str(error.rejected[0])
    except UnknownTarget as error:
        return str(error)


def _tokens(started: PendingAnswers | str) -> int:
    return 0 if isinstance(started, str) else started.tokens


def _finish(started: PendingAnswers | str) -> dict[str, Any]:
    if isinstance(started, str):
        return {ERROR: started}
    try:
        answers = started.result()
    except BrokenModel as error:
        return {ERROR: str(error)}
    (result,) = answers.results
    withheld = [str(one.reason) for one in answers.unexplained] + [str(one.reason) for one in answers.uncertified]
    return as_columns(result) | ({ERROR: "; ".join(withheld)} if withheld else {})


def _merge(
    job: ScoringJob, partial: PartialOutput, names: Mapping[str, str], summary: ScoringSummary
) -> Iterator[dict[str, Any]]:
    # The lengths differ only where the source has changed, which is checked when everything is written.
    for record, prediction in zip(read_records(job.source), partial.predictions(), strict=False):
        # A record with an answer may have an error too, which says why it has no explanation or no certificate.
        summary.without_answer += prediction.keys() == {ERROR}
        values = record.values if isinstance(record, Record) else {}
        yield {**values, **{free: prediction.get(name) for name, free in names.items()}}
