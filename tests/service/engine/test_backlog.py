"""The rows that wait for one model, against a plain list of them, and the turns that they get."""

import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.backlog import Backlog
from service.engine.submission import QueuedRow, Submission
from tests.service.engine.fakes import OUTPUTS, rows_of

LENGTHS = st.lists(st.integers(1, 12) | st.integers(1, 300), min_size=1, max_size=8)
TENANTS = st.sampled_from(["one", "other", "third"])
STEPS = st.lists(
    st.tuples(st.just("add"), LENGTHS, st.sampled_from([OUTPUTS, ("logits", "rollout")]), st.integers(0, 40), TENANTS)
    | st.tuples(st.just("take"), st.integers(1, 600))
    | st.tuples(st.just("remove"), st.integers(0, 9))
    | st.tuples(st.just("pass time"), st.integers(1, 10)),
    max_size=40,
)


def submission_of(
    lengths: Sequence[int], outputs: tuple[str, ...] = OUTPUTS, deadline: float | None = None, tenant: str = ""
) -> Submission:
    return Submission(rows_of(*lengths), outputs, deadline, tenant)


def test_a_submission_is_late_at_its_deadline_and_not_before() -> None:
    backlog = Backlog(quantum=60)
    submission = submission_of([5], deadline=10.0)
    backlog.add(submission)
    assert backlog.take_late(9.9) == []
    assert backlog.take_late(10.0) == [submission]
    assert (backlog.rows, backlog.tokens) == (0, 0)


def test_without_a_deadline_nothing_is_late() -> None:
    backlog = Backlog(quantum=60)
    backlog.add(submission_of([5]))
    assert backlog.take_late(1e300) == []


@given(steps=STEPS)
def test_the_books_balance_and_every_row_leaves_once_by_one_way(steps: list[tuple[object, ...]]) -> None:
    backlog = Backlog(quantum=60)
    waiting: list[tuple[Submission, int]] = []  # by age
    submissions: list[Submission] = []
    now = 0.0
    for step in steps:
        match step:
            case ("add", list() as lengths, tuple() as outputs, int() as patience, str() as tenant):
                submissions.append(submission_of(lengths, outputs, now + patience, tenant))
                backlog.add(submissions[-1])
                waiting += [(submissions[-1], position) for position in range(len(lengths))]
            case ("take", int() as budget):
                if not waiting:
                    assert not backlog.rows
                    continue
                first = backlog.next()
                taken = backlog.take(first, budget)
                backlog.charge(taken)
                batch = [(each.submission, each.position) for each in taken]
                assert batch[0] == next(each for each in waiting if each[0] is first), "its first row goes first"
                lengths = [len(submission.rows[position]) for submission, position in batch]
                assert len(batch) <= 1 or max(lengths) * len(batch) <= budget
                assert len({submission.outputs for submission, _ in batch}) <= 1
                assert len(set(batch)) == len(batch)
                assert set(batch) <= set(waiting)
                waiting = [each for each in waiting if each not in batch]
            case ("remove", int() as number) if number < len(submissions):
                backlog.remove(submissions[number])
                waiting = [each for each in waiting if each[0] is not submissions[number]]
            case ("pass time", int() as seconds):
                now += seconds
                late = backlog.take_late(now)
                assert late == list(
                    dict.fromkeys(submission for submission, _ in waiting if submission.deadline <= now)
                )
                waiting = [each for each in waiting if each[0] not in late]
        assert backlog.rows == len(waiting)
        assert backlog.tokens == sum(len(submission.rows[position]) for submission, position in waiting)
    assert backlog.clear() == list(dict.fromkeys(submission for submission, _ in waiting))


QUANTUM = 60
MANY = st.lists(
    st.tuples(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(0, 50), TENANTS),
    min_size=1,
    max_size=12,
)


def take(backlog: Backlog, budget: int = QUANTUM) -> tuple[list[QueuedRow], int]:
    """One turn: the batch, and its tokens with padding."""
    batch = backlog.take(backlog.next(), budget)
    backlog.charge(batch)
    return batch, max(len(each.row) for each in batch) * len(batch)


def backlog_of(requests: Sequence[tuple[Sequence[int], int, str]]) -> Backlog:
    backlog = Backlog(QUANTUM)
    for lengths, deadline, tenant in requests:
        backlog.add(submission_of(lengths, deadline=float(deadline), tenant=tenant))
    return backlog


