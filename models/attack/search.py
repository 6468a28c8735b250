"""Searches for the edits of one item that fool a model, each as a generator that asks about changed items.

A search yields the items that it asks about and is sent their answers. So many searches go on side by side, and the
items of all of them are answered together.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from models.attack.outcomes import Outcome, WordEdit
from models.attack.settings import AttackSettings, budget
from models.attack.subjects import Subject
from models.attack.words import Edit, Edits, Place, candidates, find_places
from models.edits.family import Family
from models.edits.synonyms import count_words
from models.tasks.task import READ_AT_TOKENS, AnyTask, Item

Answer = Any
"""An answer of the task's own type; None where the item could not be read."""

Search = Generator[Sequence[Item], Sequence[Answer], Outcome]

Alike = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""Takes pairs of texts and returns how alike each pair is, from 0 to 1."""

LEFT_OUT = "…"
"""Stands for a word that is left out where every other word must keep its place."""

CHUNK = 128
"""Items that an exhaustive search asks about at once."""


@dataclass(frozen=True)
class Attack:
    """An attack, with all that its searches share."""

    settings: AttackSettings
    family: Family
    task: AnyTask
    alike: Alike | None = None
    """Measures similarity, where the settings bound it or it is to be reported."""

    def candidates(self, subject: Subject, place: Place) -> Sequence[str]:
        """The words that may take the place of one."""
        # Not the model's digest: the same edits are drawn for models that are compared.
        key = f"{self.settings.seed}/{self.settings.family}/{place.field}"
        found = candidates(subject.texts[place.field], place.span, self.family, self.settings.candidates, key)
        # Right answers of some tasks stand at words; there, one word must stay one.
        return found if self.task.example is None else [word for word in found if not any(map(str.isspace, word))]

    def as_json(self, answer: Answer) -> dict[str, Any]:
        """The fields of the answer, without those that say how it was computed."""
        values: dict[str, Any] = answer.model_dump(mode="json", include=set(self.task.answer.model_fields))
        return values


class _State(NamedTuple):
    """A changed item, and the model's support for its right answer."""

    edits: Edits
    support: float
    answer: Answer
    is_right: bool


def attack_item(subject: Subject, attack: Attack) -> Search:
    """Ask about the item as it was; where the answer is right, search for edits that make it wrong."""
    (first,) = yield [subject.item]
    number = subject.source.record.number
    if first is None:
        return Outcome(record=number, status="unread", queries=1)
    run = _Run(subject, attack, first)
    start = run.judge((), first)
    if not start.is_right:
        return Outcome(record=number, status="wrong", queries=1, before=attack.as_json(first))
    best = yield from (run.exhaustive() if attack.settings.search == "exhaustive" else run.beam(start))
    return run.sum_up(best)


