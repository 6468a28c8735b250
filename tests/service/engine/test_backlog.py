"""What waits, as a list that anybody could check."""

from collections.abc import Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from models.text import Row
from service.engine.backlog import Backlog
from service.engine.submission import Submission

OUTPUTS = ("logits",)
LENGTHS = st.lists(st.integers(1, 12) | st.integers(1, 300), min_size=1, max_size=8)
STEPS = st.lists(
    st.tuples(st.just("add"), LENGTHS, st.sampled_from([OUTPUTS, ("logits", "rollout")]), st.integers(0, 40))
    | st.tuples(st.just("take"), st.integers(1, 600))
    | st.tuples(st.just("remove"), st.integers(0, 9))
    | st.tuples(st.just("pass time"), st.integers(1, 10)),
    max_size=40,
)


class Bar:
    """A row of a given length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def order_of(lengths: Sequence[int], outputs: tuple[str, ...] = OUTPUTS, deadline: float | None = None) -> Submission:
    return Submission(cast(list[Row], [Bar(length) for length in lengths]), outputs, deadline)


def test_an_order_is_late_at_its_deadline_and_not_before() -> None:
    backlog = Backlog()
    order = order_of([5], deadline=10.0)
    backlog.add(order)
    assert backlog.take_late(9.9) == []
    assert backlog.take_late(10.0) == [order]
    assert (backlog.rows, backlog.tokens) == (0, 0)


def test_without_a_deadline_nothing_is_late() -> None:
    backlog = Backlog()
    backlog.add(order_of([5]))
    assert backlog.take_late(1e300) == []


@given(steps=STEPS)
def test_the_books_balance_and_every_row_leaves_once_by_its_own_door(steps: list[tuple[object, ...]]) -> None:
    backlog = Backlog()
    waiting: list[tuple[Submission, int]] = []  # by age
    orders: list[Submission] = []
    now = 0.0
    for step in steps:
        match step:
            case ("add", list() as lengths, tuple() as outputs, int() as patience):
                orders.append(order_of(lengths, outputs, now + patience))
                backlog.add(orders[-1])
                waiting += [(orders[-1], position) for position in range(len(lengths))]
            case ("take", int() as budget):
                batch = [(each.order, each.position) for each in backlog.take(budget)]
                assert batch[:1] == waiting[:1], "the oldest row goes first"
                lengths = [len(order.rows[position]) for order, position in batch]
                assert len(batch) <= 1 or max(lengths) * len(batch) <= budget
                assert len({order.outputs for order, _ in batch}) <= 1
                assert len(set(batch)) == len(batch)
                assert set(batch) <= set(waiting)
                waiting = [each for each in waiting if each not in batch]
            case ("remove", int() as number) if number < len(orders):
                backlog.remove(orders[number])
                waiting = [each for each in waiting if each[0] is not orders[number]]
            case ("pass time", int() as seconds):
                now += seconds
                late = backlog.take_late(now)
                assert late == list(dict.fromkeys(order for order, _ in waiting if order.deadline <= now))
                waiting = [each for each in waiting if each[0] not in late]
        assert backlog.rows == len(waiting)
        assert backlog.tokens == sum(len(order.rows[position]) for order, position in waiting)
    assert backlog.clear() == list(dict.fromkeys(order for order, _ in waiting))
