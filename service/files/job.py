"""The order for a run over files: what to read, what to write, and how."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files.formats import find_format, find_kind
from models.files.opening import Dialect
from models.folders import check_writable
from service.files.selection import Selection
from service.files.target import OutputError, Target, refuse_one_name_for_two, refuse_to_overwrite
from service.outcomes.columns import WantedColumns


class BadLimit(UserError):
    """A number of errors was allowed that no run can have."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The files to score, the output to write, and how."""

    sources: Sequence[str]
    """Files, folders, patterns, `-`, or names of files that lie elsewhere."""
    target: Target
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column that holds each field of an item. For a field that is not given, the usual column names are tried."""
    wanted: WantedColumns = field(default_factory=WantedColumns)
    overwrite: bool = False
    dialect: Dialect = field(default_factory=Dialect)
    kind: str | None = None
    """The format of the input, where its name does not say it."""
    selection: Selection = field(default_factory=Selection)
    errors: Path | None = None
    """A file for the records that were refused."""
    max_errors: int | None = None
    """Most records that may be refused; one more stops the run."""
    beside: Mapping[str, Path] = field(default_factory=dict)
    """The other files that the command writes, by the option that names each."""

    def __post_init__(self) -> None:
        if self.kind is not None:
            find_kind("", self.kind)
        if self.max_errors is not None and self.max_errors < 0:
            raise BadLimit(f"--max-errors {self.max_errors}: name a number of records, 0 or more")
        self.target.check(self.sources, overwrite=self.overwrite)
        if self.errors is not None:
            find_format(str(self.errors))
            check_writable(self.errors, "--errors")
            if self.errors.exists() and not self.overwrite and not self.target.is_complete:
                raise OutputError(f"{self.errors}: exists already; choose another --errors, or pass --overwrite")
        refuse_one_name_for_two(self._written())

    def _written(self) -> Iterator[tuple[str, Path]]:
        """The files and folders that are written, each behind the option that names it."""
        if self.target.is_local:
            yield "-o", self.target.path.resolve()
            yield "-o", self.target.record.resolve()
        if self.errors is not None:
            yield "--errors", self.errors.resolve()
        yield from ((option, path.resolve()) for option, path in self.beside.items())

    def refuse_as_input(self, path: Path) -> None:
        """Refuse a file or a package that would be written to, or that an earlier run wrote; raises OutputError."""
        refuse_to_overwrite([path], self._written())

    @property
    def partial(self) -> Path | None:
        """The folder that keeps the outcomes so far for the same command; None where no run can go on."""
        return self.target.partial

    def describe_output(self) -> dict[str, Any]:
        """The output and the file of errors, as JSON can hold them."""
        errors = None if self.errors is None else str(self.errors)
        return {"output": self.target.name, "kind": self.target.kind, "errors": errors}

    def describe(self) -> dict[str, Any]:
        """The parts of the job on which outcomes depend, as JSON can hold them."""
        return {
            "options": self.wanted.options.model_dump(mode="json"),
            "scores": self.wanted.scores,
            "min_confidence": self.wanted.min_confidence,
            "delimiter": self.dialect.delimiter,
            "skips_open_quotes": self.dialect.skips_open_quotes,
            "selection": self.selection.describe(),
        }
