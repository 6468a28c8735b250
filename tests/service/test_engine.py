"""The queue and its threads, with rows of chosen lengths and a run that the test controls."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.package import open_package
from export.session import Arrays, Session
from models.text import Row
from service.engine import Engine, EngineClosed, EngineLimits, Overloaded
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


def lengths_in(computed: Any) -> list[int]:
    return [int(arrays["logits"][0]) for arrays in computed.rows]


@pytest.fixture
def shut() -> Press:
    return Press(is_open=False)


@pytest.fixture
def busy(shut: Press) -> Iterator[Engine]:
    """An engine whose one thread is held up by a row of length 1, so that what comes next must queue."""
    with Engine(shut, EngineLimits(queued_rows=8, queued_tokens=400, batch_tokens=100)) as engine:
        engine.submit(bars(1), OUTPUTS)
        assert shut.entered.wait(10)
        yield engine
        shut.open.set()


def test_results_come_in_the_order_of_the_rows() -> None:
    with Engine(Press(), EngineLimits(threads=2)) as engine:
        computed = engine.submit(bars(40, 3, 17, 3, 90), OUTPUTS).result(10)
    assert lengths_in(computed) == [40, 3, 17, 3, 90]


def test_a_lone_row_is_computed_at_once() -> None:
    with Engine(Press(), EngineLimits()) as engine:
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
    with Engine(shut, EngineLimits(threads=2)) as engine:
        engine.submit(bars(10, 10, 10, 10), OUTPUTS)
        wait_for(lambda: len(shut.batches) == 2)
        shut.open.set()
    assert sorted(map(len, shut.batches)) == [2, 2]


def test_a_failing_batch_fails_only_those_who_wait_for_it_with_the_real_error() -> None:
    with Engine(Press(), EngineLimits()) as engine:
        bad, good = engine.submit(bars(13), OUTPUTS), engine.submit(bars(99), OUTPUTS)
        with pytest.raises(ZeroDivisionError, match="thirteen"):
            bad.result(10)
        assert lengths_in(good.result(10)) == [99]


def test_a_run_that_returns_too_few_rows_fails_who_waits_and_the_engine_goes_on() -> None:
    def lose_thirteen(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        return [{"logits": np.array([len(row)])} for row in rows if len(row) != 13]

    with Engine(lose_thirteen, EngineLimits()) as engine:
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


@pytest.mark.parametrize("first", [[5] * 8, [200, 200]], ids=["rows", "tokens"])
def test_a_full_queue_refuses(busy: Engine, first: list[int]) -> None:
    busy.submit(bars(*first), OUTPUTS)
    with pytest.raises(Overloaded, match="waiting already"):
        busy.submit(bars(5), OUTPUTS)


def test_an_empty_queue_takes_a_request_of_any_size(busy: Engine, shut: Press) -> None:
    future = busy.submit(bars(*[100] * 50), OUTPUTS)
    shut.open.set()
    assert len(future.result(10).rows) == 50


def test_closing_finishes_what_is_queued(shut: Press) -> None:
    engine = Engine(shut, EngineLimits())
    futures = [engine.submit(bars(length), OUTPUTS) for length in (5, 50)]
    shut.open.set()
    engine.close()
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
    engine = Engine(Press(), EngineLimits())
    engine.close()
    with pytest.raises(EngineClosed):
        engine.submit(bars(5), OUTPUTS)


@settings(max_examples=30, deadline=None)
@given(requests=st.lists(st.lists(st.integers(1, 12) | st.integers(1, 300), max_size=12), max_size=12))
def test_every_row_is_computed_once_for_whoever_sent_it(requests: list[list[int]]) -> None:
    press = Press()
    requests = [[length for length in request if length != 13] for request in requests]
    with Engine(press, EngineLimits(threads=3, batch_tokens=128)) as engine:
        futures = [engine.submit(bars(*request), OUTPUTS) for request in requests]
        assert [lengths_in(future.result(10)) for future in futures] == requests
    assert sorted(chain.from_iterable(press.batches)) == sorted(chain.from_iterable(requests))


def test_a_row_gets_the_same_bits_alone_and_in_company(package: Path) -> None:
    opened = open_package(package)
    session = Session(opened.graph, pad_id=opened.manifest.pad_id)
    rows = [opened.reader().read("good film " * count + "bad").rows[0] for count in range(14)]
    with Engine(session.run, EngineLimits(threads=2)) as engine:
        together = engine.submit(rows, ("logits", "rollout")).result(10).rows
        alone = [engine.submit([row], ("logits", "rollout")).result(10).rows[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["logits"].tobytes() == other["logits"].tobytes()
        assert one["rollout"].tobytes() == other["rollout"].tobytes()
