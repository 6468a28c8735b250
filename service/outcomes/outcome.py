"""The outcome of one record as plain data, which a file, a journal or another process can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from models.tasks.task import Judgement
from service.outcomes.answering import Answered, FailureCode
from service.outcomes.columns import ERROR, REVIEW, WantedColumns, as_columns


@dataclass(frozen=True)
class Outcome:
    """An answer, or the reason why there is none."""

    columns: Mapping[str, Any]
    """The values of the answer by column, and the reason of a failure; a column that is not there is empty."""
    code: FailureCode | None = None
    """The kind of the failure, if there is one."""
    judgements: tuple[Judgement, ...] = ()
    """The decisions of the answer, with their probabilities."""

    @classmethod
    def of(cls, answered: Answered, wanted: WantedColumns) -> Self:
        """The outcome of an item, with the columns wanted of it."""
        result, failure = answered.result, answered.failure
        columns = {} if result is None else as_columns(result, scores=wanted.scores)
        judgements = () if result is None else result.judgements()
        if wanted.min_confidence is not None:
            columns[REVIEW] = result is None or not result.is_sure(wanted.min_confidence)
        if failure is None:
            return cls(columns, None, judgements)
        return cls(columns | {ERROR: failure.detail}, failure.code, judgements)

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer; an answer may lack its explanation or its certificate."""
        return not self.columns.keys() <= {ERROR, REVIEW}

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON can hold it."""
        return {"columns": self.columns, "code": self.code, "judgements": self.judgements}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The outcome that `as_json` gave."""
        return cls(values["columns"], values["code"], tuple(Judgement(*one) for one in values["judgements"]))
