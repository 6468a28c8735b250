"""Attacks a model with one family of edits after another, and sums up what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from models.attack.lockstep import run_searches
from models.attack.outcomes import Outcome
from models.attack.report import AttackFigures, any_of, sum_up
from models.attack.search import Alike, Attack, attack_item
from models.attack.settings import AttackSettings
from models.attack.subjects import Subject
from models.edits import find_family
from models.errors import UserError
from service.attacks.victims import Victim

ANY = "any"
"""The name of all attacks together, of which a record must withstand each."""

TRANSFERRED_AT_ONCE = 256


class OtherAnswers(UserError):
    """A twin that does not answer as the model under attack does."""


@dataclass(frozen=True)
class Campaign:
    """The attacks on one model, in turn, each on the same records."""

    victim: Victim
    subjects: Sequence[Subject]
    attacks: Sequence[AttackSettings]
    alike: Alike | None = None

    def check_twin(self, twin: Victim) -> None:
        """Refuse a twin for another task, or one that lacks a label of the model under attack; raises OtherAnswers."""
        task, labels = self.victim.task, self.victim.outputs.labels
        if twin.task is not task:
            raise OtherAnswers(f"{twin.name} answers {twin.task.name}; name a twin for {task.name}")
        missing = [label for label in labels if label not in twin.outputs.labels]
        if missing:
            raise OtherAnswers(f"{twin.name} never answers {', '.join(missing)}; name a twin with the same labels")

    @property
    def size(self) -> int:
        """Number of outcomes."""
        return len(self.subjects) * len(self.attacks)

    def run(self, done: int = 0) -> Iterator[Outcome]:
        """The outcomes of the first attack on every record, then of the next; `done` of them are left out."""
        victim = self.victim
        attacks = (Attack(settings, find_family(settings.family), victim.task, self.alike) for settings in self.attacks)
        searches = (attack_item(subject, attack) for attack in attacks for subject in self.subjects)
        return run_searches(islice(searches, done, None), victim.submit)

    def sum_up(self, outcomes: Sequence[Outcome], twin: Victim | None = None) -> list[AttackFigures]:
        """The figures of each attack, over as many records as it got to, and of all together where there are several.

        With a `twin`, each attack's texts that fooled the model are tried on it.
        """
        count = len(self.subjects)
        by_attack = [outcomes[start : start + count] for start in range(0, len(outcomes), count)]
        figures = [
            sum_up(settings.family, settings.words, found, None if twin is None else self._transfer(found, twin))
            for settings, found in zip(self.attacks, by_attack, strict=False)
        ]
        if len(figures) > 1:
            done = min(map(len, by_attack))
            budgets = dict.fromkeys(settings.words for settings in self.attacks)
            together = any_of([found[:done] for found in by_attack])
            figures.append(sum_up(ANY, ", ".join(budgets), together))
        return figures

    def _transfer(self, outcomes: Sequence[Outcome], twin: Victim) -> float | None:
        """The share of texts that fooled the model which fool the twin, of those that it answers rightly unchanged."""
        fooled = [
            (subject, outcome.made)
            for subject, outcome in zip(self.subjects, outcomes, strict=False)
            if outcome.status == "fooled"
        ]
        verdicts: list[bool] = []
        for start in range(0, len(fooled), TRANSFERRED_AT_ONCE):
            chosen = fooled[start : start + TRANSFERRED_AT_ONCE]
            firsts = twin.submit([subject.item for subject, _ in chosen])()
            answers = twin.submit([subject.changed(edits) for subject, edits in chosen])()
            for (subject, edits), first, answer in zip(chosen, firsts, answers, strict=True):
                if first is None or answer is None or not subject.judge(first, first, ()).is_right:
                    continue
                verdicts.append(not subject.judge(first, answer, edits).is_right)
        return sum(verdicts) / len(verdicts) if verdicts else None
