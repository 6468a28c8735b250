"""Answers for every row of a file: HTTP's path, every core busy, memory flat, and nothing lost when stopped.

Three passes. The first counts rows and columns; the second computes predictions, which are kept beside the output as
they come; the third writes the input's rows with their predictions, and only then does the output get its name.
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
from models.records import BadRecord, Record, UnknownColumn, file_format, find_column, read_records
from models.tasks.task import read_item
from service.answers.answers import PendingAnswers
from service.answers.contract import Options
from service.answers.errors import BrokenModel, ItemsRejected, NotOffered
from service.answers.predictor import Predictor
from service.files.columns import ERROR, as_columns, column_types, free_names
from service.files.partial import Partial
from service.files.tables import survey, write_rows

WINDOW_RECORDS = 2_048
"""Rows of the file under way at once; the engine finds rows of like length among them."""

WINDOW_TOKENS = 262_144
"""The same in tokens, which is what bounds memory when texts are long."""


class OutputError(UserError):
    """The output cannot be put there."""


class InputChanged(UserError):
    """The input is not what it was when the run began."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to score and where to."""

    source: Path
    target: Path
    columns: Mapping[str, str]
    """By field of an item the column that holds it; of any other field, the first of the names it usually has."""
    options: Options
    overwrite: bool

    def __post_init__(self) -> None:
        file_format(self.target)
        if not self.target.parent.is_dir():
            raise OutputError(f"{self.target.parent}: no such folder")
        if self.target.is_dir():
            raise OutputError(f"{self.target}: is a folder; name a file in it with -o")
        if self.target.exists() and self.target.samefile(self.source):
            raise OutputError(f"{self.target}: is the input; choose another name with -o")
        if self.target.exists() and not self.overwrite:
            raise OutputError(f"{self.target}: exists already; choose another name with -o, or pass --overwrite")

    @property
    def partial(self) -> Path:
        """The folder for what is done so far."""
        return self.target.with_name(self.target.name + ".partial")


@dataclass
class Tally:
    """How a run went."""

    rows: int
    kept: int
    """Of these, what an earlier run had done."""
    without_answer: int = 0
    error_column: str = ERROR

    def __str__(self) -> str:
        kept = f", {self.kept:,} of them by an earlier run" if self.kept else ""
        bad = f"; {self.without_answer:,} without an answer, see the column {self.error_column!r}"
        return f"{self.rows:,} rows{kept}{bad if self.without_answer else ''}"


Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many; first of those that an earlier run did."""


def score_file(predictor: Predictor, job: Job, progress: Progress) -> Tally:
    """Write `job.target`: every row and column of the source in its order, and the prediction's columns.

    Raises:
        NotOffered, RecordsError, UnknownColumn, PartialError: before anything is computed.
        InputChanged: the source was written to meanwhile.
    """
    predictor.check(job.options.explain)
    rows, columns = survey(job.source)
    texts = _find_texts(predictor, job, tuple(columns))
    identity = {
        "format": 1,
        "source": file_digest(job.source),
        "package": predictor.name.digest,
        "texts": texts,
        "options": job.options.model_dump(mode="json"),
    }
    with Partial(job.partial, identity, discard_other=job.overwrite) as partial:
        tally = Tally(rows, kept=partial.rows)
        progress(partial.rows, rows)
        missing = islice(read_records(job.source), partial.rows, None)
        for prediction in _predict(predictor, missing, texts, job.options):
            partial.add(prediction)
            progress(partial.rows, rows)
    types = column_types(predictor.task, predictor.package.manifest.labels)
    names = free_names(list(types), set(columns))
    tally.error_column = names[ERROR]
    all_columns = {**columns, **{names[name]: kind for name, kind in types.items()}}

    def write(path: Path) -> None:
        write_rows(path, _merge(job, partial, names, tally), all_columns)
        if file_digest(job.source) != identity["source"]:
            raise InputChanged(
                f"{job.source}: was written to while it was read; run the command again with --overwrite"
            )

    partial.complete(write, job.target)
    return tally


def _find_texts(predictor: Predictor, job: Job, available: tuple[str, ...]) -> dict[str, str]:
    """The column that holds each field of an item."""
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
    tokens = 0
    for record in records:
        window.append(_start(predictor, record, texts, options))
        tokens += _tokens(window[-1])
        while len(window) >= WINDOW_RECORDS or tokens > WINDOW_TOKENS:
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
        return predictor.submit([item], options)
    except ValidationError as error:
        return str(first_mistake(error))
    except ItemsRejected as error:
        return str(error.rejected[0])


def _tokens(started: PendingAnswers | str) -> int:
    return 0 if isinstance(started, str) else started.tokens


def _finish(started: PendingAnswers | str) -> dict[str, Any]:
    if isinstance(started, str):
        return {ERROR: started}
    try:
        (result,) = started.result().results
    except (BrokenModel, NotOffered) as error:
        return {ERROR: str(error)}
    return as_columns(result)


def _merge(job: Job, partial: Partial, names: Mapping[str, str], tally: Tally) -> Iterator[dict[str, Any]]:
    # Of unlike lengths only where the source has changed, which is looked for when all is written.
    for row, prediction in zip(read_records(job.source), partial.predictions(), strict=False):
        tally.without_answer += ERROR in prediction
        values = row.values if isinstance(row, Record) else {}
        yield {**values, **{free: prediction.get(name) for name, free in names.items()}}
