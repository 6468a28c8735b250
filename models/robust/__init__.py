"""The training methods, each one small module behind one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.robust import asa, cline, plain
from models.robust.method import Method, MethodSettings, Start
from models.tasks.task import Head


@dataclass(frozen=True)
class MethodKind:
    """A method's settings and how it is built."""

    settings: type[MethodSettings]
    build: Callable[[Any, Start], Method]
    refuses: tuple[Head, ...] = ()
    """Heads for which the method means nothing."""
    reference: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray | float]] | None = None
    """The method's formulas at given arrays; `python -m models.robust.reference` calls it."""


METHODS: dict[str, MethodKind] = {
    "plain": MethodKind(plain.PlainSettings, plain.build),
    # A divergence between spans is none of those that the method is defined by.
    "asa": MethodKind(asa.AsaSettings, asa.build, refuses=("question-answering",), reference=asa.reference),
    # Its auxiliary losses are of texts' vectors, which these heads do not read.
    "cline": MethodKind(
        cline.ClineSettings,
        cline.build,
        refuses=("token-classification", "multiple-choice", "question-answering"),
        reference=cline.reference,
    ),
}


class UnknownMethod(ValueError):
    """No training method has that name."""


def find_method(name: str) -> MethodKind:
    """The method called `name`; raises UnknownMethod with the names there are."""
    try:
        return METHODS[name]
    except KeyError:
        raise UnknownMethod(f"no training method {name!r}; choose one of: {', '.join(METHODS)}") from None


def read_settings(name: str, given: Mapping[str, Any]) -> MethodSettings:
    """The checked settings of method `name`; what is not given keeps its default. Raises pydantic's ValidationError."""
    return find_method(name).settings.model_validate(given)
