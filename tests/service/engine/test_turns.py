"""Background rows: they wait for ordinary ones, but not for ever, and are rows like any others in all else."""

import math
import threading
from concurrent.futures import CancelledError, Future, wait
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.errors import DeadlineExceeded, EngineClosed, Overloaded
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.model_queue import ModelQueue
from service.engine.pool import Pool
from service.engine.submission import EngineResult
from service.engine.turns import PATIENCE, Turns
from tests.service.engine.fakes import OUTPUTS, Clock, ControlledRun, RecordingMeter, engine_of, lengths_in, rows_of


def test_background_rows_wait_while_ordinary_rows_do(busy: Engine, blocked: ControlledRun) -> None:
    futures = [
        busy.submit(rows_of(50), OUTPUTS, background=True),
        busy.submit(rows_of(20, 70), OUTPUTS),
        busy.submit(rows_of(90), OUTPUTS),
    ]
    blocked.open.set()
    wait(futures, 10)
    assert blocked.batches == [[1], [20], [70], [90], [50]]


def test_they_share_no_batch_with_ordinary_rows(busy: Engine, blocked: ControlledRun) -> None:
    futures = [busy.submit(rows_of(10, 10), OUTPUTS, background=background) for background in (True, False, True)]
    blocked.open.set()
    wait(futures, 10)
    assert blocked.batches == [[1], [10, 10], [10, 10], [10, 10]]


def test_their_batches_are_smaller(busy: Engine, blocked: ControlledRun) -> None:
    future = busy.submit(rows_of(*[8] * 8), OUTPUTS, background=True)
    blocked.open.set()
    future.result(10)
    assert blocked.batches == [[1], [8, 8, 8], [8, 8, 8], [8, 8]]


def test_they_wait_for_the_rows_of_other_models_too(blocked: ControlledRun) -> None:
    with (
        Pool(1) as pool,
        Engine(blocked, EngineLimits(batch_tokens=100), pool) as one,
        Engine(blocked, EngineLimits(batch_tokens=100), pool) as other,
    ):
        one.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        futures = [one.submit(rows_of(50), OUTPUTS, background=True), other.submit(rows_of(*[90] * 5), OUTPUTS)]
        blocked.open.set()
        wait(futures, 10)
    assert blocked.batches == [[1], *[[90]] * 5, [50]]


def test_among_the_ordinary_rows_of_a_flood_they_get_their_turn_once_in_a_while() -> None:
    blocked = ControlledRun(is_open=False)
    with engine_of(blocked, batch_tokens=100) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        quiet = engine.submit(rows_of(*[60] * 3), OUTPUTS, background=True)
        flood = engine.submit(rows_of(*[100] * 5 * PATIENCE), OUTPUTS)
        blocked.open.set()
        wait([quiet, flood], 10)
    turns = [number for number, batch in enumerate(blocked.batches[1:]) if batch == [60]]
    # A full batch of theirs has 25 tokens.
    between = math.ceil(PATIENCE * 25 / 100)
    assert turns == [between, 2 * between + 1, 3 * between + 2]


def test_ordinary_rows_that_came_before_them_give_them_no_turn() -> None:
    blocked = ControlledRun(is_open=False)
    with engine_of(blocked, batch_tokens=100) as engine:
        before = engine.submit(rows_of(*[100] * PATIENCE), OUTPUTS)
        blocked.open.set()
        before.result(10)
        blocked.open.clear()
        blocked.entered.clear()
        engine.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        blocked.batches.clear()
        futures = [engine.submit(rows_of(50), OUTPUTS, background=True), engine.submit(rows_of(90, 90), OUTPUTS)]
        blocked.open.set()
        wait(futures, 10)
    assert blocked.batches == [[90], [90], [50]]


def test_models_share_the_background_fairly(blocked: ControlledRun) -> None:
    with (
        Pool(1) as pool,
        Engine(blocked, EngineLimits(batch_tokens=60), pool) as one,
        Engine(blocked, EngineLimits(batch_tokens=60), pool) as other,
    ):
        one.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        futures = [
            engine.submit(rows_of(*[length] * 4), OUTPUTS, background=True)
            for engine, length in ((one, 50), (other, 60))
        ]
        blocked.open.set()
        wait(futures, 10)
    assert blocked.batches[1:] == [[50], [60]] * 4


def test_they_take_no_room_from_ordinary_rows(busy: Engine) -> None:
    busy.submit(rows_of(*[3] * 8), OUTPUTS, background=True)
    busy.submit(rows_of(*[3] * 8), OUTPUTS)
    for background in (False, True):
        with pytest.raises(Overloaded, match="8 rows are waiting already"):
            busy.submit(rows_of(3), OUTPUTS, background=background)


def test_work_that_will_need_the_background_is_refused_while_that_is_overfull(busy: Engine) -> None:
    busy.submit(rows_of(*[5] * 8), OUTPUTS, background=True)
    busy.refuse_background_overload()
    more = busy.submit(rows_of(5), OUTPUTS, background=True, admitted=True)
    with pytest.raises(Overloaded, match="9 rows are waiting already") as overloaded:
        busy.refuse_background_overload()
    assert overloaded.value.retry_after_s == 1
    more.cancel()
    busy.refuse_background_overload()


