"""Measures how far explanations of sentiment agree with the words that people marked."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import UserError
from models.measuring.faithfulness import average_precision
from models.measuring.intervals import Mean, mean_of
from models.measuring.rationales import MarkedText
from models.progress import ReportProgress
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import AnyTask
from models.words import Span, line_up, share_by_overlap
from service.answers.explanation import Explanation
from service.answers.highlights import is_signed
from service.answers.predictor import Predictor
from service.measuring.explained import RANDOM, RANDOM_DRAWS, explain_items, shuffle

ITEMS_AT_ONCE = 32
STRONG, WEAK = 2, 1
POLES = {"positive": 1, "negative": -1}
"""The labels that have a polarity, and its sign."""


class NoSentiment(UserError):
    """Marks of sentiment, and a package that answers something else."""


@dataclass(frozen=True, kw_only=True)
class MarkAgreement:
    """The agreement of one method with people's marks."""

    rows: int
    average_precision: Mean
    """Precision of the words that score highest in absolute value, as a mean over texts."""
    strong_signs: float | None
    """Share of the very negative and very positive words whose score has that sign; None without signs."""
    weak_signs: float | None
    """The same for words that are a little negative or positive."""


def check_sentiment(package: str, task: AnyTask) -> None:
    """Refuse a package for another task than sentiment, by its name in the error; raises NoSentiment."""
    if task is not SENTIMENT:
        raise NoSentiment(
            f"{package} answers {task.name}; texts with marks of sentiment need a package for {SENTIMENT.name}"
        )


def measure_marks(
    predictor: Predictor, texts: Sequence[MarkedText], name: str, progress: ReportProgress
) -> dict[str, MarkAgreement]:
    """The agreement of each method that the package offers, and of words in random order, with the marks of `texts`.

    Raises:
        NoSentiment: the package answers another task.
    """
    check_sentiment(predictor.name.name, predictor.task)
    found: dict[str, _Tally] = {method: _Tally() for method in (*predictor.explanations, RANDOM)}
    for start in range(0, len(texts), ITEMS_AT_ONCE):
        chosen = texts[start : start + ITEMS_AT_ONCE]
        items = [SENTIMENT.item(text=" ".join(text.tokens)) for text in chosen]
        for method in predictor.explanations:
            for text, explained in zip(chosen, explain_items(predictor, items, method), strict=True):
                if explained is not None:
                    found[method].add(text, _token_scores(text, explained[0]), _pole(explained[0]))
        for text in chosen:
            found[RANDOM].add_random(text)
        progress(name, min(start + ITEMS_AT_ONCE, len(texts)), len(texts))
    return {method: tally.sum_up() for method, tally in found.items() if tally.precisions}


class _Tally:
    """Counts what is found of one method."""

    def __init__(self) -> None:
        self.precisions: list[float] = []
        self.signs: dict[int, list[bool]] = {STRONG: [], WEAK: []}

    def add(self, text: MarkedText, scores: Sequence[float], pole: int) -> None:
        """Count a text; `pole` is the sign of scores that speak for positive, 0 where scores have no sign."""
        self.precisions.append(average_precision([abs(score) for score in scores], text.marked))
        for polarity, score in zip(text.polarity, scores, strict=False):
            if polarity and pole:
                self.signs[abs(polarity)].append(polarity * pole * score > 0)

    def add_random(self, text: MarkedText) -> None:
        """Count a text whose tokens stand in random order."""
        orders = (shuffle(f"{text.tokens}/{draw}", len(text.tokens)) for draw in range(RANDOM_DRAWS))
        precisions = [average_precision(scores, text.marked) for scores in orders]
        self.precisions.append(sum(precisions) / RANDOM_DRAWS)

    def sum_up(self) -> MarkAgreement:
        """The agreement on all texts."""
        strong, weak = (sum(right) / len(right) if right else None for right in self.signs.values())
        return MarkAgreement(
            rows=len(self.precisions),
            average_precision=mean_of(self.precisions),
            strong_signs=strong,
            weak_signs=weak,
        )


def _pole(explanation: Explanation) -> int:
    return POLES.get(explanation.target, 0) if is_signed(explanation) else 0


def _token_scores(text: MarkedText, explanation: Explanation) -> list[float]:
    """The scores of the text's own tokens; a word across several of them shares its score by their characters."""
    spans = [Span(word.start, word.end) for word in explanation.items]
    return share_by_overlap(spans, [word.score for word in explanation.items], tuple(line_up(text.tokens)))
