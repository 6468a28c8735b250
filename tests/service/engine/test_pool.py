"""Several models in one pool: fair shares, common threads, one meter."""

import ctypes
import platform
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from itertools import chain

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.errors import DeadlineExceeded, EngineClosed
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import QUIET_S, RETURN_AFTER, RETURN_AT_REST, Pool
from service.engine.submission import EngineResult
from tests.service.conftest import wait_for
from tests.service.engine.fakes import OUTPUTS, ControlledRun, RecordingMeter, lengths_in, rows_of, stopped_clock


def test_a_flooded_model_keeps_no_other_waiting(blocked: ControlledRun) -> None:
    with (
        Pool(1) as pool,
        Engine(blocked, EngineLimits(batch_tokens=100), pool) as flooded,
        Engine(blocked, EngineLimits(), pool) as quiet,
    ):
        flood = [flooded.submit(rows_of(*[10] * 100), OUTPUTS) for _ in range(10)]
        assert blocked.entered.wait(10)
        lone = quiet.submit(rows_of(77), OUTPUTS)
        blocked.open.set()
        wait([lone, *flood], 10)
    assert [77] in blocked.batches[1:3]


def test_two_flooded_models_get_the_same_share(blocked: ControlledRun) -> None:
    with (
        Pool(1) as pool,
        Engine(blocked, EngineLimits(batch_tokens=60), pool) as short,
        Engine(blocked, EngineLimits(batch_tokens=240), pool) as long,
    ):
        flood = [engine.submit(rows_of(*[length] * 200), OUTPUTS) for engine, length in ((short, 20), (long, 120))]
        blocked.open.set()
        wait(flood, 10)
    served = {20: 0, 120: 0}
    for batch in blocked.batches:
        served[batch[0]] += sum(batch)
        if sum(served.values()) > 6_000:
            break
    assert abs(served[20] - served[120]) <= 60 + 240


def test_models_share_the_threads_of_their_pool() -> None:
    before = threading.active_count()
    with Pool(2) as pool, Engine(ControlledRun(), EngineLimits(), pool), Engine(ControlledRun(), EngineLimits(), pool):
        assert threading.active_count() == before + 2


def test_the_meter_receives_batches_and_the_rows_that_wait_for_all_models(blocked: ControlledRun) -> None:
    meter = RecordingMeter()
    with (
        Pool(1, meter) as pool,
        Engine(blocked, EngineLimits(), pool) as one,
        Engine(blocked, EngineLimits(), pool) as other,
    ):
        one.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        one.submit(rows_of(10, 12), OUTPUTS)
        other.submit(rows_of(20), OUTPUTS)
        assert meter.queues[-1] == (3, 42)
        other.submit(rows_of(30), OUTPUTS).cancel()
        assert meter.queues[-2:] == [(4, 72), (3, 42)]
        blocked.open.set()
    assert sorted(meter.batches) == [(1, 1, 1), (1, 20, 20), (2, 22, 24)]
    assert meter.queues[-1] == (0, 0)


def test_a_callback_hands_rows_to_an_engine_that_closes_but_not_to_one_that_is_closed(blocked: ControlledRun) -> None:
    seconds: list[Future[EngineResult]] = []
    refusals: list[Exception] = []
    with Pool(1) as pool, Engine(ControlledRun(), EngineLimits(), pool) as closed:
        closed.close()
        engine = Engine(blocked, EngineLimits(), pool)

        def go_on(_: Future[EngineResult]) -> None:
            seconds.append(engine.submit(rows_of(2), OUTPUTS, admitted=True))
            try:
                closed.submit(rows_of(3), OUTPUTS, admitted=True)
            except EngineClosed as refusal:
                refusals.append(refusal)

        engine.submit(rows_of(1), OUTPUTS).add_done_callback(go_on)
        assert blocked.entered.wait(10)
        threading.Timer(0.1, blocked.open.set).start()
        engine.close()
    assert [lengths_in(future.result(0)) for future in seconds] == [[2]]
    assert len(refusals) == 1


