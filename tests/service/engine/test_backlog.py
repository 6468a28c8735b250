"""The rows that wait for one model, against a plain list of them."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from service.engine.backlog import Backlog
from service.engine.submission import Submission
from tests.service.engine.fakes import OUTPUTS, rows_of

LENGTHS = st.lists(st.integers(1, 12) | st.integers(1, 300), min_size=1, max_size=8)
STEPS = st.lists(
    st.tuples(st.just("add"), LENGTHS, st.sampled_from([OUTPUTS, ("logits", "rollout")]), st.integers(0, 40))
    | st.tuples(st.just("take"), st.integers(1, 600))
    | st.tuples(st.just("remove"), st.integers(0, 9))
    | st.tuples(st.just("pass time"), st.integers(1, 10)),
    max_size=40,
)


def submission_of(
    lengths: Sequence[int], outputs: tuple[str, ...] = OUTPUTS, deadline: float | None = None
) -> Submission:
    return Submission(rows_of(*lengths), outputs, deadline)


def test_a_submission_is_late_at_its_deadline_and_not_before() -> None:
    backlog = Backlog()
    submission = submission_of([5], deadline=10.0)
    backlog.add(submission)
    assert backlog.take_late(9.9) == []
    assert backlog.take_late(10.0) == [submission]
    assert (backlog.rows, backlog.tokens) == (0, 0)


def test_without_a_deadline_nothing_is_late() -> None:
    backlog = Backlog()
    backlog.add(submission_of([5]))
    assert backlog.take_late(1e300) == []


@given(steps=STEPS)
def test_the_books_balance_and_every_row_leaves_once_by_one_way(steps: list[tuple[object, ...]]) -> None:
    backlog = Backlog()
    waiting: list[tuple[Submission, int]] = []  # by age
    submissions: list[Submission] = []
    now = 0.0
    for step in steps:
        match step:
            case ("add", list() as lengths, tuple() as outputs, int() as patience):
                submissions.append(submission_of(lengths, outputs, now + patience))
                backlog.add(submissions[-1])
                waiting += [(submissions[-1], position) for position in range(len(lengths))]
            case ("take", int() as budget):
                batch = [(each.submission, each.position) for each in backlog.take(budget)]
                assert batch[:1] == waiting[:1], "the oldest row goes first"
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
