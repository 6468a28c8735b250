"""Many searches side by side: what they ask about is answered together, in batches that a model computes fast."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from models.attack.outcomes import Outcome
from models.attack.search import Answer, Search
from models.tasks.task import Item

Submit = Callable[[Sequence[Item]], Callable[[], Sequence[Answer]]]
"""Hands in items without waiting; the function that it returns waits for their answers."""

SEARCHES = 32
"""Searches whose items are handed in together. There are twice as many, because while one half is computed the other
half is judged and asks anew."""


@dataclass
class _Wave:
    """Searches that wait together for answers, each with its number and the items that it asks about."""

    searches: list[tuple[int, Search, Sequence[Item]]]
    wait: Callable[[], Sequence[Answer]]


def run_searches(searches: Iterable[Search], submit: Submit) -> Iterator[Outcome]:
    """The outcomes in the order of the searches, each as soon as it and all before it are there."""
    waiting = enumerate(searches)
    waves = deque(filter(None, (_start(islice(waiting, SEARCHES), submit) for _ in range(2))))
    found: dict[int, Outcome] = {}
    following = 0
    while waves:
        wave = waves.popleft()
        going = []
        answers = iter(wave.wait())
        for number, search, items in wave.searches:
            try:
                going.append((number, search, search.send(list(islice(answers, len(items))))))
            except StopIteration as end:
                found[number] = end.value
        going += [(number, search, next(search)) for number, search in islice(waiting, SEARCHES - len(going))]
        if going:
            waves.append(_hand_in(going, submit))
        while following in found:
            yield found.pop(following)
            following += 1


def _start(searches: Iterable[tuple[int, Search]], submit: Submit) -> _Wave | None:
    going = [(number, search, next(search)) for number, search in searches]
    return _hand_in(going, submit) if going else None


def _hand_in(going: list[tuple[int, Search, Sequence[Item]]], submit: Submit) -> _Wave:
    return _Wave(going, submit([item for _, _, items in going for item in items]))
