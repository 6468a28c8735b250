"""The training methods by name, without torch: what each is for and which heads it can train.

How each is built stands in `models.robust`, under the same names.
"""

from dataclasses import dataclass

from models.errors import UserError
from models.tasks.task import ONE_VECTOR, Head

WITH_NOISE = "+noise"
"""End of the name of a method that is trained with noise beside it."""

WITH_CORRECTION = "+correction"
"""End of the name of a model that reads its texts corrected."""

WITH_BLINDNESS = "+blindness"
"""End of the name of a model that is blind, in part, to terms of identity."""


def name_variant(method: str, *, has_noise: bool, corrects: bool = False, is_blind: bool = False) -> str:
    """The name by which models are told apart: the method's, with `+noise` and so on where there are such."""
    endings = ((has_noise, WITH_NOISE), (corrects, WITH_CORRECTION), (is_blind, WITH_BLINDNESS))
    return method + "".join(ending for holds, ending in endings if holds)


@dataclass(frozen=True, kw_only=True)
class TrainingMethod:
    """A method as the command line and the checks of settings know it."""

    name: str
    summary: str
    """One line for lists and help."""
    heads: tuple[Head, ...]
    """The heads that the method can train."""
    reads_unlabelled: bool = False
    """True if the method also learns from texts without right answers."""


class UnknownMethod(UserError):
    """No training method has that name."""


_ONE_ANSWER: tuple[Head, ...] = ("sequence-classification",)
_LABELS: tuple[Head, ...] = (*ONE_VECTOR, "token-classification", "multiple-choice")
_ANSWERS: tuple[Head, ...] = (*_LABELS, "question-answering")
_PRETRAINING: tuple[Head, ...] = ("masked-language-model",)

_ALL = (
    TrainingMethod(
        name="plain",
        summary="Fine-tuning with the task's loss and nothing else.",
        heads=(*_ANSWERS, *_PRETRAINING),
    ),
    TrainingMethod(
        name="asa",
        summary="Adversaries mask attention between words; the model learns to answer the same.",
        # The method compares answers by a divergence, and its paper defines none between spans.
        heads=(*_LABELS, *_PRETRAINING),
    ),
    # Noise on attention or on words belongs to fine-tuning: the papers pre-train nothing with it.
    TrainingMethod(
        name="attention-at",
        summary="Worst-case noise on attention scores.",
        heads=_ANSWERS,
    ),
    TrainingMethod(
        name="attention-iat",
        summary="As attention-at, with the noise weighted by how much each word stands out.",
        heads=_ANSWERS,
    ),
    TrainingMethod(
        name="attention-rp",
        summary="Random noise on attention scores, to compare worst-case noise with.",
        heads=_ANSWERS,
    ),
    TrainingMethod(
        name="attention-vat",
        summary="Noise on attention scores that changes the answer most; learns from unlabelled texts too.",
        heads=_ANSWERS,
        reads_unlabelled=True,
    ),
    TrainingMethod(
        name="attention-ivat",
        summary="As attention-vat, with the noise weighted by how much each word stands out.",
        heads=_ANSWERS,
        reads_unlabelled=True,
    ),
    TrainingMethod(
        name="word-at",
        summary="Worst-case noise on word vectors.",
        heads=_ANSWERS,
    ),
    TrainingMethod(
        name="word-iat",
        summary="Worst-case noise that moves word vectors towards other words'.",
        heads=_ANSWERS,
    ),
    TrainingMethod(
        name="afa",
        summary="Attention learns from words whose masking goes unnoticed: our reading of AFA.",
        # A span is read at its two ends, which are unknown before it is found: no attention could be called the policy.
        heads=_LABELS,
    ),
    # SSA masks words of one text that has one answer. Labels of words, spans and labels that do not exclude each other
    # are many, and each choice of a question has a row of its own, in which the same context is repeated.
    TrainingMethod(
        name="ssa-co",
        summary="Between epochs, words that the answer does not need are found; a token classifier learns them.",
        heads=_ONE_ANSWER,
    ),
    TrainingMethod(
        name="ssa-hybrid",
        summary="As ssa-co, and the words found relevant reach the head through a gate, in serving too.",
        heads=_ONE_ANSWER,
    ),
    TrainingMethod(
        name="cline",
        summary="The text is held closer to a copy that means the same than to one that does not.",
        # The auxiliary losses read vectors of whole texts, which the other heads do not use.
        heads=(*ONE_VECTOR, *_PRETRAINING),
    ),
)

METHODS: dict[str, TrainingMethod] = {method.name: method for method in _ALL}


def find_method(name: str) -> TrainingMethod:
    """The method called `name`; raises UnknownMethod with the names there are."""
    try:
        return METHODS[name]
    except KeyError:
        raise UnknownMethod(f"no training method {name!r}; choose one of: {', '.join(METHODS)}") from None
