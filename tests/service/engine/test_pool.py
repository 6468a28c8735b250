"""The queue and its threads, with rows of chosen lengths and a run that the test controls."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.package import open_package
from export.session import Arrays, Session
from models.text import Row
from service.engine.errors import DeadlineExceeded, EngineClosed, Overloaded
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine, Run
from service.engine.pool import Pool
from service.engine.throughput import Throughput
from tests.service.conftest import wait_for

OUTPUTS = ("logits",)


class Bar:
    """A row of a given length; the engine asks for nothing else."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


class Press:
    """A run that records its batches, and computes only while it is open."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.outputs: list[tuple[str, ...]] = []
        self.open = threading.Event()
        self.entered = threading.Event()
        if is_open:
            self.open.set()

    def __call__(self, rows: Sequence[Row], outputs: Sequence[str]) -> list[Arrays]:
        self.batches.append([len(row) for row in rows])
        self.outputs.append(tuple(outputs))
        self.entered.set()
        assert self.open.wait(10)
        if any(len(row) == 13 for row in rows):
            raise ZeroDivisionError("thirteen")
        return [{"logits": np.array([len(row)], dtype=np.float32)} for row in rows]


def bars(*lengths: int) -> list[Row]:
    return cast(list[Row], [Bar(length) for length in lengths])


class Clock:
    """Monotonic time that a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return time.perf_counter()


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        for module in ("pool", "model_engine"):
            patch.setattr(f"service.engine.{module}.time", clock)
        yield clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as clock:
        yield clock


@contextmanager
def engine_of(run: Run, *, threads: int = 1, **limits: int) -> Iterator[Engine]:
    """An engine with threads of its own."""
    with Pool(threads) as pool, Engine(run, EngineLimits(**limits), pool) as engine:
        yield engine


def lengths_in(computed: Any) -> list[int]:
    return [int(arrays["logits"][0]) for arrays in computed.rows]


@pytest.fixture
def shut() -> Press:
    return Press(is_open=False)


@pytest.fixture
def busy(shut: Press) -> Iterator[Engine]:
    """An engine whose one thread is held up by a row of length 1, so that what comes next must queue."""
    with engine_of(shut, queued_rows=8, queued_tokens=400, batch_tokens=100) as engine:
        engine.submit(bars(1), OUTPUTS)
        assert shut.entered.wait(10)
        yield engine
        shut.open.set()


def test_results_come_in_the_order_of_the_rows() -> None:
    with engine_of(Press(), threads=2) as engine:
        computed = engine.submit(bars(40, 3, 17, 3, 90), OUTPUTS).result(10)
    assert lengths_in(computed) == [40, 3, 17, 3, 90]


def test_a_lone_row_is_computed_at_once() -> None:
    with engine_of(Press()) as engine:
        assert engine.submit(bars(5), OUTPUTS).result(10).queue_s < 1


def test_no_rows_are_done_at_once(busy: Engine) -> None:
    assert busy.submit([], OUTPUTS).result(0).rows == []


def test_waiting_rows_of_like_length_share_a_batch(busy: Engine, shut: Press) -> None:
    futures = [busy.submit(bars(length), OUTPUTS) for length in (10, 30, 11, 31, 10)]
    shut.open.set()
    wait(futures, 10)
    assert shut.batches[1:] == [[10, 10, 11], [30, 31]]


def test_the_oldest_row_goes_first(busy: Engine, shut: Press) -> None:
    futures = [busy.submit(bars(length), OUTPUTS) for length in (60, 5, 5, 30)]
    shut.open.set()
    wait(futures, 10)
    assert [batch[0] for batch in shut.batches[1:]] == [60, 5, 30]


def test_a_batch_keeps_to_its_tokens_padding_included(busy: Engine, shut: Press) -> None:
    future = busy.submit(bars(20, 20, 20, 20, 20, 20, 21), OUTPUTS)
    shut.open.set()
    future.result(10)
    assert all(max(batch) * len(batch) <= 100 for batch in shut.batches)


def test_a_row_longer_than_a_batch_goes_alone(busy: Engine, shut: Press) -> None:
    future = busy.submit(bars(300, 5), OUTPUTS)
    shut.open.set()
    future.result(10)
    assert [300] in shut.batches


def test_rows_that_want_other_outputs_are_computed_apart(busy: Engine, shut: Press) -> None:
    futures = [busy.submit(bars(10), outputs) for outputs in (OUTPUTS, ("logits", "rollout"), OUTPUTS)]
    shut.open.set()
    wait(futures, 10)
    assert list(zip(shut.outputs[1:], shut.batches[1:], strict=True)) == [
        (OUTPUTS, [10, 10]),
        (("logits", "rollout"), [10]),
    ]


