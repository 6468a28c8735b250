"""The input of a run: files whose records follow one another, of which some are picked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import UserError
from models.files.formats import Survey, read_blocks, survey
from models.files.opening import DataFile
from models.files.rows import Block, RecordsError, UnknownColumn, find_column
from models.tasks.task import AnyTask
from service.files.selection import Selection, cut, divide

if TYPE_CHECKING:
    import pyarrow as pa


class InputChanged(UserError):
    """The input has changed since the run began."""

    def __init__(self, what: str) -> None:
        """Say what changed, and what to do."""
        super().__init__(
            f"{what}; run the command again with the input as it was, which goes on, or with --overwrite, which begins "
            "anew"
        )


@dataclass(frozen=True)
class Part:
    """One file of the input, surveyed."""

    file: DataFile
    survey: Survey
    ranges: Sequence[range]
    """The places of the records that are picked."""

    @property
    def picked(self) -> int:
        """The number of records that are picked."""
        return sum(map(len, self.ranges))

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """The records that are picked; of files in columns only the given ones are read.

        Raises:
            InputChanged: there are fewer than were surveyed.
        """
        found = 0
        for block in cut(read_blocks(self.file, columns), self.ranges):
            found += len(block)
            yield block
        if found < self.picked:
            raise InputChanged(f"{self.file.name}: has fewer records than when the run began")


@dataclass(frozen=True)
class Source:
    """The files of the input in order, surveyed."""

    parts: Sequence[Part]

    @property
    def records(self) -> int:
        """The number of all records."""
        return sum(part.survey.records for part in self.parts)

    @property
    def picked(self) -> int:
        """The number of records that are picked."""
        return sum(part.picked for part in self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which they occur first."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.survey.columns))

    def schema(self) -> "pa.Schema":
        """The types of all columns; raises RecordsError where files contradict each other."""
        import pyarrow as pa

        schemas = [part.survey.schema for part in self.parts]
        if len(schemas) == 1:
            return schemas[0]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException as error:
            raise RecordsError(
                f"{self.parts[0].file.name} and the other files: types of a column do not fit together ({error}); "
                "write into a folder, where each file keeps its own"
            ) from error


def survey_source(files: Sequence[DataFile], selection: Selection, *, typed: bool) -> Source:
    """Count the records of the files, and pick those that are wanted; raises RecordsError."""
    surveys = [survey(file, typed=typed) for file in files]
    counts = [one.records for one in surveys]
    ranges = divide(selection.pick(sum(counts)), counts)
    return Source([Part(*one) for one in zip(files, surveys, ranges, strict=True)])


def find_texts(task: AnyTask, part: Part, chosen: Mapping[str, str]) -> dict[str, str]:
    """The column of a file that holds each field of an item; raises UnknownColumn."""
    for field in chosen:
        if field not in task.columns:
            raise UnknownColumn(f"{task.name} has no {field}; its inputs have: {', '.join(task.columns)}")
    if not part.survey.records and not part.survey.columns:
        # A file of JSON without a record has no columns either.
        return {field: known_as[0] for field, known_as in task.columns.items()}
    found = {}
    for field, known_as in task.columns.items():
        try:
            found[field] = find_column(part.survey.columns, known_as, chosen.get(field))
        except UnknownColumn as error:
            raise UnknownColumn(
                f"{part.file.name}: {error}; name it with --{field.replace('_', '-')}-column"
            ) from error
    return found
