"""The results of inputs that Python programs hand in, with the types that type checkers see."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, overload

from models.tasks.classification import LabelAnswer
from models.tasks.extractive import SpanScore
from models.tasks.ner import NerAnswer
from models.tasks.reading_comprehension import ChoiceScore
from models.tasks.sts import StsAnswer
from models.tasks.task import Item, TaskAnswer
from models.tasks.text_classification import LabelsAnswer
from service.answers.contract import EncodingSummary, ItemPosition, WithCertificate, WithExplanation, WithExplanations
from service.answers.highlights import views_of
from service.outcomes.answering import Failure
from service.pages.fragment import answer, escape, notes_on, style

MOST_SHOWN = 10
"""Results that a notebook shows."""


class LabelResult(WithExplanation, WithCertificate, EncodingSummary, LabelAnswer, ItemPosition):
    """The result of sentiment, inference, paraphrase, and classification by labels of one's own."""


class LabelsResult(WithExplanations, WithCertificate, EncodingSummary, LabelsAnswer, ItemPosition):
    """The result of classification by any number of labels."""


class SimilarityResult(WithExplanation, WithCertificate, EncodingSummary, StsAnswer, ItemPosition):
    """The result of similarity."""


class EntitiesResult(WithExplanations, WithCertificate, EncodingSummary, NerAnswer, ItemPosition):
    """The result of named entities."""


class ReadingResult(WithExplanation, WithCertificate, EncodingSummary, TaskAnswer, ItemPosition):
    """The result of reading comprehension; packages that choose and packages that find have fields of their own."""

    answer: str | None
    score: float
    scores: tuple[ChoiceScore, ...] | tuple[SpanScore, ...]


ResultT = TypeVar("ResultT", covariant=True)


@dataclass(frozen=True)
class Results(Sequence[ResultT], Generic[ResultT]):
    """Results in the order of the inputs; in a notebook, they are shown with their words coloured."""

    values: Sequence[ResultT]
    """A result for each input; None for one that has no answer."""
    items: Sequence[Item | Failure] = field(repr=False)
    """The inputs as they were read."""
    failures: Mapping[int, Failure]
    """By the place of an input, from 0, why it has no answer, or none of what was asked for beside it."""

    @overload
    def __getitem__(self, place: int) -> ResultT: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ResultT]: ...

    def __getitem__(self, place: int | slice) -> ResultT | Sequence[ResultT]:
        """The result of the input at this place, counted from 0."""
        return self.values[place]

    def __len__(self) -> int:
        """The number of inputs."""
        return len(self.values)

    def __iter__(self) -> Iterator[ResultT]:
        """The results in the order of the inputs."""
        return iter(self.values)

    def _repr_html_(self) -> str:
        """The first results as notebooks show them."""
        shown = list(zip(self.items, self.values, strict=True))[:MOST_SHOWN]
        parts = "".join(self._show(place, item, result) for place, (item, result) in enumerate(shown))
        views = [view for _, result in shown if result is not None for view in views_of(result)]
        more = len(self.values) - len(shown)
        rest = f'<p class="note">and {more:,} more</p>' if more else ""
        return f'<style>{style()}</style><div class="steadfast">{parts}{rest}{notes_on(views)}</div>'

    def _show(self, place: int, item: Item | Failure, result: object) -> str:
        reason = self.failures[place].detail if place in self.failures else None
        if result is None or isinstance(item, Failure):
            return f'<article class="answer"><p class="note">No answer: {escape(reason or "")}</p></article>'
        return answer(item, result, reason)
