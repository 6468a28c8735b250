"""The training methods, each one small module behind one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.errors import UserError
from models.robust import afa, asa, attention_at, attention_vat, cline, plain, ssa, word_at
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
    serve: Callable[[Any, Any, PreTrainedTokenizerFast, Mapping[str, Tensor]], nn.Module] | None = None
    """Settings, a checkpoint's stock model, its tokenizer and the method's weights -> what answers, called as the stock
    model is. None: the stock model itself."""
    reference: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray | float]] | None = None
    """The method's formulas at given arrays; `python -m models.robust.reference` calls it."""


# A probe is of one text with one answer: labels of words or spans are many, and of a question's choices each has a row
# of its own, in which the same context stands again.
_OF_ONE_ANSWER: tuple[Head, ...] = ("token-classification", "multiple-choice", "question-answering")
# These methods are of fine-tuning alone.
_WORDS: tuple[Head, ...] = ("masked-language-model",)

METHODS: dict[str, MethodKind] = {
    "plain": MethodKind(plain.PlainSettings, plain.build),
    # A divergence between spans is none of those that the method is defined by.
    "asa": MethodKind(asa.AsaSettings, asa.build, refuses=("question-answering",), reference=asa.reference),
    "attention-at": MethodKind(NoiseSettings, attention_at.build, _WORDS, reference=attention_at.reference),
    "attention-iat": MethodKind(
        attention_at.IatSettings, attention_at.build_iat, _WORDS, reference=attention_at.reference
    ),
    "attention-rp": MethodKind(NoiseSettings, attention_at.build_rp, _WORDS, reference=attention_at.reference),
    "attention-vat": MethodKind(
        attention_vat.VatSettings, attention_vat.build, _WORDS, reads_unlabelled=True, reference=attention_vat.reference
    ),
    "attention-ivat": MethodKind(
        attention_vat.VatSettings,
        attention_vat.build_ivat,
        _WORDS,
        reads_unlabelled=True,
        reference=attention_vat.reference,
    ),
    "word-at": MethodKind(word_at.WordAtSettings, word_at.build, _WORDS, reference=word_at.reference),
    "word-iat": MethodKind(word_at.WordIatSettings, word_at.build_iat, _WORDS, reference=word_at.reference),
    # A span is read at its two ends, which are not known before it is found: there is no attention to call the policy.
    "afa": MethodKind(afa.AfaSettings, afa.build, ("question-answering", *_WORDS), reference=afa.reference),
    "ssa-co": MethodKind(ssa.SsaCoSettings, ssa.build_co, refuses=_OF_ONE_ANSWER + _WORDS, reference=ssa.reference),
    "ssa-hybrid": MethodKind(
        ssa.SsaHybridSettings,
        ssa.build_hybrid,
        refuses=_OF_ONE_ANSWER + _WORDS,
        serve=ssa.serve_hybrid,
        reference=ssa.reference,
    ),
    # Its auxiliary losses are of texts' vectors, which these heads do not read.
    "cline": MethodKind(
        cline.ClineSettings,
        cline.build,
        refuses=("token-classification", "multiple-choice", "question-answering"),
        reference=cline.reference,
    ),
}


class UnknownMethod(UserError):
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
