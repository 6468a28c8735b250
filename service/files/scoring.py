"""Answers for every record of a file, computed on the same path as over HTTP.

All cores stay busy, memory stays flat, and a stopped run loses nothing. There are three passes. The first counts
records and columns. The second computes outcomes, which are kept beside the output. The third writes the records of
the input with their outcomes; the output gets its name only when it is complete.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from export.package import file_digest
from models.errors import UserError, first_mistake
from models.files.formats import OutputColumns, find_format, opened_writer
from models.files.opening import DataFile, Dialect
from models.files.rows import BadRecord, Block, Record, RecordsError, look_up
from models.folders import check_writable
from models.tasks.task import Item, read_item
from service.answers.certifying import find_certified
from service.answers.predictor import Predictor
from service.files.counts import Counts
from service.files.partial import PartialOutput
from service.files.selection import Selection
from service.files.source import InputChanged, Source, find_texts, survey_source
from service.outcomes.answering import Failure, answer_each
from service.outcomes.columns import ERROR, WantedColumns, column_types, free_names
from service.outcomes.outcome import Outcome

if TYPE_CHECKING:
    import pyarrow as pa


class OutputError(UserError):
    """The output cannot be written under the name that was given."""


class RunStopped(UserError):
    """A run that ended before its output was complete, and that can go on."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The file to score, the file to write, and how."""

    source: Path
    target: Path
    columns: Mapping[str, str]
    """The column that holds each field of an item. For a field that is not given, the usual column names are tried."""
    wanted: WantedColumns
    overwrite: bool
    dialect: Dialect = field(default_factory=Dialect)
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        find_format(str(self.target))
        check_writable(self.target, "-o")
        if self.target.exists() and self.target.samefile(self.source):
            raise OutputError(f"{self.target}: is the input; choose another name with -o")
        if self.target.exists() and not self.overwrite:
            raise OutputError(f"{self.target}: exists already; choose another name with -o, or pass --overwrite")

    @property
    def partial(self) -> Path:
        """The folder that keeps the outcomes so far."""
        return self.target.with_name(self.target.name + ".partial")


ReportRecords = Callable[[int, int], None]
"""Takes the number of records that are done and their total; the first call counts those of an earlier run."""


def score_file(predictor: Predictor, job: ScoringJob, progress: ReportRecords) -> Counts:
    """Write `job.target`: the records and columns of the source in their order, and the columns of the outcomes.

    Raises:
        NotOffered, CertificateNotOffered, NoConfidence, RecordsError, UnknownColumn, PartialError: before anything is
            computed.
        InputChanged: the source changed during the run.
        RunStopped: the source could not be read to its end.
    """
    options = job.wanted.options
    if options.explain:
        predictor.choose(options.explain)
    if options.certify:
        find_certified(options.certify)
    manifest = predictor.package.manifest
    types = column_types(predictor.task, manifest.labels, job.wanted, has_corrections=manifest.correction is not None)
    file = DataFile.local(job.source, job.dialect)
    source = survey_source([file], job.selection, typed=not find_format(str(job.target)).is_text)
    texts = [find_texts(predictor.task, part, job.columns) for part in source.parts]
    identity = _identify(predictor, job, texts)
    try:
        with PartialOutput(job.partial, identity, discard_other=job.overwrite) as partial:
            kept = partial.records
            progress(kept, source.picked)
            items = islice(_items(predictor, source, texts), kept, None)
            for answered in answer_each(predictor, items, options):
                partial.add(Outcome.of(answered, job.wanted).as_json())
                progress(partial.records, source.picked)
        names = free_names(list(types), set(source.columns))
        writing = _Writing(source, partial, names, types)
        partial.complete(lambda path: _write(writing, path, job, identity["source"]), job.target)
    except RecordsError as error:
        raise RunStopped(f"{error}; {job.partial} holds the answers so far: run the same command to go on") from error
    return writing.counts(kept)


def _identify(predictor: Predictor, job: ScoringJob, texts: list[dict[str, str]]) -> dict[str, Any]:
    """The things on which outcomes depend, so that those of another run are not mixed in."""
    return {
        "format": 5,
        "source": file_digest(job.source),
        "package": predictor.name.digest,
        "texts": texts,
        "options": job.wanted.options.model_dump(mode="json"),
        "scores": job.wanted.scores,
        "min_confidence": job.wanted.min_confidence,
        "selection": job.selection.describe(),
    }


def _items(predictor: Predictor, source: Source, texts: list[dict[str, str]]) -> Iterator[Item | Failure]:
    """The items that the picked records hold, or the reasons why they hold none."""
    for part, columns in zip(source.parts, texts, strict=True):
        for block in part.blocks(list(columns.values())):
            for record in block.records():
                yield _read(predictor, record, columns)


def _read(predictor: Predictor, record: Record | BadRecord, texts: Mapping[str, str]) -> Item | Failure:
    if isinstance(record, BadRecord):
        return Failure("unreadable_record", record.reason)
    values = {name: look_up(record.values, column) for name, column in texts.items()}
    try:
        item: Item = read_item(predictor.task.item, values)
    except ValidationError as error:
        return Failure("validation", str(first_mistake(error)))
    return item


class _Writing:
    """The last pass: the records of the source beside their outcomes, which it counts."""

    def __init__(
        self, source: Source, partial: PartialOutput, names: Mapping[str, str], types: Mapping[str, Any]
    ) -> None:
        """Write the columns of outcomes under the names that `names` gives for those of `types`."""
        self._source = source
        self._partial = partial
        self._names = names
        self._types = types
        self._answered = 0
        self._refused = 0

    def write(self, path: Path, name: str) -> None:
        """Write the output as one file, of the kind that `name` says."""
        columns = OutputColumns(self._source.columns, tuple(self._names.values()), self._schemas)
        outcomes = map(Outcome.from_json, self._partial.predictions())
        blocks = chain.from_iterable(part.blocks() for part in self._source.parts)
        with opened_writer(path, name, None, columns) as writer:
            for block in blocks:
                writer.write(block, self._added(block, outcomes))

    def counts(self, kept: int) -> Counts:
        """The counts of the run, of which an earlier one did `kept` records."""
        return Counts(
            records=self._source.records,
            answered=self._answered,
            refused=self._refused,
            skipped=self._source.records - self._source.picked,
            kept=kept,
            error_column=self._names[ERROR],
        )

    def _added(self, block: Block, outcomes: Iterator[Outcome]) -> list[dict[str, Any]]:
        found = list(islice(outcomes, len(block)))
        if len(found) < len(block):
            raise InputChanged("the input has more records than when the run began; run the command again")
        self._answered += sum(outcome.is_answered for outcome in found)
        self._refused += sum(not outcome.is_answered for outcome in found)
        return [{free: one.columns.get(name) for name, free in self._names.items()} for one in found]

    def _schemas(self) -> tuple["pa.Schema", "pa.Schema"]:
        # Only now: csv and JSON lines need no pyarrow.
        from service.outcomes.schema import arrow_schema

        added = arrow_schema({free: self._types[name] for name, free in self._names.items()})
        return self._source.schema(), added


def _write(writing: _Writing, path: Path, job: ScoringJob, digest: str) -> None:
    writing.write(path, str(job.target))
    if file_digest(job.source) != digest:
        raise InputChanged(f"{job.source}: was written to while it was read; run the command again with --overwrite")
