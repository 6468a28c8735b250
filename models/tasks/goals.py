"""The right answer to an item as an attack tests it: when a changed item's answer is still right, and by how much.

Only answers are compared, so that a server somewhere can be tested as well as a package at hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.words import Span

Move = Callable[[str, Span], Span]
"""A field and a stretch of its text as it was -> where that stretch stands in the changed text."""


class Standing(NamedTuple):
    """How an answer stands beside the right one."""

    is_right: bool
    support: float
    """The model's support for the right answer, from 0 to 1; an attack lowers it."""


@dataclass(frozen=True)
class Goal:
    """One item's right answer. An attack reaches its goal with the first answer that is not right."""

    judge: Callable[[Any, Any, Move], Standing]
    """The answer to the item as it was, the answer to the changed item, and where stretches of its texts went."""
    kept: tuple[tuple[str, Span], ...] = ()
    """Fields and stretches of their texts that may not change, because the right answer is made of them."""
