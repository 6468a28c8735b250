"""The last pass over the input: its records beside their outcomes, which are counted as they are written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.files.formats import OutputColumns, Writer, opened_writer
from models.files.rows import Block, Record, RecordBlock
from models.files.spelling import as_json
from service.answers.contract import ModelName
from service.files.counts import Counts
from service.files.source import InputChanged, Source
from service.outcomes.columns import ERROR, free_names
from service.outcomes.outcome import Outcome
from service.outcomes.summary import SummaryFold

if TYPE_CHECKING:
    import pyarrow as pa

ERROR_COLUMNS: Mapping[str, Any] = {"file": str, "record": int, "line": int, "reason": str, "raw": str}
"""The columns of the file of errors. `raw` is the record as its file has it, or all its values as JSON."""


@contextmanager
def opened_errors(path: Path, name: str) -> Iterator[Writer]:
    """Write a file of errors of the kind that `name` says."""

    def schemas() -> tuple["pa.Schema", "pa.Schema"]:
        from service.outcomes.schema import arrow_schema

        return arrow_schema({}), arrow_schema(ERROR_COLUMNS)

    with opened_writer(path, name, None, OutputColumns((), tuple(ERROR_COLUMNS), schemas)) as writer:
        yield writer


class Writing:
    """Writes the records of a source and their outcomes, which it takes in the same order."""

    def __init__(
        self,
        source: Source,
        outcomes: Iterator[Outcome],
        types: Mapping[str, Any],
        errors: Writer | None,
    ) -> None:
        """Take the outcomes of the picked records, in the order of the source.

        Args:
            types: the columns of outcomes, each with the type of its values.
            errors: takes the records that were refused, if anybody wants them.
        """
        self._source = source
        self._outcomes = outcomes
        self._names = free_names(list(types), set(source.columns))
        self._types = types
        self._errors = errors
        self.answers = SummaryFold()
        """The answers that were written so far, counted."""
        self._number = 0

    def write(self, path: Path, places: Sequence[int], name: str, kind: str | None) -> None:
        """Write the records of some files of the source as one file, of the kind that `kind` or `name` says."""
        source = Source([self._source.parts[place] for place in places])
        columns = OutputColumns(source.columns, tuple(self._names.values()), lambda: self._schemas(source))
        with opened_writer(path, name, kind, columns) as writer:
            for place in places:
                for block in self._source.parts[place].blocks():
                    outcomes = self._take(block)
                    added = [{free: one.columns.get(name) for name, free in self._names.items()} for one in outcomes]
                    writer.write(block, added)
                    self._report(place, block, outcomes)

    def counts(self, kept: int, model: ModelName) -> Counts:
        """The counts of the run, of which an earlier one did `kept` records, and the answers of `model` summed up."""
        answers = self.answers.summary(model)
        return Counts(
            records=self._source.records,
            answered=answers.answered,
            refused=answers.records - answers.answered,
            skipped=self._source.records - self._source.picked,
            kept=kept,
            error_column=self._names[ERROR],
            answers=answers,
        )

    def _take(self, block: Block) -> list[Outcome]:
        found = list(islice(self._outcomes, len(block)))
        if len(found) < len(block):
            raise InputChanged("the input has more records than when the run began")
        for outcome in found:
            self._number += 1
            self.answers.add(self._number, outcome)
        return found

    def _report(self, place: int, block: Block, outcomes: Sequence[Outcome]) -> None:
        """Write the refused records of a block to the file of errors."""
        if self._errors is None:
            return
        file = self._source.parts[place].file.name
        for number, outcome in enumerate(outcomes):
            if not outcome.is_answered:
                (record,) = block.cut(number, number + 1).records()
                row = {
                    "file": file,
                    "record": record.number,
                    "line": record.line,
                    "reason": outcome.columns.get(ERROR),
                    "raw": record.raw or as_json(dict(record.values)),
                }
                self._errors.write(RecordBlock(1, [Record(1, {})]), [row])

    def _schemas(self, source: Source) -> tuple["pa.Schema", "pa.Schema"]:
        # Only now: csv and JSON lines need no pyarrow.
        from service.outcomes.schema import arrow_schema

        added = arrow_schema({free: self._types[name] for name, free in self._names.items()})
        return source.schema(), added