@settings(max_examples=30, deadline=None)
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from([0, 1]),
            st.lists(st.integers(14, 30) | st.integers(14, 300), min_size=1, max_size=8),
            st.sampled_from(["wanted", "given up", "late"]),
        ),
        max_size=20,
    )
)
def test_dropped_rows_are_never_computed_and_all_others_once(
    requests: list[tuple[int, list[int], str]],
) -> None:
    meter = RecordingMeter()
    runs = [ControlledRun(is_open=False), ControlledRun()]
    with (
        stopped_clock() as clock,
        Pool(1, meter) as pool,
        Engine(runs[0], EngineLimits(batch_tokens=128), pool) as one,
        Engine(runs[1], EngineLimits(batch_tokens=128), pool) as other,
    ):
        one.submit(rows_of(1), OUTPUTS)
        assert runs[0].entered.wait(10)
        futures = [
            (one, other)[model].submit(rows_of(*lengths), OUTPUTS, deadline=10.0 if fate == "late" else None)
            for model, lengths, fate in requests
        ]
        for future, (_, _, fate) in zip(futures, requests, strict=True):
            assert fate != "given up" or future.cancel()
        clock.now = 10.0
        runs[0].open.set()
        for future, (_, lengths, fate) in zip(futures, requests, strict=True):
            if fate == "wanted":
                assert lengths_in(future.result(10)) == lengths
            elif fate == "late":
                assert isinstance(future.exception(10), DeadlineExceeded)
    computed = sorted(chain.from_iterable(runs[0].batches + runs[1].batches))
    assert computed == sorted(chain([1], *(lengths for _, lengths, fate in requests if fate == "wanted")))
    assert meter.queues[-1] == (0, 0)


needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries give memory back themselves, or never"
)


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


@pytest.fixture
def scattered() -> Iterator[None]:
    """Some 120 MB that were freed and that glibc keeps."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    pieces = [libc.memset(libc.malloc(60_000), 1, 60_000) for _ in range(4_000)]
    # Every other one, so that little of it is at the end of the heap, where glibc gives it back by itself.
    for piece in pieces[::2]:
        libc.free(piece)
    yield
    for piece in pieces[1::2]:
        libc.free(piece)


@needs_glibc
@pytest.mark.usefixtures("scattered")
def test_what_was_freed_goes_back_to_the_system_after_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.pool.QUIET_S", 600.0)
    kept = resident_mb()
    with Pool(1) as pool, Engine(ControlledRun(), EngineLimits(queued_tokens=RETURN_AFTER), pool) as engine:
        engine.submit(rows_of(RETURN_AFTER // 2), OUTPUTS).result(10)
        before = resident_mb()
        engine.submit(rows_of(RETURN_AFTER // 2), OUTPUTS).result(10)
    assert before == pytest.approx(kept, abs=20)
    assert resident_mb() < before - 80


@needs_glibc
@pytest.mark.usefixtures("scattered")
def test_what_was_freed_goes_back_to_the_system_when_nothing_is_to_be_done() -> None:
    kept = resident_mb()
    with Pool(2) as pool, Engine(ControlledRun(), EngineLimits(queued_tokens=RETURN_AFTER), pool) as engine:
        engine.submit(rows_of(RETURN_AT_REST), OUTPUTS).result(10)
        wait_for(lambda: resident_mb() < kept - 80)
        assert lengths_in(engine.submit(rows_of(3), OUTPUTS).result(10)) == [3]


def test_a_pool_is_at_rest_only_when_none_of_its_threads_has_work(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = list[float]()
    monkeypatch.setattr("service.engine.pool.return_memory", lambda: returned.append(time.monotonic()))
    with Pool(32) as pool, Engine(ControlledRun(), EngineLimits(queued_tokens=RETURN_AFTER), pool) as engine:
        # Each thread has something to do once in three seconds, the pool ten times a second.
        for _ in range(35):
            engine.submit(rows_of(RETURN_AT_REST // 4), OUTPUTS).result(10)
            worked = time.monotonic()
            time.sleep(0.1)
        assert not returned
        wait_for(lambda: bool(returned))
        time.sleep(2 * QUIET_S)
        # Once, by one of them, and no more until there was work again.
        (at,) = returned
        assert at - worked >= QUIET_S - 0.01
