"""The training methods, each one small module behind one interface.

`models.methods` describes the methods without torch, under the same names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.methods import find_method
from models.robust import afa, asa, attention_at, attention_vat, cline, plain, ssa, word_at
from models.robust.method import BuildContext, Method, MethodSettings
from models.robust.perturbation import NoiseSettings

Reference = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray | float]]
"""A method's formulas at given arrays."""


@dataclass(frozen=True)
class Implementation:
    """A method's settings, how it is built, and its formulas."""

    settings: type[MethodSettings]
    build: Callable[[Any, BuildContext], Method]
    reference: Reference | None = None
    """The formulas for `python -m models.robust.reference`; None if the method has none of its own."""


IMPLEMENTATIONS: dict[str, Implementation] = {
    "plain": Implementation(plain.PlainSettings, plain.build),
    "asa": Implementation(asa.AsaSettings, asa.build, asa.reference),
    "attention-at": Implementation(NoiseSettings, attention_at.build, attention_at.reference),
    "attention-iat": Implementation(attention_at.IatSettings, attention_at.build_iat, attention_at.reference),
    "attention-rp": Implementation(NoiseSettings, attention_at.build_rp, attention_at.reference),
    "attention-vat": Implementation(attention_vat.VatSettings, attention_vat.build, attention_vat.reference),
    "attention-ivat": Implementation(attention_vat.VatSettings, attention_vat.build_ivat, attention_vat.reference),
    "word-at": Implementation(word_at.WordAtSettings, word_at.build, word_at.reference),
    "word-iat": Implementation(word_at.WordIatSettings, word_at.build_iat, word_at.reference),
    "afa": Implementation(afa.AfaSettings, afa.build, afa.reference),
    "ssa-co": Implementation(ssa.SsaCoSettings, ssa.build_co, ssa.reference),
    "ssa-hybrid": Implementation(ssa.SsaHybridSettings, ssa.build_hybrid, ssa.reference),
    "cline": Implementation(cline.ClineSettings, cline.build, cline.reference),
}


def find_implementation(name: str) -> Implementation:
    """The implementation of the method called `name`; raises UnknownMethod with the names there are."""
    return IMPLEMENTATIONS[find_method(name).name]


def read_settings(name: str, given: Mapping[str, Any]) -> MethodSettings:
    """The checked settings of method `name`; a setting that is not given keeps its default.

    Raises:
        UnknownMethod: with the names there are.
        ValidationError: pydantic's, a setting is unknown or wrong.
    """
    return find_implementation(name).settings.model_validate(given)