def test_late_and_cancelled_rows_are_not_computed(busy: Engine, blocked: ControlledRun, clock: Clock) -> None:
    late = busy.submit(rows_of(50), OUTPUTS, background=True, deadline=10.0)
    given_up = busy.submit(rows_of(60), OUTPUTS, background=True)
    wanted = busy.submit(rows_of(70), OUTPUTS, background=True, deadline=11.0)
    assert given_up.cancel()
    clock.now = 10.0
    blocked.open.set()
    assert lengths_in(wanted.result(10)) == [70]
    with pytest.raises(DeadlineExceeded):
        late.result(10)
    assert blocked.batches == [[1], [70]]


def test_the_meter_counts_them_among_the_rows_that_wait(blocked: ControlledRun) -> None:
    meter = RecordingMeter()
    with Pool(1, meter) as pool, Engine(blocked, EngineLimits(), pool) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        engine.submit(rows_of(10), OUTPUTS)
        engine.submit(rows_of(20, 20), OUTPUTS, background=True)
        assert meter.queues[-1] == (3, 50)
        blocked.open.set()
    assert meter.batches == [(1, 1, 1), (1, 10, 10), (2, 40, 40)]


def test_closing_computes_them_and_those_that_follow_from_other_rows(blocked: ControlledRun) -> None:
    seconds: list[Future[EngineResult]] = []
    with Pool(1) as pool:
        engine = Engine(blocked, EngineLimits(), pool)

        def go_on(_: Future[EngineResult]) -> None:
            seconds.append(engine.submit(rows_of(2), OUTPUTS, admitted=True, background=not seconds))
            if len(seconds) == 1:
                seconds[0].add_done_callback(go_on)

        engine.submit(rows_of(1), OUTPUTS).add_done_callback(go_on)
        assert blocked.entered.wait(10)
        closing = threading.Thread(target=engine.close)
        closing.start()
        blocked.open.set()
        closing.join(10)
        assert not closing.is_alive()
    assert [lengths_in(future.result(0)) for future in seconds] == [[2], [2]]


def test_closing_without_draining_fails_them(busy: Engine, blocked: ControlledRun) -> None:
    queued = busy.submit(rows_of(50), OUTPUTS, background=True)
    closing = threading.Thread(target=busy.close, kwargs={"drain": False})
    closing.start()
    with pytest.raises(EngineClosed):
        queued.result(10)
    blocked.open.set()
    closing.join(10)
    with pytest.raises(EngineClosed):
        busy.submit(rows_of(50), OUTPUTS, background=True)


@settings(max_examples=30, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.lists(st.integers(14, 300), min_size=1, max_size=8), st.booleans(), st.booleans()), max_size=16
    )
)
def test_every_row_that_is_wanted_is_computed_once_whatever_its_kind(
    requests: list[tuple[list[int], bool, bool]],
) -> None:
    run, meter = ControlledRun(), RecordingMeter()
    with Pool(2, meter) as pool, Engine(run, EngineLimits(batch_tokens=128), pool) as engine:
        futures = [
            engine.submit(rows_of(*lengths), OUTPUTS, background=background) for lengths, background, _ in requests
        ]
        gone = [future.cancel() for future, (*_, is_wanted) in zip(futures, requests, strict=True) if not is_wanted]
        for future, (lengths, _, is_wanted) in zip(futures, requests, strict=True):
            try:
                assert lengths_in(future.result(10)) == lengths
            except CancelledError:
                assert not is_wanted
    most = sorted(chain.from_iterable(lengths for lengths, *_ in requests))
    computed = sorted(chain.from_iterable(run.batches))
    assert computed == most or any(gone)
    assert meter.queues[-1:] in ([(0, 0)], [])


STEPS = st.lists(st.tuples(st.sets(st.integers(0, 3)), st.integers(1, 12)), max_size=400)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_background_rows_get_at_most_their_share_and_at_least_a_turn_in_time(
    steps: list[tuple[set[int], int]],
) -> None:
    run = ControlledRun()
    queues = [ModelQueue(run, EngineLimits(batch_tokens=10), is_background=number % 2 == 1) for number in range(4)]
    turns = Turns()
    for queue in queues:
        turns.begin(queue)
    passed_over = 0
    for waiting, tokens in steps:
        chosen = turns.next(queues[number] for number in sorted(waiting))
        assert (chosen is None) == (not waiting)
        if chosen is None:
            passed_over = 0
            continue
        assert queues.index(chosen) in waiting
        background_waits = any(number % 2 for number in waiting)
        ordinary_waits = any(number % 2 == 0 for number in waiting)
        if not background_waits:
            passed_over = 0
        if ordinary_waits and background_waits:
            assert chosen.is_background == (passed_over >= PATIENCE * 2)
        passed_over = 0 if chosen.is_background else passed_over + tokens
        turns.charge(chosen, tokens)
