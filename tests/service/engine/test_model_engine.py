"""The engine of one model, with rows of chosen lengths and a run that the test controls."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait
from itertools import chain, cycle
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.package import open_package
from export.session import Arrays, Session
from models.text import Row
from service.engine.demand import Load
from service.engine.errors import DeadlineExceeded, DeadlineUnreachable, EngineClosed, Overloaded
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.throughput import Throughput
from tests.service.conftest import wait_for
from tests.service.engine.fakes import OUTPUTS, Clock, ControlledRun, SizedRow, engine_of, lengths_in, rows_of


def test_results_come_in_the_order_of_the_rows() -> None:
    with engine_of(ControlledRun(), threads=2) as engine:
        computed = engine.submit(rows_of(40, 3, 17, 3, 90), OUTPUTS).result(10)
    assert lengths_in(computed) == [40, 3, 17, 3, 90]


def test_a_lone_row_is_computed_at_once() -> None:
    with engine_of(ControlledRun()) as engine:
        assert engine.submit(rows_of(5), OUTPUTS).result(10).queue_s < 1


def test_no_rows_are_done_at_once(busy: Engine) -> None:
    assert busy.submit([], OUTPUTS).result(0).rows == []


def test_waiting_rows_of_like_length_share_a_batch(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(length), OUTPUTS) for length in (10, 30, 11, 31, 10)]
    blocked.open.set()
    wait(futures, 10)
    assert blocked.batches[1:] == [[10, 10, 11], [30, 31]]


def test_the_oldest_row_goes_first(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(length), OUTPUTS) for length in (60, 5, 5, 30)]
    blocked.open.set()
    wait(futures, 10)
    assert [batch[0] for batch in blocked.batches[1:]] == [60, 5, 30]


def test_a_batch_keeps_to_its_tokens_padding_included(busy: Engine, blocked: ControlledRun) -> None:
    future = busy.submit(rows_of(20, 20, 20, 20, 20, 20, 21), OUTPUTS)
    blocked.open.set()
    future.result(10)
    assert all(max(batch) * len(batch) <= 100 for batch in blocked.batches)


def test_a_row_longer_than_a_batch_goes_alone(busy: Engine, blocked: ControlledRun) -> None:
    future = busy.submit(rows_of(300, 5), OUTPUTS)
    blocked.open.set()
    future.result(10)
    assert [300] in blocked.batches


def test_rows_that_want_other_outputs_are_computed_apart(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(10), outputs) for outputs in (OUTPUTS, ("logits", "rollout"), OUTPUTS)]
    blocked.open.set()
    wait(futures, 10)
    assert list(zip(blocked.outputs[1:], blocked.batches[1:], strict=True)) == [
        (OUTPUTS, [10, 10]),
        (("logits", "rollout"), [10]),
    ]


def test_idle_threads_share_what_is_waiting() -> None:
    blocked = ControlledRun(is_open=False)
    with engine_of(blocked, threads=2) as engine:
        engine.submit(rows_of(10, 10, 10, 10), OUTPUTS)
        wait_for(lambda: len(blocked.batches) == 2)
        blocked.open.set()
    assert sorted(map(len, blocked.batches)) == [2, 2]


def test_a_failing_batch_fails_only_those_who_wait_for_it_with_the_real_error() -> None:
    with engine_of(ControlledRun()) as engine:
        bad, good = engine.submit(rows_of(13), OUTPUTS), engine.submit(rows_of(99), OUTPUTS)
        with pytest.raises(ZeroDivisionError, match="thirteen"):
            bad.result(10)
        assert lengths_in(good.result(10)) == [99]


def test_a_bad_row_fails_alone_and_its_batch_mates_are_answered(busy: Engine, blocked: ControlledRun) -> None:
    bad, *good = (busy.submit(rows_of(length), OUTPUTS) for length in (13, 12, 14, 12))
    blocked.open.set()
    assert [lengths_in(future.result(10)) for future in good] == [[12], [14], [12]]
    with pytest.raises(ZeroDivisionError, match="thirteen"):
        bad.result(10)
    assert blocked.batches[1] == [13, 12, 12, 14]


def test_a_run_that_returns_too_few_rows_fails_who_waits_and_the_engine_goes_on() -> None:
    def lose_thirteen(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        return [{"logits": np.array([len(row)])} for row in rows if len(row) != 13]

    with engine_of(lose_thirteen) as engine:
        with pytest.raises(ValueError, match="shorter"):
            engine.submit(rows_of(13), OUTPUTS).result(10)
        assert lengths_in(engine.submit(rows_of(5), OUTPUTS).result(10)) == [5]


class Interrupted(SizedRow):
    """A row whose caller presses Ctrl-C while it is being queued."""

    def __len__(self) -> int:
        self.length += 1
        if self.length > 1:
            raise KeyboardInterrupt
        return self.length


def test_a_caller_who_is_interrupted_has_queued_nothing(busy: Engine, blocked: ControlledRun) -> None:
    with pytest.raises(KeyboardInterrupt):
        busy.submit([*rows_of(5), cast(Row, Interrupted(0))], OUTPUTS)
    blocked.open.set()
    busy.submit(rows_of(7), OUTPUTS).result(10)
    assert blocked.batches == [[1], [7]]


def test_the_rest_of_a_failed_request_is_not_computed(busy: Engine, blocked: ControlledRun) -> None:
    bad = busy.submit(rows_of(13, 90), OUTPUTS)
    blocked.open.set()
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    busy.submit(rows_of(50), OUTPUTS).result(10)
    assert [90] not in blocked.batches


def test_late_rows_are_not_computed_and_their_waiter_hears_of_it(
    busy: Engine, blocked: ControlledRun, clock: Clock
) -> None:
    late, other = busy.submit(rows_of(50, 90), OUTPUTS, deadline=10.0), busy.submit(rows_of(51), OUTPUTS, deadline=11.0)
    clock.now = 10.0
    blocked.open.set()
    with pytest.raises(DeadlineExceeded, match="the deadline passed while the rows were waiting"):
        late.result(10)
    assert lengths_in(other.result(10)) == [51]
    assert blocked.batches == [[1], [51]]


@pytest.mark.usefixtures("clock")
def test_rows_that_are_late_already_are_not_let_in(busy: Engine) -> None:
    with pytest.raises(DeadlineExceeded, match="had passed"):
        busy.submit(rows_of(5), OUTPUTS, deadline=0.0)


def test_rows_with_time_left_are_computed_whatever_the_clock_on_the_wall_does(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = cycle([0.0, 4e9, -4e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    with engine_of(ControlledRun()) as engine:
        futures = [engine.submit(rows_of(length), OUTPUTS, deadline=time.monotonic() + 600) for length in range(20, 40)]
        assert [lengths_in(future.result(10)) for future in futures] == [[length] for length in range(20, 40)]


def test_rows_cancelled_while_they_wait_are_not_computed(busy: Engine, blocked: ControlledRun) -> None:
    given_up, wanted = busy.submit(rows_of(50, 90), OUTPUTS), busy.submit(rows_of(51), OUTPUTS)
    assert given_up.cancel()
    blocked.open.set()
    assert lengths_in(wanted.result(10)) == [51]
    assert blocked.batches == [[1], [51]]


def test_cancelled_rows_make_room(busy: Engine) -> None:
    full = busy.submit(rows_of(*[5] * 8), OUTPUTS)
    full.cancel()
    busy.submit(rows_of(*[5] * 8), OUTPUTS)
    with pytest.raises(Overloaded):
        busy.submit(rows_of(5), OUTPUTS)


def test_a_task_that_is_cancelled_takes_its_rows_along(busy: Engine, blocked: ControlledRun) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(busy.submit(rows_of(50), OUTPUTS)), 0.01)

    asyncio.run(give_up())
    blocked.open.set()
    busy.submit(rows_of(60), OUTPUTS).result(10)
    assert blocked.batches == [[1], [60]]


@pytest.mark.parametrize("first", [[5] * 8, [200, 200]], ids=["rows", "tokens"])
def test_a_full_queue_refuses(busy: Engine, first: list[int]) -> None:
    busy.submit(rows_of(*first), OUTPUTS)
    with pytest.raises(Overloaded, match="waiting already"):
        busy.submit(rows_of(first[0]), OUTPUTS)


def test_the_rows_that_fit_are_answered_and_three_times_as_many_refused(busy: Engine, blocked: ControlledRun) -> None:
    taken = [busy.submit(rows_of(5), OUTPUTS) for _ in range(8)]
    for _ in range(24):
        with pytest.raises(Overloaded):
            busy.submit(rows_of(5), OUTPUTS)
    blocked.open.set()
    assert [lengths_in(future.result(10)) for future in taken] == [[5]] * 8


@pytest.mark.parametrize(("seconds_a_token", "retry_after_s"), [(0.0001, 1), (0.05, 20), (1.0, 60)])
def test_a_full_queue_says_when_it_should_be_empty(
    busy: Engine, monkeypatch: pytest.MonkeyPatch, seconds_a_token: float, retry_after_s: int
) -> None:
    monkeypatch.setattr(Throughput, "seconds_for", lambda _, tokens: tokens * seconds_a_token)
    busy.submit(rows_of(*[50] * 8), OUTPUTS)
    with pytest.raises(Overloaded) as overloaded:
        busy.submit(rows_of(*[50] * 8), OUTPUTS)
    assert overloaded.value.retry_after_s == retry_after_s


def test_an_empty_queue_takes_a_request_of_any_size(busy: Engine, blocked: ControlledRun) -> None:
    future = busy.submit(rows_of(*[100] * 50), OUTPUTS)
    blocked.open.set()
    assert len(future.result(10).rows) == 50


def test_closing_finishes_what_is_queued(blocked: ControlledRun) -> None:
    pool = Pool(1)
    engine = Engine(blocked, EngineLimits(), pool)
    futures = [engine.submit(rows_of(length), OUTPUTS) for length in (5, 50)]
    blocked.open.set()
    engine.close()
    pool.close()
    assert [lengths_in(future.result(0)) for future in futures] == [[5], [50]]


def test_closing_without_draining_fails_what_is_queued(busy: Engine, blocked: ControlledRun) -> None:
    queued = busy.submit(rows_of(50), OUTPUTS)
    closing = threading.Thread(target=busy.close, kwargs={"drain": False})
    closing.start()
    with pytest.raises(EngineClosed):
        queued.result(10)
    blocked.open.set()
    closing.join(10)


def test_a_closed_engine_takes_nothing() -> None:
    with engine_of(ControlledRun()) as engine:
        engine.close()
    with pytest.raises(EngineClosed):
        engine.submit(rows_of(5), OUTPUTS)


@settings(max_examples=30, deadline=None)
@given(requests=st.lists(st.lists(st.integers(1, 12) | st.integers(1, 300), max_size=12), max_size=12))
def test_every_row_is_computed_once_for_whoever_sent_it(requests: list[list[int]]) -> None:
    run = ControlledRun()
    requests = [[length for length in request if length != 13] for request in requests]
    with engine_of(run, threads=3, batch_tokens=128) as engine:
        futures = [engine.submit(rows_of(*request), OUTPUTS) for request in requests]
        assert [lengths_in(future.result(10)) for future in futures] == requests
    assert sorted(chain.from_iterable(run.batches)) == sorted(chain.from_iterable(requests))


def test_a_row_gets_the_same_bits_alone_and_in_a_batch(package: Path) -> None:
    opened = open_package(package)
    session = Session(opened.graph, pad_id=opened.manifest.pad_id)
    rows = [opened.reader().read("good film " * count + "bad").rows[0] for count in range(14)]
    with engine_of(session.run, threads=2) as engine:
        together = engine.submit(rows, ("logits", "rollout")).result(10).rows
        alone = [engine.submit([row], ("logits", "rollout")).result(10).rows[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["logits"].tobytes() == other["logits"].tobytes()
        assert one["rollout"].tobytes() == other["rollout"].tobytes()


def test_a_short_request_does_not_wait_for_a_long_one_of_the_same_caller(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(*lengths), OUTPUTS) for lengths in ([90] * 50, [5])]
    blocked.open.set()
    wait(futures, 10)
    assert [5] in blocked.batches[1:4]


def test_a_caller_with_many_requests_does_not_hold_up_another(busy: Engine, blocked: ControlledRun) -> None:
    flood = [busy.submit(rows_of(80), OUTPUTS, tenant="flood") for _ in range(5)]
    other = busy.submit(rows_of(60), OUTPUTS, tenant="other")
    blocked.open.set()
    wait([*flood, other], 10)
    assert [60] in blocked.batches[1:3]


def test_only_the_caller_who_fills_the_queue_is_refused(busy: Engine) -> None:
    busy.submit(rows_of(*[5] * 8), OUTPUTS, tenant="flood")
    with pytest.raises(Overloaded):
        busy.submit(rows_of(5), OUTPUTS, tenant="flood")
    for _ in range(8):
        busy.submit(rows_of(5), OUTPUTS, tenant="other")


def test_rows_of_several_callers_share_a_batch(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(20), OUTPUTS, tenant=tenant) for tenant in ("one", "other", "third")]
    blocked.open.set()
    wait(futures, 10)
    assert blocked.batches[1:] == [[20, 20, 20]]


def test_long_requests_are_computed_in_brief_batches_while_short_ones_come_too(blocked: ControlledRun) -> None:
    with engine_of(blocked, batch_tokens=100) as engine:
        # The first rows are taken up before the last have come.
        engine.submit(rows_of(*[20] * 20), OUTPUTS)
        assert blocked.entered.wait(10)
        futures = [engine.submit(rows_of(length), OUTPUTS) for length in (70, 50)]
        blocked.open.set()
        wait(futures, 10)
    assert [len(batch) for batch in blocked.batches if batch[0] == 20] == [5, *[1] * 15]


def test_what_cannot_be_done_in_time_is_refused_at_once_by_the_pace_measured() -> None:
    def run(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        time.sleep(0.02)
        return [{} for _ in rows]

    with engine_of(run, batch_tokens=100) as engine:
        engine.submit(rows_of(*[50] * 10), OUTPUTS).result(10)
        with pytest.raises(DeadlineUnreachable, match="1,000 rows of 100,000 tokens together take"):
            engine.submit(rows_of(*[100] * 1_000), OUTPUTS, deadline=time.monotonic() + 15)
        assert len(engine.submit(rows_of(*[100] * 4), OUTPUTS, deadline=time.monotonic() + 60).result(10).rows) == 4


def test_what_the_bodies_of_one_tenant_held_refuses_no_body_of_another() -> None:
    def run(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        time.sleep(0.02)
        return [{} for _ in rows]

    with engine_of(run, batch_tokens=100) as engine:
        # 0.2 ms a token.
        engine.submit(rows_of(*[50] * 20), OUTPUTS).result(10)
        for _ in range(50):
            engine.expect(10_000, tenant="odd").end(Load(rows=5_000, tokens=500_000))
        with pytest.raises(DeadlineUnreachable, match="to compute a body of 10,000 bytes takes at least"):
            engine.expect(10_000, deadline=time.monotonic() + 5, tenant="odd")
        engine.expect(10_000, deadline=time.monotonic() + 5, tenant="plain").end()


def test_what_is_announced_takes_room_until_it_is_ended(blocked: ControlledRun) -> None:
    with engine_of(blocked, batch_tokens=100, queued_tokens=1_000) as engine:
        expected = engine.expect(3_600, tenant="one")
        with pytest.raises(Overloaded, match="about 1 row is being read already"):
            engine.expect(3_600, tenant="one")
        with pytest.raises(Overloaded):
            engine.submit(rows_of(*[50] * 18), OUTPUTS, tenant="one")
        engine.expect(3_600, tenant="other").end()
        expected.end(Load(rows=18, tokens=900))
        expected.end()
        # Room is counted by what waits, so that one more is let in where nothing does.
        engine.expect(3_600, tenant="one").end()
        future = engine.submit(rows_of(*[50] * 18), OUTPUTS, tenant="one")
        blocked.open.set()
        future.result(10)
