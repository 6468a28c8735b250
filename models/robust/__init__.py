"""The training methods, each one small module behind one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.robust import asa, attention_at, attention_vat, plain, word_at
from models.robust.method import Method, MethodSettings, Start
from models.robust.perturbation import NoiseSettings
from models.tasks.task import Head


@dataclass(frozen=True)
class MethodKind:
    """A method's settings and how it is built."""

    settings: type[MethodSettings]
    build: Callable[[Any, Start], Method]
    refuses: tuple[Head, ...] = ()
    """Heads for which the method means nothing."""
    reads_unlabelled: bool = False
    """Whether it learns from texts without right answers too."""
    reference: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray | float]] | None = None
    """The method's formulas at given arrays; `python -m models.robust.reference` calls it."""


METHODS: dict[str, MethodKind] = {
    "plain": MethodKind(plain.PlainSettings, plain.build),
    # A divergence between spans is none of those that the method is defined by.
    "asa": MethodKind(asa.AsaSettings, asa.build, refuses=("question-answering",), reference=asa.reference),
    "attention-at": MethodKind(NoiseSettings, attention_at.build, reference=attention_at.reference),
    "attention-iat": MethodKind(attention_at.IatSettings, attention_at.build_iat, reference=attention_at.reference),
    "attention-rp": MethodKind(NoiseSettings, attention_at.build_rp, reference=attention_at.reference),
    "attention-vat": MethodKind(
        attention_vat.VatSettings, attention_vat.build, reads_unlabelled=True, reference=attention_vat.reference
    ),
    "attention-ivat": MethodKind(
        attention_vat.VatSettings, attention_vat.build_ivat, reads_unlabelled=True, reference=attention_vat.reference
    ),
    "word-at": MethodKind(word_at.WordAtSettings, word_at.build, reference=word_at.reference),
    "word-iat": MethodKind(word_at.WordIatSettings, word_at.build_iat, reference=word_at.reference),
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
