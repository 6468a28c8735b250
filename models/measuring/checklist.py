"""CheckList's behaviour tests of sentiment (Ribeiro et al., ACL 2020): a failure rate for each kind of test.

A case is one text, or several versions of one text. There are three kinds of test. MFT: each text has the expected
label. INV: all versions are answered alike. DIR: the answer does not move in the wrong direction. A case fails when one
of its texts fails.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import first_mistake
from models.evaluation import EvaluatedModel, predict_all
from models.files.parts import DataError, read_part
from models.files.rows import Record
from models.tasks.classification import LabelAnswer

LABELS = ("negative", "neutral", "positive")
"""The suite's labels, in the order of its numbers."""

TOLERANCE = 0.1
"""The change of a probability up to which it counts as unchanged, as in the authors' suite."""

NEUTRAL_BAND = (1 / 3, 2 / 3)
"""Probabilities of positive that count as neutral, for a model without that label; the authors' choice for SST-2."""


@dataclass(frozen=True)
class Direction:
    """The direction in which a probability may move when the first text of a case becomes another."""

    rises: bool
    """True: the probability must not fall. False: it must not rise."""
    label: str | None = None
    """The label whose probability is compared. None: the label of the first text; a neutral one makes no case."""


DIRECTIONS: dict[str, Direction] = {
    "intensifiers": Direction(rises=True),
    "reducers": Direction(rises=False),
    '"used to" should reduce': Direction(rises=False),
    "add positive phrases": Direction(rises=True, label="positive"),
    "add negative phrases": Direction(rises=False, label="positive"),
}
"""By name of a DIR test, the direction that it expects. The suite's file says it only in words."""

NEUTRAL_MAY_BE_POSITIVE = ("Q & A: no",)
"""MFT tests in which a text expected to be neutral may be positive too, as in the authors' suite."""


class Case(BaseModel):
    """A record of the suite's file."""

    model_config = ConfigDict(frozen=True)

    test: str
    type: str
    inputs: tuple[str, ...] = Field(min_length=1)
    expected: int | None = Field(
        ge=0, lt=len(LABELS), description="Number of the expected label; None: any label but negative."
    )


@dataclass(frozen=True)
class Opinion:
    """A model's answer to one text."""

    label: str
    probabilities: Mapping[str, float]


def read_cases(data: str, name: str) -> list[Case]:
    """Read the cases of a suite; raises DataError where a record is not a case or expects something unknown here."""
    cases = []
    for record in read_part(data, name):
        try:
            case = Case.model_validate(record.values if isinstance(record, Record) else {})
        except ValidationError as error:
            raise DataError(f"{name}: record {record.number} is no case of a suite ({first_mistake(error)})") from error
        if case.type not in _CHECKS or (case.type == "DIR" and case.test not in DIRECTIONS):
            raise DataError(f"{name}: record {record.number}: what {case.type} {case.test!r} expects is not known")
        cases.append(case)
    return cases


def judge(model: EvaluatedModel, cases: Sequence[Case]) -> list[bool | None]:
    """Whether each case passes; None for a case that does not apply."""
    texts = [model.task.item(text=text) for case in cases for text in case.inputs]
    encoded = [model.task.encode(item, model.reader, "window") for item in texts]
    opinions = iter([form_opinion(prediction.answer) for prediction in predict_all(model, encoded)])
    return [_CHECKS[case.type](case, [next(opinions) for _ in case.inputs]) for case in cases]


def form_opinion(answer: LabelAnswer) -> Opinion:
    """The label and probabilities of an answer; without a neutral label, the middle of the scale counts as neutral."""
    probabilities = {score.label: score.score for score in answer.scores}
    low, high = NEUTRAL_BAND
    is_between = "neutral" not in probabilities and low < probabilities["positive"] < high
    return Opinion("neutral" if is_between else answer.label, probabilities)


def failure_rates(cases: Sequence[Case], results: Sequence[bool | None]) -> dict[str, dict[str, float]]:
    """By kind of test: the share of failed cases among those that apply, their number, and the failure rate by test."""
    rates: dict[str, dict[str, float]] = {}
    for kind in _CHECKS:
        by_test: dict[str, list[bool]] = {}
        for case, result in zip(cases, results, strict=True):
            if case.type == kind and result is not None:
                by_test.setdefault(case.test, []).append(result)
        if by_test:
            together = list(itertools.chain.from_iterable(by_test.values()))
            rates[kind] = {"failure_rate": _share_failed(together), "rows": len(together)}
            rates[kind] |= {f"failure_rate/{test}": _share_failed(results) for test, results in by_test.items()}
    return rates


def _share_failed(results: Sequence[bool]) -> float:
    return results.count(False) / len(results)


def _has_expected_label(case: Case, opinions: Sequence[Opinion]) -> bool:
    is_loose = case.expected is None or (LABELS[case.expected] == "neutral" and case.test in NEUTRAL_MAY_BE_POSITIVE)
    if is_loose or case.expected is None:
        return all(opinion.label != "negative" for opinion in opinions)
    return all(opinion.label == LABELS[case.expected] for opinion in opinions)


def _is_answered_alike(case: Case, opinions: Sequence[Opinion]) -> bool:
    """Whether all versions have one label; as in the authors' suite, a change passes if probabilities hardly move."""
    del case
    first = opinions[0]
    return all(
        other.label == first.label
        or abs(_probability(other, first.label) - _probability(first, first.label)) <= TOLERANCE
        for other in opinions[1:]
    )


def _keeps_direction(case: Case, opinions: Sequence[Opinion]) -> bool | None:
    direction = DIRECTIONS[case.test]
    first = opinions[0]
    if direction.label is None and first.label == "neutral":
        return None
    label = direction.label or first.label
    moves = [_probability(other, label) - _probability(first, label) for other in opinions[1:]]
    return all(move >= -TOLERANCE if direction.rises else move <= TOLERANCE for move in moves)


def _probability(opinion: Opinion, label: str) -> float:
    """The probability of a label; for a neutral label that the model lacks, the probability of positive."""
    return opinion.probabilities.get(label, opinion.probabilities["positive"])


_CHECKS: dict[str, Callable[[Case, Sequence[Opinion]], bool | None]] = {
    "MFT": _has_expected_label,
    "INV": _is_answered_alike,
    "DIR": _keeps_direction,
}
