"""A summary of many outcomes: what was answered, how surely, of what texts, and what failed.

It is the same whatever order and parts the outcomes come in.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from export.figures.signals import STEPS
from models.tasks.task import Judgement
from service.answers.contract import ModelName
from service.outcomes.answering import FailureCode
from service.outcomes.columns import ERROR, REVIEW
from service.outcomes.distribution import LENGTHS, SHARES, Distribution, Tally
from service.outcomes.outcome import Outcome


class FailureCount(BaseModel):
    """How often one kind of failure came."""

    model_config = ConfigDict(frozen=True)

    code: FailureCode
    records: int
    first: int = Field(description="The number of the first such record, from 1.")
    example: str = Field(description="What was said of it.")


class CertificateCounts(BaseModel):
    """How many answers were certified, and how."""

    model_config = ConfigDict(frozen=True)

    hold: int = Field(description="No edit changes the answer, and there was one to try.")
    nothing_to_edit: int
    broken: int = Field(description="An edit changes the answer, or makes a text that cannot be read.")


class Summary(BaseModel):
    """The answers and failures of many records, counted."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    model: ModelName
    records: int
    answered: int = Field(description="Records with an answer, with or without the explanation asked for.")
    labels: dict[str, int] = Field(description="How often each label or kind of entity was given, most often first.")
    without_decision: int = Field(description="Answers that decide nothing: texts without entities, similarities.")
    confidence: Distribution | None = Field(description="The probabilities of the decisions; null without any.")
    similarity: Distribution | None = Field(description="Between 0 and 1; null for tasks that give none.")
    tokens: Distribution | None = Field(description="The lengths of the answered records in tokens.")
    unknown_share: Distribution | None = Field(description="The share of each record's tokens without a known word.")
    in_windows: int = Field(description="Records that were read in several windows.")
    truncated: int = Field(description="Records of which some was not read.")
    corrected: int = Field(description="Records in which something was read otherwise than it is written.")
    review: int | None = Field(description="Records that a person should look at; null where it was not asked.")
    certificates: CertificateCounts | None = Field(description="Null where none was asked for.")
    failures: tuple[FailureCount, ...] = Field(description="By kind, most often first.")


def _tallies() -> dict[str, Tally]:
    shares = {name: Tally(SHARES, STEPS) for name in ("confidence", "similarity", "unknown_share")}
    return {**shares, "tokens": Tally(LENGTHS)}


@dataclass
class SummaryFold:
    """Outcomes, counted one at a time."""

    counts: Counter[str] = field(default_factory=Counter)
    """By the names that a summary has for them, and the records of which a review was asked as `reviewable`."""
    labels: Counter[str] = field(default_factory=Counter)
    certificates: Counter[str] = field(default_factory=Counter)
    """By the names of `CertificateCounts`."""
    tallies: dict[str, Tally] = field(default_factory=_tallies)
    failures: dict[FailureCode, FailureCount] = field(default_factory=dict)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count the outcome of the record with this number, from 1."""
        columns = outcome.columns
        self.counts["records"] += 1
        if REVIEW in columns:
            self.counts["reviewable"] += 1
            self.counts["review"] += columns[REVIEW]
        if outcome.code is not None:
            self._add_failure(FailureCount(code=outcome.code, records=1, first=number, example=columns[ERROR]))
        if outcome.is_answered:
            self._add_answer(columns)
            self._add_judgements(outcome.judgements)

    def merge(self, other: Self) -> None:
        """Count what `other` has counted, of other records of the same run."""
        self.counts.update(other.counts)
        self.labels.update(other.labels)
        self.certificates.update(other.certificates)
        for name, tally in other.tallies.items():
            self.tallies[name].merge(tally)
        for failure in other.failures.values():
            self._add_failure(failure)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON can hold them, for `merge` in another process."""
        return {
            "counts": dict(self.counts),
            "labels": dict(self.labels),
            "certificates": dict(self.certificates),
            "tallies": {name: sorted(tally.counted().items()) for name, tally in self.tallies.items()},
            "failures": [one.model_dump(mode="json") for one in self.failures.values()],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, behind: int = 0) -> Self:
        """The counts that `as_json` gave, of records that stand behind so many others."""
        fold = cls(Counter(values["counts"]), Counter(values["labels"]), Counter(values["certificates"]))
        for name, counted in values["tallies"].items():
            fold.tallies[name].add_counted(map(tuple, counted))
        for failure in map(FailureCount.model_validate, values["failures"]):
            fold.failures[failure.code] = failure.model_copy(update={"first": failure.first + behind})
        return fold

    def summary(self, model: ModelName) -> Summary:
        """The summary of all that was counted, which `model` answered."""
        counts, certificates = self.counts, self.certificates
        return Summary(
            model=model,
            records=counts["records"],
            answered=counts["answered"],
            labels=dict(sorted(self.labels.items(), key=lambda entry: (-entry[1], entry[0]))),
            without_decision=counts["without_decision"],
            in_windows=counts["in_windows"],
            truncated=counts["truncated"],
            corrected=counts["corrected"],
            review=counts["review"] if counts["reviewable"] else None,
            certificates=CertificateCounts(
                hold=certificates["hold"],
                nothing_to_edit=certificates["nothing_to_edit"],
                broken=certificates["broken"],
            )
            if certificates
            else None,
            failures=tuple(sorted(self.failures.values(), key=lambda one: (-one.records, one.code))),
            confidence=self.tallies["confidence"].distribution(),
            similarity=self.tallies["similarity"].distribution(),
            tokens=self.tallies["tokens"].distribution(),
            unknown_share=self.tallies["unknown_share"].distribution(),
        )

    def _add_answer(self, columns: Mapping[str, Any]) -> None:
        counts = self.counts
        counts["answered"] += 1
        counts["in_windows"] += columns["windows"] > 1
        counts["truncated"] += columns["truncated"]
        counts["corrected"] += "corrections" in columns
        self.tallies["tokens"].add(columns["tokens"])
        self.tallies["unknown_share"].add(columns["unknown_share"])
        if "normalized" in columns:
            self.tallies["similarity"].add(columns["normalized"])
        if "certificate" in columns:
            self.certificates[_kind_of(columns["certificate"])] += 1

    def _add_judgements(self, judgements: Sequence[Judgement]) -> None:
        self.counts["without_decision"] += not judgements
        for label, probability in judgements:
            self.tallies["confidence"].add(probability)
            if label is not None:
                self.labels[label] += 1

    def _add_failure(self, one: FailureCount) -> None:
        other = self.failures.get(one.code)
        if other is not None:
            first = min(one, other, key=lambda each: each.first)
            one = first.model_copy(update={"records": one.records + other.records})
        self.failures[one.code] = one


def _kind_of(certificate: Mapping[str, Any]) -> str:
    if not certificate["edits"]:
        return "nothing_to_edit"
    return "hold" if certificate["holds"] else "broken"
