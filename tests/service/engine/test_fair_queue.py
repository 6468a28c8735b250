"""Which flow is served next, and that none is served more than its share."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from service.engine.fair_queue import FairQueue

COSTS = st.integers(1, 500)


def test_the_flow_served_least_comes_next() -> None:
    queue: FairQueue[str] = FairQueue()
    for flow in "ab":
        queue.begin(flow)
    queue.charge("a", 10)
    assert queue.next("ab") == "b"


def test_no_flow_is_next_when_none_waits() -> None:
    assert FairQueue[str]().next([]) is None


def test_a_pause_is_not_saved_up() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.begin("a")
    for _ in range(100):
        queue.charge("a", 10)
    queue.begin("b")
    served = []
    for _ in range(10):
        served.append(queue.next("ab"))
        queue.charge(served[-1] or "", 10)
    assert served.count("a") == 5


def test_a_debt_is_not_forgotten_by_a_pause() -> None:
    queue: FairQueue[str] = FairQueue()
    for flow in "ab":
        queue.begin(flow)
    queue.charge("a", 1_000)
    queue.begin("a")
    assert queue.next("ab") == "b"


@given(costs=st.lists(st.tuples(COSTS, COSTS, COSTS), min_size=1, max_size=60))
def test_two_waiting_flows_differ_by_at_most_a_turn_of_each(costs: list[tuple[int, int, int]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for flow in range(3):
        queue.begin(flow)
    served: list[list[int]] = [[], [], []]
    for cost in costs:
        chosen = queue.next(range(3))
        assert chosen is not None
        queue.charge(chosen, cost[chosen])
        for each in range(3):
            served[each].append(cost[each] if each == chosen else 0)
    # In every stretch of turns, so the span of the difference of the running sums counts.
    for one, other in ((0, 1), (0, 2), (1, 2)):
        ahead = list(accumulate((a - b for a, b in zip(served[one], served[other], strict=True)), initial=0))
        assert max(ahead) - min(ahead) <= max(served[one]) + max(served[other])
