"""Measures whether the words that an explanation ranks first are the words that an answer rests on.

Comprehensiveness and sufficiency are those of ERASER (DeYoung et al., ACL 2020, arXiv 1911.03429, section 4.2), over
words: the mean, over several shares of the words, of how much the answer's support falls when the words that rank first
are taken out, and when all others are. Departures: words of both texts of a pair are ranked together, and a word is as
Unicode has it (UAX #29). Agreement with people's marks is average precision, and for signed scores the share of marked
words whose sign is right.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.measuring.intervals import Mean, mean_of, sign_flip_p

PERCENTS = (1, 5, 10, 20, 50)
"""Shares of the words that are taken out or kept, in percent; the number of words is rounded up."""

LARGER_PERCENTS = (10, 20, 50)
"""Shares of which a mean of its own is given: in a short text the smaller ones are the same single word."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drops:
    """How far the support of an answer falls, for each of `PERCENTS`."""

    comprehensiveness: Values
    """Fall when the words that rank first are taken out; higher is better."""
    sufficiency: Values
    """Fall when only they are left; lower is better."""


@dataclass(frozen=True, kw_only=True)
class Difference(Mean):
    """The mean of what one method has more than another on the same rows."""

    p: float
    """Two-sided, by a test that flips signs at random."""


@dataclass(frozen=True, kw_only=True)
class FaithfulnessDifference:
    """One method less another, on the rows that both explain."""

    comprehensiveness: Difference
    sufficiency: Difference


@dataclass(frozen=True, kw_only=True)
class FaithfulnessReport:
    """The faithfulness of one method on many rows; the two measures are means over `PERCENTS`."""

    rows: int
    comprehensiveness: Mean
    sufficiency: Mean
    larger: tuple[float, float]
    """Both measures over `LARGER_PERCENTS`."""
    by_percent: dict[int, tuple[float, float]]
    """Both measures for each share."""
    less: dict[str, FaithfulnessDifference]
    """The differences from other methods, by their names."""


def first_words(scores: Sequence[float], percent: int) -> frozenset[int]:
    """Numbers of the words that have the highest scores; of words that tie, those that come first in the text."""
    count = -(-len(scores) * percent // 100)  # rounded up, so at least one
    return frozenset(np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")[:count].tolist())


def removals(scores: Sequence[float]) -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """For each of `PERCENTS`, the words to take out for comprehensiveness, and those for sufficiency."""
    everything = frozenset(range(len(scores)))
    for percent in PERCENTS:
        chosen = first_words(scores, percent)
        yield chosen, everything - chosen


def measure_drops(scores: Sequence[float], support: Callable[[frozenset[int]], float]) -> Drops:
    """How far the support of an answer falls; `support` takes the numbers of the words that are taken out."""
    whole = support(frozenset())
    left = np.array([[support(removed) for removed in pair] for pair in removals(scores)])
    return Drops(comprehensiveness=whole - left[:, 0], sufficiency=whole - left[:, 1])


def average_drops(drops: Sequence[Drops]) -> Drops:
    """The mean over several draws, or over the parts of one answer."""
    return Drops(
        comprehensiveness=np.mean([one.comprehensiveness for one in drops], axis=0),
        sufficiency=np.mean([one.sufficiency for one in drops], axis=0),
    )


def report_faithfulness(
    found: Sequence[Drops | None], others: Mapping[str, Sequence[Drops | None]]
) -> FaithfulnessReport | None:
    """Sum up one method's drops, a value for each row; None where no row has any.

    Rows that are None could not be explained. `others` are the drops of other methods on the same rows.
    """
    drops = [one for one in found if one is not None]
    if not drops:
        return None
    means = average_drops(drops)
    places = [PERCENTS.index(percent) for percent in LARGER_PERCENTS]
    pairs = list(zip(means.comprehensiveness.tolist(), means.sufficiency.tolist(), strict=True))
    compared = {name: _compare(found, other) for name, other in others.items()}
    return FaithfulnessReport(
        rows=len(drops),
        comprehensiveness=mean_of([one.comprehensiveness.mean() for one in drops]),
        sufficiency=mean_of([one.sufficiency.mean() for one in drops]),
        larger=(float(means.comprehensiveness[places].mean()), float(means.sufficiency[places].mean())),
        by_percent=dict(zip(PERCENTS, pairs, strict=True)),
        less={name: difference for name, difference in compared.items() if difference is not None},
    )


def average_precision(scores: Sequence[float], marked: Collection[int]) -> float:
    """The mean, over the marked words, of the share of marked words among those that score as high or higher.

    Words that tie count together, so that the value does not depend on their order.

    Raises:
        ValueError: no word is marked.
    """
    if not marked:
        raise ValueError("average precision needs a marked word")
    values = np.asarray(scores, dtype=np.float64)
    is_marked = np.isin(np.arange(len(values)), list(marked))
    shares = [is_marked[values >= values[number]].mean() for number in marked]
    return float(np.mean(shares))


def _compare(found: Sequence[Drops | None], others: Sequence[Drops | None]) -> FaithfulnessDifference | None:
    pairs = [(one, other) for one, other in zip(found, others, strict=True) if one is not None and other is not None]
    if not pairs:
        return None
    return FaithfulnessDifference(
        comprehensiveness=_difference(
            [float((one.comprehensiveness - other.comprehensiveness).mean()) for one, other in pairs]
        ),
        sufficiency=_difference([float((one.sufficiency - other.sufficiency).mean()) for one, other in pairs]),
    )


def _difference(values: Sequence[float]) -> Difference:
    mean = mean_of(values)
    return Difference(mean=mean.mean, interval=mean.interval, p=sign_flip_p(values))
