"""Declares how a task is measured beyond its validation records: with noisy texts, robustness sets and behaviour tests.

Each task declares its own; `models.measuring.robustness` measures what is declared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

NoiseName = Literal["typos", "word swaps", "synonyms"]
"""Kinds of noise; `models.measuring.perturbations` makes them."""

NOISES: tuple[NoiseName, ...] = get_args(NoiseName)


@dataclass(frozen=True, kw_only=True)
class RobustnessSet:
    """A part of a data folder that shows whether a model has learnt the task or only its training data."""

    name: str
    part: str
    """The name of its file without the ending, as a path from the task's own data folder."""
    where: tuple[str, Any] | None = None
    """A column and the value that it has in the records to measure on; None takes every record."""
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For a label of the file that a model may lack, the model's labels that mean the same."""


@dataclass(frozen=True)
class NameTemplate:
    """An item whose answer should not depend on who is spoken of."""

    item: Mapping[str, str]
    """Its fields; `{name}`, `{nationality}`, `{religion}` or `{orientation}` stands for any word of that kind."""
    label: str | None = None
    """The label whose probability is compared; None for a task that answers with a number."""

    def fill(self, kind: str, word: str) -> dict[str, str]:
        """The fields with a word in the place of its kind."""
        return {field: text.replace(f"{{{kind}}}", word) for field, text in self.item.items()}


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The noises, robustness sets and behaviour tests that a task is measured with."""

    noisy_fields: tuple[str, ...] = ()
    """Fields of the task's examples whose texts are made noisy; with none, no noise is measured."""
    noises: tuple[NoiseName, ...] = NOISES
    edited_fields: tuple[str, ...] = ()
    """Fields of requests in which attacks and certificates edit words; empty where they are `noisy_fields`."""
    sets: tuple[RobustnessSet, ...] = ()
    suite: str | None = None
    """The part that holds a CheckList suite, named as a set's part is."""
    templates: tuple[NameTemplate, ...] = ()
    """Items to measure the name gap with; with none, it is not measured."""
    contrast: tuple[str, str] | None = None
    """The labels of two texts of which one was changed into another meaning, and of a text and its noisy copy; None for
    a task that does not compare two texts by label."""
