"""A package's reference: how its answers to usual texts are spread, by which a server tells that texts have changed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from export.figures.signals import BINS, Signal, in_order, read_signals
from models.errors import UserError

LEAST_ANSWERS = 500
"""Fewer answers say too little of how answers are spread: of 500 in ten bins, chance alone puts one draw in a hundred
at a Jensen-Shannon distance above 0.125 from another that was drawn alike."""


class TooFewAnswers(UserError):
    """Texts from which no reference can be made."""


Spread = Mapping[Signal, Mapping[str, int]]
"""How often each bin of each signal came; bins that never came are not there."""


class Reference(BaseModel):
    """How a package's answers to known texts are spread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: str = Field(min_length=1, description="What was answered: a part of a data set, or a file.")
    answers: int = Field(ge=LEAST_ANSWERS, description="The answers that were counted.")
    signals: dict[Signal, dict[str, Annotated[int, Field(gt=0)]]] = Field(
        description="By signal, how often each bin came; bins that never came are left out."
    )

    @model_validator(mode="after")
    def _refuse_other_bins(self) -> "Reference":
        for signal, counts in self.signals.items():
            unknown = counts.keys() - set(BINS[signal].names) if signal in BINS else ()
            if unknown:
                raise ValueError(f"{signal} has no bin {sorted(unknown)[0]!r}")
            if not counts:
                raise ValueError(f"{signal} has no bins; leave it out")
        return self

    @classmethod
    def of_results(cls, texts: str, results: Iterable[Any]) -> "Reference":
        """The reference of results of one package; raises TooFewAnswers."""
        found: dict[Signal, Counter[str]] = {}
        answers = 0
        for answers, result in enumerate(results, start=1):  # noqa: B007
            for signal, name in read_signals(result):
                found.setdefault(signal, Counter())[name] += 1
        return cls.of_counts(texts, answers, found)

    @classmethod
    def of_counts(cls, texts: str, answers: int, counts: Spread) -> "Reference":
        """The reference of so many answers, counted; raises TooFewAnswers."""
        if answers < LEAST_ANSWERS:
            raise TooFewAnswers(
                f"{texts}: {answers:,} answers say too little of what is usual; give {LEAST_ANSWERS} texts or more"
            )
        return cls(
            texts=texts, answers=answers, signals={name: in_order(name, counts[name]) for name in sorted(counts)}
        )
