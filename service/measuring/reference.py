"""The reference of a package: its answers to the texts of a part, or to those that `score` summed up."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from export.figures.reference import Reference
from export.figures.signals import BINS, WITHOUT_DECISION, Signal
from export.package import Package
from models.data import load_items
from models.errors import UserError, first_mistake
from models.files.layout import USUAL_LAYOUT, Layout
from models.progress import ReportProgress
from models.tasks.task import Item
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.outcomes.answering import answer_each
from service.outcomes.distribution import Distribution
from service.outcomes.summary import Summary

MEASURED_ROWS = 2_000
"""Records that are answered, or all if there are fewer."""


class WrongSummary(UserError):
    """A file that is no summary of the answers of the package."""


def measure_reference(
    predictor: Predictor, data: str, part: str, progress: ReportProgress, layout: Layout = USUAL_LAYOUT
) -> Reference:
    """The reference of a package on a part; the right answers are not looked at, and there need not be any.

    Raises:
        DataError: the part cannot be read.
        TooFewAnswers: it has too few records that can be answered.
    """
    items = load_items(data, part, predictor.task, MEASURED_ROWS, layout.over(predictor.package.manifest.layout))
    answered = answer_each(predictor, _counted(items, progress), Options())
    return Reference.of_results(part, (one.result for one in answered if one.result is not None))


def _counted(items: Sequence[Item], progress: ReportProgress) -> Iterator[Item]:
    for number, item in enumerate(items, start=1):
        progress("reference", number, len(items))
        yield item


def read_reference(file: Path, package: Package) -> Reference:
    """The reference of a package from the summary in a file, which `steadfast score --summary` wrote.

    Raises:
        WrongSummary: it is no such file, or another package's.
        TooFewAnswers: it sums up too few answers.
    """
    cure = "make one with steadfast score --summary FILE"
    try:
        summary = Summary.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise WrongSummary(f"{file}: no summary of answers: {first_mistake(error)}; {cure}") from error
    if summary.model.digest != package.manifest.digest:
        raise WrongSummary(
            f"{file}: sums up the answers of another package ({summary.model.name}, {summary.model.digest[:12]}) than "
            f"{package.folder} ({package.manifest.digest[:12]}); score the texts with this one"
        )
    try:
        return as_reference(summary, file.name)
    except ValidationError as error:
        raise WrongSummary(f"{file}: its counts make no reference: {first_mistake(error)}; {cure}") from error
    except ValueError as error:
        raise WrongSummary(f"{file}: its counts make no reference: {error}; {cure}") from error


def as_reference(summary: Summary, texts: str) -> Reference:
    """A summary as a reference; raises TooFewAnswers."""
    spreads: dict[Signal, Distribution | None] = {
        "confidence": summary.confidence,
        "similarity": summary.similarity,
        "unknown_share": summary.unknown_share,
        "length": summary.tokens,
    }
    counts = {signal: BINS[signal].gather(one.edges, one.counts) for signal, one in spreads.items() if one is not None}
    labels = dict(summary.labels)
    if summary.without_decision and summary.similarity is None:
        labels[WITHOUT_DECISION] = summary.without_decision
    if labels:
        counts["label"] = labels
    return Reference.of_counts(texts, summary.answered, counts)