@given(requests=MANY, turns=st.integers(0, 30), length=st.integers(1, 60))
def test_a_short_request_of_a_new_caller_waits_for_at_most_a_turn_of_each_other(
    requests: list[tuple[list[int], int, str]], turns: int, length: int
) -> None:
    backlog = backlog_of(requests)
    for _ in range(turns):
        if backlog.rows:
            take(backlog)
    others = len(backlog.tenants)
    short = submission_of([length], tenant="new")
    backlog.add(short)
    for _ in range(others + 1):
        batch, _ = take(backlog)
        if any(each.submission is short for each in batch):
            return
    raise AssertionError("the short request waited longer")


@given(requests=MANY, turns=st.integers(0, 30), length=st.integers(1, 60))
def test_a_short_request_waits_for_a_few_turns_of_longer_ones_of_its_own_caller(
    requests: list[tuple[list[int], int, str]], turns: int, length: int
) -> None:
    backlog = backlog_of([(lengths, deadline, "same") for lengths, deadline, _ in requests if sum(lengths) > QUANTUM])
    for _ in range(turns):
        if backlog.rows:
            take(backlog)
    longer = len(backlog.tenants["same"].sizes) if backlog.rows else 0
    short = submission_of([length], deadline=1e9, tenant="same")
    backlog.add(short)
    before = 0
    while backlog.rows:
        batch, tokens = take(backlog)
        if any(each.submission is short for each in batch):
            break
        before += tokens
    # A class may lag by one turn and get one more; a row may be longer than a quantum.
    assert before <= longer * 2 * 100


@given(lengths=st.lists(st.sampled_from([10, 30, 60, 100]), min_size=1, max_size=20))
def test_two_callers_with_much_to_do_get_as_many_tokens(lengths: list[int]) -> None:
    # The other's rows are too long to share a batch with these.
    backlog = backlog_of([(lengths * 40, 50, "one"), ([200] * 400, 50, "other")])
    served = {"one": 0, "other": 0}
    while len(backlog.tenants) == 2:
        batch, tokens = take(backlog)
        served[batch[0].submission.tenant] += tokens
        assert abs(served["one"] - served["other"]) <= 200 + 100


@given(strides=st.lists(st.integers(1, 60), min_size=60, max_size=60))
def test_short_requests_that_come_ever_anew_starve_no_long_one(strides: list[int]) -> None:
    backlog = backlog_of([([100] * 1_000, 50, "same")])
    long = short = 0
    for length in strides:
        backlog.add(submission_of([length] * (QUANTUM // length), deadline=50.0, tenant="same"))
        batch, tokens = take(backlog)
        is_long = batch[0].submission.tokens > QUANTUM
        long, short = long + is_long * tokens, short + (not is_long) * tokens
        assert short <= long + 2 * 100


def test_whoever_rides_in_the_turns_of_others_is_put_back_by_a_quantum_at_most() -> None:
    backlog = backlog_of([([10] * 500, 50, "rider"), *[([10], 50, "driver")] * 40])
    for _ in range(20):
        take(backlog)
    backlog.add(submission_of([300] * 20, tenant="driver"))
    led = []
    for _ in range(6):
        batch, tokens = take(backlog, 1)
        led.append((batch[0].submission.tenant, tokens))
    assert "rider" in [tenant for tenant, _ in led[:4]]


def test_of_requests_of_one_size_the_earliest_deadline_is_first() -> None:
    backlog = backlog_of([([5], 30, "same"), ([50], 10, "same"), ([20], 20, "same"), ([300] * 2, 40, "same")])
    assert [len(take(backlog)[0][0].row) for _ in range(5)] == [50, 300, 20, 5, 300]


def test_rows_without_a_deadline_are_overtaken_for_a_minute_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.submission.time.monotonic", lambda: 100.0)
    backlog = Backlog(QUANTUM)
    for deadline in (170.0, None, 150.0):
        backlog.add(submission_of([5 if deadline is None else 30], deadline=deadline))
    assert [len(take(backlog)[0][0].row) for _ in range(2)] == [30, 5]


def test_requests_that_left_are_not_held() -> None:
    backlog = Backlog(quantum=100)
    first = Submission(rows_of(5), OUTPUTS, 1.0)
    backlog.add(first)
    left = []
    for _ in range(100):
        later = Submission(rows_of(5), OUTPUTS, 1_000.0)
        left.append(weakref.ref(later))
        backlog.add(later)
        backlog.remove(later)
        del later
    assert sum(each() is not None for each in left) <= 2
    assert backlog.next() is first