class _Run:
    """One search, and the queries that it has made."""

    def __init__(self, subject: Subject, attack: Attack, first: Answer) -> None:
        self._subject = subject
        self._attack = attack
        self._first = first
        self._queries = 1
        self._exhausted = False
        self._text = " ".join(subject.texts.values())
        settings = attack.settings
        kept = subject.goal.kept if "names" in settings.barred else ()
        self._places = find_places(subject.texts, attack.family, kept, settings.barred, subject.others)

    def beam(self, start: _State) -> Generator[Sequence[Item], Sequence[Answer], _State | None]:
        """Go through the words from the most important on, and keep the best texts so far; greedy is a beam of one."""
        settings = self._attack.settings
        width = 1 if settings.search == "greedy" else settings.beam
        most = budget(settings.words, self._text)
        states = [start]
        for place in (yield from self._rank()):
            growing = [state.edits for state in states if len(state.edits) < most]
            if not growing or self._exhausted:
                break
            words = self._attack.candidates(self._subject, place)
            tried = yield from self._try([(*edits, Edit(place, word)) for edits in growing for word in words])
            fooled = [state for state in tried if not state.is_right]
            if fooled:
                return min(fooled, key=_support)
            # Stable: of equal texts the one with fewer edits, and then the first.
            states = sorted([*states, *tried], key=_support)[:width]
        return None

    def exhaustive(self) -> Generator[Sequence[Item], Sequence[Answer], _State | None]:
        """Try every edit of one word in reading order until one fools the model."""
        attack, subject = self._attack, self._subject
        every = ((Edit(place, word),) for place in self._places for word in attack.candidates(subject, place))
        while chunk := list(islice(every, CHUNK)):
            tried = yield from self._try(chunk)
            fooled = next((state for state in tried if not state.is_right), None)
            if fooled or self._exhausted:
                return fooled
        return None

    def judge(self, edits: Edits, answer: Answer) -> _State:
        """How an answer to the item with these edits stands beside the right one."""
        if answer is None:
            return _State(edits, 0.0, None, is_right=True)
        standing = self._subject.judge(self._first, answer, edits)
        return _State(edits, standing.support, answer, standing.is_right)

    def sum_up(self, found: _State | None) -> Outcome:
        """The outcome, with what fooled the model if anything did."""
        subject = self._subject
        held = Outcome(
            record=subject.source.record.number,
            status="held",
            queries=self._queries,
            words=count_words(self._text),
            exhausted=self._exhausted,
            before=self._attack.as_json(self._first),
        )
        if found is None:
            return held
        fooled = {
            "status": "fooled",
            "exhausted": False,
            "edits": tuple(_describe(subject, edit) for edit in sorted(found.edits)),
            "after": self._attack.as_json(found.answer),
            "similarity": None if self._attack.alike is None else self._likeness([found.edits])[0],
        }
        return held.model_copy(update=fooled)

    def _rank(self) -> Generator[Sequence[Item], Sequence[Answer], list[Place]]:
        """The words in the order in which leaving one out lowers the support; ties in reading order."""
        if len(self._places) < 2:
            return self._places
        left_out = LEFT_OUT if self._attack.task.head in READ_AT_TOKENS else ""
        states = yield from self._ask([(Edit(place, left_out),) for place in self._places])
        support = {state.edits[0].place: state.support for state in states}
        # An item that cannot be read without a word rests on it.
        return sorted(support, key=support.__getitem__)

    def _try(self, edits: Sequence[Edits]) -> Generator[Sequence[Item], Sequence[Answer], list[_State]]:
        """Ask about the changed items that are similar enough."""
        least = self._attack.settings.min_similarity
        if least is not None and edits:
            edits = [one for one, alike in zip(edits, self._likeness(edits), strict=True) if alike >= least]
        states = yield from self._ask(edits)
        return [state for state in states if state.answer is not None]

    def _ask(self, edits: Sequence[Edits]) -> Generator[Sequence[Item], Sequence[Answer], list[_State]]:
        """Ask about changed items, as far as the queries last; the support of one that cannot be read is 0."""
        left = self._attack.settings.queries - self._queries
        if len(edits) > left:
            edits, self._exhausted = edits[:left], True
        if not edits:
            return []
        self._queries += len(edits)
        answers = yield [self._subject.changed(one) for one in edits]
        return [self.judge(one, answer) for one, answer in zip(edits, answers, strict=True)]

    def _likeness(self, edits: Sequence[Edits]) -> Sequence[float]:
        assert self._attack.alike is not None, "settings that bound similarity come with what measures it"
        changed = [self._subject.changed(one) for one in edits]
        texts = self._subject.texts
        return self._attack.alike([(self._text, " ".join(getattr(item, field) for field in texts)) for item in changed])


def _support(state: _State) -> float:
    return state.support


def _describe(subject: Subject, edit: Edit) -> WordEdit:
    field, (start, end) = edit.place.field, edit.place.span
    return WordEdit(field=field, start=start, end=end, text=subject.texts[field][start:end], to=edit.word)
