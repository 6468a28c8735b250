"""Errors outside a model's run, such as those of a meter: callers that wait receive them, and no thread ends."""

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.session import Arrays
from models.text import Row
from service.engine.backlog import Backlog
from service.engine.errors import DeadlineExceeded, EngineClosed
from service.engine.fair_queue import FairQueue
from service.engine.futures import then, then_wait
from service.engine.limits import EngineLimits
from service.engine.meter import EngineMeter
from service.engine.model_engine import Engine
from service.engine.model_queue import RunBatch
from service.engine.pool import Pool
from tests.service.engine.fakes import OUTPUTS, ControlledRun, lengths_in, rows_of, stopped_clock


class BrokenMeter:
    """A meter whose methods named in `broken` raise, in the threads of the pool or in all threads."""

    def __init__(self, *broken: str, error: BaseException | None = None, in_callers: bool = False) -> None:
        self.broken = set(broken)
        self.error = error or OSError("no space left on device")
        self.in_callers = in_callers

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        self._break("batch", rows, tokens, padded)

    def queue(self, rows: int, tokens: int) -> None:
        self._break("queue", rows, tokens)

    def _break(self, name: str, *_: int) -> None:
        is_pools = threading.current_thread().name.startswith("engine-")
        if name in self.broken and (is_pools or self.in_callers):
            raise self.error


