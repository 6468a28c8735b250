"""Which rows are let in: by the room of each tenant, and by the measured pace."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.admission import (
    TENANTS_WITH_ROOM,
    has_room,
    overload,
    refuse_late,
    refuse_unreachable,
    tokens_until_done,
)
from service.engine.backlog import Backlog
from service.engine.demand import Demand, Densities, Density, Load
from service.engine.errors import DeadlineUnreachable, Overloaded
from service.engine.limits import EngineLimits
from service.engine.submission import Submission
from service.engine.tenant_backlog import size_class
from service.engine.throughput import FORGET_S, Throughput
from tests.service.engine.fakes import OUTPUTS, rows_of

LIMITS = EngineLimits(queued_rows=10, queued_tokens=1_000)
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["one", "other", "third"]), st.lists(st.integers(1, 300), min_size=1, max_size=10)),
    max_size=12,
)


def submission_of(tenant: str, lengths: Sequence[int]) -> Submission:
    return Submission(rows_of(*lengths), OUTPUTS, None, tenant)


def backlog_of(*requests: tuple[str, Sequence[int]]) -> Backlog:
    backlog = Backlog(quantum=100)
    for tenant, lengths in requests:
        backlog.add(submission_of(tenant, lengths))
    return backlog


def demand(tenant: str, rows: int, tokens: int) -> Demand:
    return Demand(tenant, rows, tokens, size_class(tokens, 100))


@pytest.fixture
def throughput() -> Throughput:
    """A hundred tokens a second."""
    throughput = Throughput()
    throughput.add(100, 1.0)
    return throughput


def test_a_flood_of_one_tenant_leaves_the_others_their_room() -> None:
    backlog = backlog_of(("one", [5] * 500), ("other", [5] * 9))
    assert not has_room(backlog, LIMITS, demand("one", 1, 2_500))
    assert has_room(backlog, LIMITS, demand("other", 1, 5))
    assert not has_room(backlog, LIMITS, demand("other", 2, 10))


def test_one_request_without_bounds_takes_no_room_from_many_light_tenants() -> None:
    light = [(f"tenant {number}", [5] * 2) for number in range(10)]
    assert has_room(backlog_of(*light), LIMITS, demand("tenant 0", 3, 15))
    # It was let in because nothing of its tenant waited.
    assert has_room(backlog_of(*light, ("one", [2] * 500)), LIMITS, demand("tenant 0", 3, 15))


@pytest.mark.parametrize(("rows", "tokens", "fits"), [(5, 900, True), (6, 900, False), (5, 901, False)])
def test_both_rows_and_tokens_must_fit(rows: int, tokens: int, fits: bool) -> None:
    assert has_room(backlog_of(("one", [20] * 5)), LIMITS, demand("one", rows, tokens)) == fits


def test_a_tenant_without_rows_has_room_for_any() -> None:
    assert has_room(backlog_of(("one", [5] * 500)), LIMITS, demand("other", 500, 5_000))


def test_long_requests_take_no_room_from_shorter_ones() -> None:
    backlog = backlog_of(("one", [100] * 500))
    assert has_room(backlog, LIMITS, demand("one", 1, 5))
    assert not has_room(backlog, LIMITS, Demand("one")), "all count where no size is given"
    backlog.add(submission_of("one", [5] * 10))
    assert not has_room(backlog, LIMITS, demand("one", 1, 5))


def test_when_many_tenants_fill_their_queues_each_has_an_equal_part() -> None:
    crowd = [(str(number), [1] * 5) for number in range(2 * TENANTS_WITH_ROOM)]
    assert not has_room(backlog_of(*crowd), LIMITS, demand("0", 1, 1))
    assert has_room(backlog_of(*crowd[1:]), LIMITS, demand("1", 1, 1))


def test_the_wait_of_who_has_no_room_counts_the_turns_of_others(throughput: Throughput) -> None:
    backlog = backlog_of(("one", [100] * 10), ("other", [100] * 50), ("third", [100]))
    refusal = overload(backlog, throughput, demand("one", 1, 1_000), threads=2)
    assert (str(refusal), refusal.retry_after_s) == ("10 rows are waiting already; try again later", 11)


def test_work_that_takes_too_long_even_alone_is_refused_for_good(throughput: Throughput) -> None:
    with pytest.raises(
        DeadlineUnreachable,
        match=r"40 rows of 4,000 tokens together take 20 s even when nothing else waits, and the request allows 9\.0 s",
    ):
        refuse_unreachable(throughput, demand("one", 40, 4_000), quantum=100, left_s=9.0, all_threads=2)
    refuse_unreachable(throughput, demand("one", 40, 4_000), quantum=100, left_s=20.0, all_threads=2)


def test_one_row_is_computed_by_one_thread(throughput: Throughput) -> None:
    with pytest.raises(DeadlineUnreachable):
        refuse_unreachable(throughput, demand("one", 1, 1_000), quantum=100, left_s=9.0, all_threads=8)


def test_a_batch_that_took_long_makes_no_work_hopeless(throughput: Throughput) -> None:
    throughput.add(100, 3_600.0)
    refuse_unreachable(throughput, demand("one", 10, 1_000), quantum=100, left_s=10.0, all_threads=1)


def test_what_fits_one_batch_is_tried_when_nothing_waits(throughput: Throughput) -> None:
    refuse_unreachable(throughput, demand("one", 2, 100), quantum=100, left_s=0.001, all_threads=1)
    refuse_late(Backlog(100), throughput, demand("one", 2, 100), 0.001, 1)


def test_before_anything_is_measured_and_long_after_nothing_is_hopeless(
    throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(measured: Throughput) -> None:
        refuse_unreachable(measured, demand("one", 40, 4_000), quantum=100, left_s=0.001, all_threads=1)

    ask(Throughput())
    now = 1e9
    monkeypatch.setattr("service.engine.throughput.time.monotonic", lambda: now)
    throughput.add(100, 1.0)
    now += FORGET_S - 1
    with pytest.raises(DeadlineUnreachable):
        ask(throughput)
    now += 1
    ask(throughput)


def test_work_that_would_come_too_late_is_told_when_to_come_again(throughput: Throughput) -> None:
    backlog = backlog_of(*[("one", [100] * 10)] * 3)
    with pytest.raises(Overloaded, match="an answer would take 40 s, and the request allows 25 s") as refusal:
        refuse_late(backlog, throughput, demand("one", 10, 1_000), 25.0, 1)
    assert refusal.value.retry_after_s == 15
    while backlog.tokens > 15 * 100:
        backlog.charge(backlog.take(backlog.next(), 100))
    refuse_late(backlog, throughput, demand("one", 10, 1_000), 25.0, 1)


def test_a_short_request_is_not_refused_for_a_long_one_that_waits(throughput: Throughput) -> None:
    for tenant in ("one", "other"):
        refuse_late(backlog_of(("one", [100] * 1_000)), throughput, demand(tenant, 1, 50), 1.0, 1)


@given(requests=REQUESTS, tenant=st.sampled_from(["one", "new"]), lengths=st.lists(st.integers(1, 300), min_size=1))
def test_nothing_takes_more_turns_than_was_foreseen(
    requests: list[tuple[str, list[int]]], tenant: str, lengths: list[int]
) -> None:
    backlog = backlog_of(*requests)
    last = submission_of(tenant, lengths)
    foreseen = tokens_until_done(backlog, Demand.of(last, backlog.quantum))
    assert last.tokens <= foreseen <= backlog.tokens + last.tokens
    backlog.add(last)
    served, left = 0, len(last.rows)
    while left:
        # One row at a time: no padding, and nobody rides in another's turn.
        (queued,) = batch = backlog.take(backlog.next(), 1)
        backlog.charge(batch)
        served += len(queued.row)
        left -= queued.submission is last
    # A flow may be ahead by one turn, of a caller and of a size: no row is longer than 300.
    assert served <= foreseen + 300 * (len(requests) + 3)


def test_what_is_being_read_counts_as_though_it_waited(throughput: Throughput) -> None:
    backlog = Backlog(quantum=100)
    for tenant in ("one", "other"):
        backlog.expected.add(demand(tenant, 9, 900))
    assert not has_room(backlog, LIMITS, demand("one", 2, 900))
    assert has_room(backlog, LIMITS, demand("one", 1, 100)), "shorter ones need not wait for it"
    assert has_room(backlog, LIMITS, demand("third", 10, 1_000))
    assert tokens_until_done(backlog, demand("third", 10, 1_000)) == 2_800
    with pytest.raises(Overloaded, match="about 18 rows are being read already, so that an answer would take 28 s"):
        refuse_late(backlog, throughput, demand("third", 10, 1_000), 27.0, 1)
    backlog.expected.remove(demand("one", 9, 900))
    assert backlog.loads_by_tenant() == {"other": (9, 900)}


def test_a_refusal_tells_rows_that_wait_from_those_that_are_being_read(throughput: Throughput) -> None:
    backlog = backlog_of(("one", [100] * 3), ("other", [100]))
    backlog.expected.add(demand("one", 2, 200))
    backlog.expected.add(demand("one", 8, 10_000))
    small, large = demand("one", 9, 300), demand("one", 9, 20_000)
    said = [str(overload(backlog, throughput, wanted, threads=1)) for wanted in (small, large)]
    assert said == [
        "3 rows are waiting already and about 2 rows are being read; try again later",
        "3 rows are waiting already and about 10 rows are being read; try again later",
    ]
    with pytest.raises(Overloaded, match="4 rows are waiting already and about 10 rows are being read, so that an"):
        refuse_late(backlog, throughput, small, 1.0, 1)


def test_what_is_being_read_is_added_to_what_waits() -> None:
    backlog = backlog_of(("one", [100] * 3))
    backlog.expected.add(demand("one", 2, 300))
    backlog.expected.add(demand("one", 1, 50))
    assert backlog.loads("one") == {size_class(300, 100): (5, 600), 0: (1, 50)}
    assert backlog.loads_by_tenant() == {"one": (6, 650)}


def test_a_body_is_expected_to_hold_what_others_held() -> None:
    density = Density()
    assert density.estimate(4_000, "one", 100) == demand("one", 1, 1_000)
    for _ in range(200):
        density.add(1_000, Load(rows=20, tokens=500))
    expected = density.estimate(4_000, "one", 100)
    assert (expected.rows, expected.tokens) == (80, 2_000)


def test_what_the_bodies_of_one_held_is_not_expected_of_another() -> None:
    densities = Densities()
    for _ in range(200):
        densities.add(1_000, "one", Load(rows=900, tokens=1_000))
    assert densities.estimate(4_000, "one", 100).rows > 3_000
    assert densities.estimate(4_000, "other", 100) == Density().estimate(4_000, "other", 100)


def test_of_many_tenants_those_are_forgotten_that_have_sent_nothing_for_longest() -> None:
    densities = Densities()
    usual = Density().estimate(4_000, "", 100).tokens
    for name in ("kept", "forgotten", "kept", *map(str, range(Densities.MOST - 1))):
        densities.add(100_000, name, Load(rows=1_000, tokens=90_000))
    assert densities.estimate(4_000, "forgotten", 100).tokens == usual
    assert all(densities.estimate(4_000, name, 100).tokens > 2 * usual for name in ("kept", "0"))
