"""The counts of a run, which always add up, and what its end says."""

from dataclasses import dataclass
from typing import Any

from models.tables import format_count
from service.outcomes.columns import ERROR
from service.outcomes.summary import Summary

DONE, FAILED, DONE_WITH_REFUSALS = 0, 1, 3
"""The exit codes of a run; 2 is that of wrong use, and 130 that of one that was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The numbers of records: of the input, and of what became of them."""

    records: int
    """All records of the input, those that cannot be read among them."""
    answered: int
    refused: int
    """Records in the output that have no answer but a reason why."""
    skipped: int
    """Records that were not asked for: those of other shards, behind the limit, or not in the sample."""
    kept: int = 0
    """Records that an earlier run had done; they are among the answered and the refused."""
    error_column: str = ERROR
    answers: Summary | None = None
    """The answers and the failures of the records that were asked for, where one run has seen them all."""

    def __post_init__(self) -> None:
        if self.records != self.answered + self.refused + self.skipped:
            raise ArithmeticError(f"a record is lost: {self}")

    @property
    def is_fruitless(self) -> bool:
        """Whether records were asked for, and not one has an answer."""
        return self.refused > 0 and not self.answered

    @property
    def exit_code(self) -> int:
        """0, or 3 where records were refused, or 1 where all were."""
        if self.is_fruitless:
            return FAILED
        return DONE_WITH_REFUSALS if self.refused else DONE

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON can hold them; the run that made the output counts the same in one go or in several."""
        return {name: getattr(self, name) for name in ("records", "answered", "refused", "skipped")}

    def __str__(self) -> str:
        said = [f"{format_count(self.records, 'record')}: {self.answered:,} answered, {self.refused:,} refused"]
        said[0] += f", {self.skipped:,} skipped" if self.skipped else ""
        if self.refused:
            said.append(f"the column {self.error_column!r} says why")
        if self.kept:
            said.append(f"{self.kept:,} had been done by an earlier run")
        return "; ".join(said)
