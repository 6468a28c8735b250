"""Computes outcomes in the threads of this process."""

from collections.abc import Iterable, Iterator

from service.answers.predictor import Predictor
from service.outcomes.answering import Failure, answer_each
from service.outcomes.columns import WantedColumns
from service.outcomes.outcome import Outcome
from service.outcomes.records import Values, read_record


def compute(predictor: Predictor, records: Iterable[Values | Failure], wanted: WantedColumns) -> Iterator[Outcome]:
    """The outcome of each record, in their order."""
    items = (read_record(predictor.task, record) for record in records)
    return (Outcome.of(answered, wanted) for answered in answer_each(predictor, items, wanted.options))