def test_idle_threads_share_what_is_waiting() -> None:
    shut = Press(is_open=False)
    with engine_of(shut, threads=2) as engine:
        engine.submit(bars(10, 10, 10, 10), OUTPUTS)
        wait_for(lambda: len(shut.batches) == 2)
        shut.open.set()
    assert sorted(map(len, shut.batches)) == [2, 2]


def test_a_failing_batch_fails_only_those_who_wait_for_it_with_the_real_error() -> None:
    with engine_of(Press()) as engine:
        bad, good = engine.submit(bars(13), OUTPUTS), engine.submit(bars(99), OUTPUTS)
        with pytest.raises(ZeroDivisionError, match="thirteen"):
            bad.result(10)
        assert lengths_in(good.result(10)) == [99]


def test_a_bad_row_fails_alone_and_its_batch_mates_are_answered(busy: Engine, shut: Press) -> None:
    bad, *good = (busy.submit(bars(length), OUTPUTS) for length in (13, 12, 14, 12))
    shut.open.set()
    assert [lengths_in(future.result(10)) for future in good] == [[12], [14], [12]]
    with pytest.raises(ZeroDivisionError, match="thirteen"):
        bad.result(10)
    assert shut.batches[1] == [13, 12, 12, 14]


def test_a_run_that_returns_too_few_rows_fails_who_waits_and_the_engine_goes_on() -> None:
    def lose_thirteen(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        return [{"logits": np.array([len(row)])} for row in rows if len(row) != 13]

    with engine_of(lose_thirteen) as engine:
        with pytest.raises(ValueError, match="shorter"):
            engine.submit(bars(13), OUTPUTS).result(10)
        assert lengths_in(engine.submit(bars(5), OUTPUTS).result(10)) == [5]


class Interrupted(Bar):
    """A row during whose queueing the caller presses Ctrl-C."""

    def __len__(self) -> int:
        self.length += 1
        if self.length > 1:
            raise KeyboardInterrupt
        return self.length


def test_a_caller_who_is_interrupted_has_queued_nothing(busy: Engine, shut: Press) -> None:
    with pytest.raises(KeyboardInterrupt):
        busy.submit([*bars(5), cast(Row, Interrupted(0))], OUTPUTS)
    shut.open.set()
    busy.submit(bars(7), OUTPUTS).result(10)
    assert shut.batches == [[1], [7]]


def test_the_rest_of_a_failed_request_is_not_computed(busy: Engine, shut: Press) -> None:
    bad = busy.submit(bars(13, 90), OUTPUTS)
    shut.open.set()
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    busy.submit(bars(50), OUTPUTS).result(10)
    assert [90] not in shut.batches


def test_what_is_late_is_not_computed_and_its_waiter_hears_of_it(busy: Engine, shut: Press, clock: Clock) -> None:
    late, other = busy.submit(bars(50, 90), OUTPUTS, deadline=10.0), busy.submit(bars(51), OUTPUTS, deadline=11.0)
    clock.now = 10.0
    shut.open.set()
    with pytest.raises(DeadlineExceeded, match="the deadline passed while the rows were waiting"):
        late.result(10)
    assert lengths_in(other.result(10)) == [51]
    assert shut.batches == [[1], [51]]


@pytest.mark.usefixtures("clock")
def test_what_is_late_already_is_not_let_in(busy: Engine) -> None:
    with pytest.raises(DeadlineExceeded, match="had passed"):
        busy.submit(bars(5), OUTPUTS, deadline=0.0)


def test_what_has_time_left_is_computed_whatever_the_clock_on_the_wall_does(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = cycle([0.0, 4e9, -4e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    with engine_of(Press()) as engine:
        futures = [engine.submit(bars(length), OUTPUTS, deadline=time.monotonic() + 600) for length in range(20, 40)]
        assert [lengths_in(future.result(10)) for future in futures] == [[length] for length in range(20, 40)]


def test_what_is_cancelled_while_it_waits_is_not_computed(busy: Engine, shut: Press) -> None:
    given_up, wanted = busy.submit(bars(50, 90), OUTPUTS), busy.submit(bars(51), OUTPUTS)
    assert given_up.cancel()
    shut.open.set()
    assert lengths_in(wanted.result(10)) == [51]
    assert shut.batches == [[1], [51]]


def test_what_is_cancelled_makes_room(busy: Engine) -> None:
    full = busy.submit(bars(*[5] * 8), OUTPUTS)
    full.cancel()
    busy.submit(bars(*[5] * 8), OUTPUTS)
    with pytest.raises(Overloaded):
        busy.submit(bars(5), OUTPUTS)


def test_a_task_that_is_cancelled_takes_its_rows_along(busy: Engine, shut: Press) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(busy.submit(bars(50), OUTPUTS)), 0.01)

    asyncio.run(give_up())
    shut.open.set()
    busy.submit(bars(60), OUTPUTS).result(10)
    assert shut.batches == [[1], [60]]


@pytest.mark.parametrize("first", [[5] * 8, [200, 200]], ids=["rows", "tokens"])
def test_a_full_queue_refuses(busy: Engine, first: list[int]) -> None:
    busy.submit(bars(*first), OUTPUTS)
    with pytest.raises(Overloaded, match="waiting already"):
        busy.submit(bars(5), OUTPUTS)


def test_of_four_times_what_fits_a_quarter_is_answered_and_the_rest_refused(busy: Engine, shut: Press) -> None:
    taken = [busy.submit(bars(5), OUTPUTS) for _ in range(8)]
    for _ in range(24):
        with pytest.raises(Overloaded):
            busy.submit(bars(5), OUTPUTS)
    shut.open.set()
    assert [lengths_in(future.result(10)) for future in taken] == [[5]] * 8


@pytest.mark.parametrize(("seconds_a_token", "retry_after_s"), [(0.0001, 1), (0.05, 20), (1.0, 60)])
def test_a_full_queue_says_when_it_should_be_empty(busy: Engine, seconds_a_token: float, retry_after_s: int) -> None:
    busy.submit(bars(*[50] * 8), OUTPUTS)
    busy._throughput.add(10, 10 * seconds_a_token)
    with pytest.raises(Overloaded) as overloaded:
        busy.submit(bars(5), OUTPUTS)
    assert overloaded.value.retry_after_s == retry_after_s


def test_the_pace_is_that_of_late() -> None:
    pace = Throughput()
    assert pace.seconds_for(100) == 0.0
    pace.add(100, 1.0)
    assert pace.seconds_for(50) == 0.5
    for _ in range(200):
        pace.add(100, 4.0)
    assert pace.seconds_for(50) == pytest.approx(2.0, rel=1e-3)


def test_a_flooded_model_keeps_no_other_waiting(shut: Press) -> None:
    with (
        Pool(1) as pool,
        Engine(shut, EngineLimits(batch_tokens=100), pool) as flooded,
        Engine(shut, EngineLimits(), pool) as quiet,
    ):
        flood = [flooded.submit(bars(*[10] * 100), OUTPUTS) for _ in range(10)]
        assert shut.entered.wait(10)
        lone = quiet.submit(bars(77), OUTPUTS)
        shut.open.set()
        wait([lone, *flood], 10)
    assert [77] in shut.batches[1:3]


def test_two_flooded_models_get_the_same_share(shut: Press) -> None:
    with (
        Pool(1) as pool,
        Engine(shut, EngineLimits(batch_tokens=60), pool) as short,
        Engine(shut, EngineLimits(batch_tokens=240), pool) as long,
    ):
        flood = [engine.submit(bars(*[length] * 200), OUTPUTS) for engine, length in ((short, 20), (long, 120))]
        shut.open.set()
        wait(flood, 10)
    served = {20: 0, 120: 0}
    for batch in shut.batches:
        served[batch[0]] += sum(batch)
        if sum(served.values()) > 6_000:
            break
    assert abs(served[20] - served[120]) <= 60 + 240


def test_models_share_the_threads_of_their_pool() -> None:
    before = threading.active_count()
    with Pool(2) as pool, Engine(Press(), EngineLimits(), pool), Engine(Press(), EngineLimits(), pool):
        assert threading.active_count() == before + 2


class Ledger:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.queues: list[tuple[int, int]] = []

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        self.batches.append((rows, tokens, padded))

    def queue(self, rows: int, tokens: int) -> None:
        self.queues.append((rows, tokens))


def test_the_meter_is_told_of_batches_and_of_what_waits_for_all_models(shut: Press) -> None:
    ledger = Ledger()
    with (
        Pool(1, ledger) as pool,
        Engine(shut, EngineLimits(), pool) as one,
        Engine(shut, EngineLimits(), pool) as other,
    ):
        one.submit(bars(1), OUTPUTS)
        assert shut.entered.wait(10)
        one.submit(bars(10, 12), OUTPUTS)
        other.submit(bars(20), OUTPUTS)
        assert ledger.queues[-1] == (3, 42)
        other.submit(bars(30), OUTPUTS).cancel()
        assert ledger.queues[-2:] == [(4, 72), (3, 42)]
        shut.open.set()
    assert sorted(ledger.batches) == [(1, 1, 1), (1, 20, 20), (2, 22, 24)]
    assert ledger.queues[-1] == (0, 0)


def test_an_empty_queue_takes_a_request_of_any_size(busy: Engine, shut: Press) -> None:
    future = busy.submit(bars(*[100] * 50), OUTPUTS)
    shut.open.set()
    assert len(future.result(10).rows) == 50


def test_closing_finishes_what_is_queued(shut: Press) -> None:
    pool = Pool(1)
    engine = Engine(shut, EngineLimits(), pool)
    futures = [engine.submit(bars(length), OUTPUTS) for length in (5, 50)]
    shut.open.set()
    engine.close()
    pool.close()
    assert [lengths_in(future.result(0)) for future in futures] == [[5], [50]]


def test_closing_without_draining_fails_what_is_queued(busy: Engine, shut: Press) -> None:
    queued = busy.submit(bars(50), OUTPUTS)
    closing = threading.Thread(target=busy.close, kwargs={"drain": False})
    closing.start()
    with pytest.raises(EngineClosed):
        queued.result(10)
    shut.open.set()
    closing.join(10)


def test_a_closed_engine_takes_nothing() -> None:
    with engine_of(Press()) as engine:
        engine.close()
    with pytest.raises(EngineClosed):
        engine.submit(bars(5), OUTPUTS)


@settings(max_examples=30, deadline=None)
@given(requests=st.lists(st.lists(st.integers(1, 12) | st.integers(1, 300), max_size=12), max_size=12))
def test_every_row_is_computed_once_for_whoever_sent_it(requests: list[list[int]]) -> None:
    press = Press()
    requests = [[length for length in request if length != 13] for request in requests]
    with engine_of(press, threads=3, batch_tokens=128) as engine:
        futures = [engine.submit(bars(*request), OUTPUTS) for request in requests]
        assert [lengths_in(future.result(10)) for future in futures] == requests
    assert sorted(chain.from_iterable(press.batches)) == sorted(chain.from_iterable(requests))


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
def test_what_was_dropped_is_never_computed_and_what_was_not_is_once(
    requests: list[tuple[int, list[int], str]],
) -> None:
    presses = [Press(is_open=False), Press()]
    with (
        stopped_clock() as clock,
        Pool(1) as pool,
        Engine(presses[0], EngineLimits(batch_tokens=128), pool) as one,
        Engine(presses[1], EngineLimits(batch_tokens=128), pool) as other,
    ):
        one.submit(bars(1), OUTPUTS)
        assert presses[0].entered.wait(10)
        futures = [
            (one, other)[model].submit(bars(*lengths), OUTPUTS, deadline=10.0 if fate == "late" else None)
            for model, lengths, fate in requests
        ]
        for future, (_, _, fate) in zip(futures, requests, strict=True):
            assert fate != "given up" or future.cancel()
        clock.now = 10.0
        presses[0].open.set()
        for future, (_, lengths, fate) in zip(futures, requests, strict=True):
            if fate == "wanted":
                assert lengths_in(future.result(10)) == lengths
            elif fate == "late":
                assert isinstance(future.exception(10), DeadlineExceeded)
    computed = sorted(chain.from_iterable(presses[0].batches + presses[1].batches))
    assert computed == sorted(chain([1], *(lengths for _, lengths, fate in requests if fate == "wanted")))
    assert (one._backlog.rows, one._backlog.tokens, other._backlog.rows, other._backlog.tokens) == (0, 0, 0, 0)


def test_a_row_gets_the_same_bits_alone_and_in_company(package: Path) -> None:
    opened = open_package(package)
    session = Session(opened.graph, pad_id=opened.manifest.pad_id)
    rows = [opened.reader().read("good film " * count + "bad").rows[0] for count in range(14)]
    with engine_of(session.run, threads=2) as engine:
        together = engine.submit(rows, ("logits", "rollout")).result(10).rows
        alone = [engine.submit([row], ("logits", "rollout")).result(10).rows[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["logits"].tobytes() == other["logits"].tobytes()
        assert one["rollout"].tobytes() == other["rollout"].tobytes()