class Log:
    """Keeps each event with the error that was being handled."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, BaseException | None]] = []

    def error(self, event: str, **_: Any) -> None:
        self.lines.append((event, sys.exception()))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr("service.engine.pool.log", log)
    return log


@contextmanager
def engine_with(run: RunBatch, meter: EngineMeter, *, threads: int = 1, drain: bool = True) -> Iterator[Engine]:
    """An engine that must be closed within ten seconds, and its pool too, with every thread alive until then."""
    alive = set(threading.enumerate())
    pool = Pool(threads, meter)
    mine = set(threading.enumerate()) - alive
    engine = Engine(run, EngineLimits(queued_rows=8, batch_tokens=100), pool)
    yield engine
    assert len(mine) == threads
    assert all(thread.is_alive() for thread in mine)
    close(lambda: engine.close(drain=drain))
    close(pool.close)
    assert not any(thread.is_alive() for thread in mine)


def close(act: Any) -> None:
    closing = threading.Thread(target=act, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive(), "close never ends"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("broken", ["batch", "queue"])
def test_a_meter_that_raises_in_a_thread_fails_who_waits_and_the_thread_goes_on(
    log: Log, broken: str, threads: int
) -> None:
    meter = BrokenMeter(broken)
    run = ControlledRun()
    with engine_with(run, meter, threads=threads) as engine:
        for _ in range(5):
            with pytest.raises(OSError, match="no space left"):
                engine.submit(rows_of(50, 90), OUTPUTS).result(10)
        meter.broken.clear()
        assert lengths_in(engine.submit(rows_of(51), OUTPUTS).result(10)) == [51]
    assert run.batches == [[51]]
    assert log.lines == [("engine_fault", meter.error)]


def test_an_error_that_would_end_a_program_reaches_who_waits_as_one_that_does_not(log: Log) -> None:
    meter = BrokenMeter("batch", error=SystemExit(3))
    with engine_with(ControlledRun(), meter) as engine:
        with pytest.raises(RuntimeError, match="an engine thread was interrupted by SystemExit"):
            engine.submit(rows_of(5), OUTPUTS).result(10)
        meter.broken.clear()
        engine.submit(rows_of(5), OUTPUTS).result(10)
    assert log.lines == [("engine_fault", meter.error)]


def test_each_type_of_error_is_logged_once(log: Log) -> None:
    meter = BrokenMeter("batch")
    with engine_with(ControlledRun(), meter) as engine:
        for error in (OSError("one"), KeyError("two"), OSError("three")):
            meter.error = error
            assert engine.submit(rows_of(5), OUTPUTS).exception(10) is error
    assert [type(error) for _, error in log.lines] == [OSError, KeyError]


def test_a_log_that_cannot_be_written_ends_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.pool.log", None)
    with engine_with(ControlledRun(), BrokenMeter("batch")) as engine:
        for _ in range(2):
            assert isinstance(engine.submit(rows_of(5), OUTPUTS).exception(10), OSError)


def test_a_meter_that_raises_while_a_row_fails_hides_no_error_of_the_model(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ControlledRun(is_open=False)
    meter = BrokenMeter()
    with engine_with(run, meter) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        bad, good = engine.submit(rows_of(13, 90), OUTPUTS), engine.submit(rows_of(12), OUTPUTS)

        def break_later(rows: int, tokens: int, padded: int) -> None:
            assert (rows, tokens, padded) == (2, 25, 26)
            meter.broken.add("queue")

        monkeypatch.setattr(meter, "batch", break_later)
        run.open.set()
        assert isinstance(bad.exception(10), ZeroDivisionError)
        assert lengths_in(good.result(10)) == [12]
    assert log.lines == [("engine_fault", meter.error)]


@pytest.mark.usefixtures("log")
def test_a_meter_that_raises_when_rows_are_late_leaves_them_late() -> None:
    run = ControlledRun(is_open=False)
    meter = BrokenMeter()
    with stopped_clock() as clock, engine_with(run, meter) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        late = engine.submit(rows_of(50), OUTPUTS, deadline=10.0)
        clock.now = 10.0
        meter.broken.add("queue")
        run.open.set()
        assert isinstance(late.exception(10), DeadlineExceeded)


@pytest.mark.usefixtures("log")
def test_a_meter_that_raises_in_the_callers_thread_has_queued_nothing() -> None:
    run = ControlledRun(is_open=False)
    meter = BrokenMeter(in_callers=True)
    with engine_with(run, meter) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        meter.broken.add("queue")
        for _ in range(4):
            with pytest.raises(OSError, match="no space left"):
                engine.submit(rows_of(*[50] * 8), OUTPUTS)
        meter.broken.clear()
        full = engine.submit(rows_of(*[7] * 8), OUTPUTS)
        run.open.set()
        assert lengths_in(full.result(10)) == [7] * 8
    assert list(chain.from_iterable(run.batches)) == [1, *[7] * 8]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("drain", [True, False])
def test_a_meter_that_raises_while_the_engine_closes_keeps_nobody_waiting(drain: bool) -> None:
    run = ControlledRun(is_open=False)
    meter = BrokenMeter(in_callers=True)
    with engine_with(run, meter, drain=drain) as engine:
        first = engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        queued = engine.submit(rows_of(50), OUTPUTS)
        meter.broken.add("queue")
        threading.Timer(0.1, run.open.set).start()
    assert lengths_in(first.result(0)) == [1]
    assert isinstance(queued.exception(0), OSError if drain else EngineClosed)


@pytest.mark.usefixtures("log")
def test_cancelled_rows_leave_the_queue_though_the_meter_raises() -> None:
    run = ControlledRun(is_open=False)
    meter = BrokenMeter(in_callers=True)
    with engine_with(run, meter) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        given_up = engine.submit(rows_of(*[50] * 8), OUTPUTS)
        meter.broken.add("queue")
        closing = threading.Thread(target=engine.close, daemon=True)
        closing.start()
        assert given_up.cancel()
        run.open.set()
        closing.join(10)
        assert not closing.is_alive()
    assert run.batches == [[1]]


def test_a_callback_that_raises_takes_no_other_answer_along(log: Log) -> None:
    run = ControlledRun(is_open=False)
    error = SystemExit("a callback")

    def leave(_: Future[Any]) -> None:
        raise error

    with engine_with(run, BrokenMeter()) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        futures = [engine.submit(rows_of(10), OUTPUTS) for _ in range(3)]
        futures[0].add_done_callback(leave)
        run.open.set()
        assert [lengths_in(future.result(10)) for future in futures] == [[10]] * 3
    assert run.batches == [[1], [10, 10, 10]]
    assert log.lines == [("engine_fault", error)]


def test_a_future_that_its_owner_settled_takes_no_other_answer_along(log: Log) -> None:
    run = ControlledRun(is_open=False)
    with engine_with(run, BrokenMeter()) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        meddled, other = engine.submit(rows_of(10), OUTPUTS), engine.submit(rows_of(10), OUTPUTS)
        meddled.set_running_or_notify_cancel()
        run.open.set()
        assert lengths_in(other.result(10)) == [10]
    assert [event for event, _ in log.lines] == ["engine_fault"]


def test_a_run_that_would_end_the_thread_fails_who_waits(log: Log) -> None:
    def leave(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        raise SystemExit(len(rows))

    with engine_with(leave, BrokenMeter()) as engine:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="interrupted by SystemExit"):
                engine.submit(rows_of(5, 6), OUTPUTS).result(10)
    assert [event for event, _ in log.lines] == ["engine_fault"]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("part", "method"), [(FairQueue, "charge"), (FairQueue, "next"), (Backlog, "take")])
def test_an_error_while_a_batch_is_chosen_fails_all_that_would_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, part: type, method: str
) -> None:
    run = ControlledRun(is_open=False)
    with engine_with(run, BrokenMeter()) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert run.entered.wait(10)
        futures = [engine.submit(rows_of(10), OUTPUTS) for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(part, method, lambda *_: 1 / 0)
            run.open.set()
            assert [type(future.exception(10)) for future in futures] == [ZeroDivisionError] * 3
        assert lengths_in(engine.submit(rows_of(11), OUTPUTS).result(10)) == [11]


class FailingAtTimes:
    """A meter that raises at the calls for which `plan` says so, over and over."""

    def __init__(self, plan: list[bool]) -> None:
        self.plan = plan
        self.calls = 0
        self.lock = threading.Lock()

    def batch(self, rows: int, tokens: int, padded: int) -> None:
        self._count(rows, tokens, padded)

    def queue(self, rows: int, tokens: int) -> None:
        self._count(rows, tokens)

    def _count(self, *_: int) -> None:
        with self.lock:
            self.calls += 1
            is_bad = self.plan[self.calls % len(self.plan)]
        if is_bad:
            raise OSError("now and then")


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.booleans(), min_size=1, max_size=12),
    requests=st.lists(st.lists(st.integers(14, 60), min_size=1, max_size=6), min_size=1, max_size=12),
    given_up=st.sets(st.integers(0, 11)),
    threads=st.integers(1, 3),
    drain=st.booleans(),
)
def test_whenever_the_meter_raises_everybody_hears_and_close_returns(
    plan: list[bool], requests: list[list[int]], given_up: set[int], threads: int, drain: bool
) -> None:
    run = ControlledRun()
    futures: list[tuple[list[int], Future[Any]]] = []
    with engine_with(run, FailingAtTimes(plan), threads=threads, drain=drain) as engine:
        for number, lengths in enumerate(requests):
            try:
                futures.append((lengths, engine.submit(rows_of(*lengths), OUTPUTS)))
            except (OSError, RuntimeError):
                continue
            if number in given_up:
                futures[-1][1].cancel()
    for lengths, future in futures:
        assert future.done()
        if not future.cancelled() and not future.exception():
            assert lengths_in(future.result()) == lengths
        elif not future.cancelled():
            assert isinstance(future.exception(), (OSError, EngineClosed))
    computed = list(chain.from_iterable(run.batches))
    handed_in = list(chain.from_iterable(lengths for lengths, _ in futures))
    assert all(computed.count(length) <= handed_in.count(length) for length in computed)


@pytest.mark.parametrize("link", [then, then_wait])
def test_a_future_made_from_another_holds_what_would_have_ended_the_thread(link: Any) -> None:
    first: Future[int] = Future()

    def leave(_: int) -> Any:
        raise SystemExit

    whole = link(first, leave)
    with pytest.raises(SystemExit):
        first.set_result(1)
    assert isinstance(whole.exception(0), RuntimeError)
