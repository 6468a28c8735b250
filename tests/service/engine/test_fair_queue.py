"""Fair turns."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from service.engine.fair_queue import FairQueue

COSTS = st.integers(1, 500)


def test_who_was_served_least_comes_next() -> None:
    turns: FairQueue[str] = FairQueue()
    for who in "ab":
        turns.begin(who)
    turns.charge("a", 10)
    assert turns.next("ab") == "b"


def test_where_nobody_waits_it_is_nobodys_turn() -> None:
    assert FairQueue[str]().next([]) is None


def test_a_pause_is_not_saved_up() -> None:
    turns: FairQueue[str] = FairQueue()
    turns.begin("a")
    for _ in range(100):
        turns.charge("a", 10)
    turns.begin("b")
    served = []
    for _ in range(10):
        served.append(turns.next("ab"))
        turns.charge(served[-1] or "", 10)
    assert served.count("a") == 5


def test_a_debt_is_not_forgotten_by_a_pause() -> None:
    turns: FairQueue[str] = FairQueue()
    for who in "ab":
        turns.begin(who)
    turns.charge("a", 1_000)
    turns.begin("a")
    assert turns.next("ab") == "b"


@given(costs=st.lists(st.tuples(COSTS, COSTS, COSTS), min_size=1, max_size=60))
def test_no_two_who_wait_grow_apart_by_more_than_a_turn_of_each(costs: list[tuple[int, int, int]]) -> None:
    turns: FairQueue[int] = FairQueue()
    for who in range(3):
        turns.begin(who)
    served: list[list[int]] = [[], [], []]
    for cost in costs:
        chosen = turns.next(range(3))
        assert chosen is not None
        turns.charge(chosen, cost[chosen])
        for each in range(3):
            served[each].append(cost[each] if each == chosen else 0)
    # In every stretch of turns, so the span of the difference of the running sums counts.
    for one, other in ((0, 1), (0, 2), (1, 2)):
        ahead = list(accumulate((a - b for a, b in zip(served[one], served[other], strict=True)), initial=0))
        assert max(ahead) - min(ahead) <= max(served[one]) + max(served[other])
