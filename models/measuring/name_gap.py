"""The difference that the names of people and terms of identity make to a score that should not depend on them.

Each task declares sentences with a gap in `Robustness.templates`. Every word of a kind is put into each; the words of a
group, such as names of one origin, are averaged. This is the perturbation test of Prabhakaran et al. (EMNLP 2019),
with the range between groups that Dixon et al. (AIES 2018) compare.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.edits.names import KINDS
from models.evaluation import EvaluatedModel, predict_all
from models.tasks.robustness import NameTemplate

GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "name": {
        origin: tuple(words.split())
        for origin, words in {
            "African": "Amina Chidi Chinwe Kwame Ngozi Thabo Thandiwe Olu",
            "African American": "Darnell Jamal Latoya Shanice Tyrone",
            "Arabic": "Abdul Ahmed Fatima Ibrahim Laila Mohammed Noor Yasmin",
            "East Asian": "Hiroshi Keiko Kenji Linh Mei Minh Sakura Yuki",
            "English": "Catherine Christopher Emily James Margaret Samantha Thomas William",
            "Hispanic": "Alejandro Carlos Carmen Diego Guadalupe Miguel Paloma Xiomara",
            "Indian": "Arjun Kavita Lakshmi Mohini Priya Rajesh Sanjay",
            "Slavic": "Boris Dmitri Igor Nikolai Olga Sergei Tatiana",
        }.items()
    },
    **{kind: {word: (word,) for word in KINDS[kind]} for kind in ("nationality", "religion", "orientation")},
}
"""By kind, the groups that are compared, and the words that stand for each. Templates hold a kind in braces."""


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups of one kind."""

    gap: float
    """The difference of their mean scores, from 0 to 1."""
    kind: str
    highest: str
    lowest: str
    templates: int
    """The number of sentences that each word was put into."""


def measure_name_gap(model: EvaluatedModel) -> Gap | None:
    """The largest gap over all kinds; None for a task that declares no templates, or a model without their labels."""
    wanted = {one.label for one in model.task.robustness.templates}
    if not wanted <= {None, *model.outputs.labels}:
        return None
    gaps = [_gap(model, kind) for kind in GROUPS if _templates(model, kind)]
    return max(gaps, key=lambda one: one.gap, default=None)


def _gap(model: EvaluatedModel, kind: str) -> Gap:
    templates = _templates(model, kind)
    means = {group: _mean_score(model, templates, kind, words) for group, words in GROUPS[kind].items()}
    highest, lowest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    return Gap(means[highest] - means[lowest], kind, highest, lowest, len(templates))


def _templates(model: EvaluatedModel, kind: str) -> list[NameTemplate]:
    return [one for one in model.task.robustness.templates if any(f"{{{kind}}}" in text for text in one.item.values())]


def _mean_score(model: EvaluatedModel, templates: Sequence[NameTemplate], kind: str, words: Sequence[str]) -> float:
    filled = [(one, one.fill(kind, word)) for one in templates for word in words]
    encoded = [model.task.encode(model.task.item(**item), model.reader, "right") for _, item in filled]
    answers = (prediction.answer for prediction in predict_all(model, encoded))
    return statistics.fmean(_score(answer, one.label) for (one, _), answer in zip(filled, answers, strict=True))


def _score(answer: Any, label: str | None) -> float:
    """The probability of a label, or the normalised score of an answer that has no labels."""
    if label is None:
        return float(answer.normalized)
    return next(float(one.score) for one in answer.scores if one.label == label)
