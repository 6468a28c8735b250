"""Signals to a worker, and workers as the operating system sees them, started as BentoML starts them."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from service.server.in_flight import CancelScope, InFlight
from service.server.signals import handle_signals
from tests.service.conftest import ROOT

PARENT = """
import subprocess, sys

LISTEN = '''
import signal
both = [signal.SIGHUP, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, both)
print("up", flush=True)
print(signal.sigwait(both).name)
'''

def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)

def worker(code, number):
    return start(code, "service.app:Steadfast", "--worker-id", number)

listening = [worker(LISTEN, "1"), worker(LISTEN, "2"), start(LISTEN, "another program")]
for process in listening:
    process.stdout.readline()
TELL = "from service.server.signals import notify_other_workers; print(notify_other_workers())"
print(worker(TELL, "3").communicate()[0].strip())
listening[2].terminate()
for process in listening:
    print(process.communicate()[0].strip())
"""


def test_the_other_workers_of_a_server_are_told_and_nobody_else() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PARENT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.split() == ["2", "SIGHUP", "SIGHUP", "SIGTERM"]


@pytest.fixture
def server_stops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals by which the server's own handlers were told to stop."""
    # The timer that ends a drained worker would end the tests.
    monkeypatch.setattr("service.server.signals.STOPPING_S", 3_600.0)
    stops: list[int] = []
    ending = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: stops.append(number)) for number in ending]
    yield stops
    for number, handler in zip(ending, before, strict=True):
        signal.signal(number, handler)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer) and thread.interval == 3_600.0:
            thread.cancel()


def _raise_at_once(*numbers: signal.Signals) -> None:
    """Send this process signals that are all there before one of them is handled."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.raise_signal(number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


async def _stopped_by(signals: Sequence[Sequence[signal.Signals]], stops: list[int]) -> list[list[int]]:
    """What the server was told after each batch of signals while a request is under way, and once that is answered."""
    in_flight, answered, told = InFlight(), asyncio.Event(), []
    handle_signals(in_flight, 60.0)
    request = asyncio.create_task(answered.wait())
    scope = CancelScope()
    scope.task = request
    in_flight.begin(scope)
    for batch in signals:
        _raise_at_once(*batch)
        await asyncio.sleep(0.05)
        told.append([*stops])
    answered.set()
    await request
    in_flight.end(scope)
    await asyncio.sleep(0.05)
    return [*told, [*stops]]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("batches", [
    [[signal.SIGINT, signal.SIGTERM]],
    [[signal.SIGTERM], [signal.SIGINT]],
    [[signal.SIGINT], [signal.SIGTERM]],
])  # fmt: skip
def test_one_ctrl_c_drains_though_the_supervisor_sends_another_signal(
    run: Callable[[Coroutine[Any, Any, Any]], Any], batches: list[list[signal.Signals]], server_stops: list[int]
) -> None:
    *under_way, at_last = run(_stopped_by(batches, server_stops))
    assert under_way == [[]] * len(batches)
    assert at_last == [signal.SIGTERM]


def test_a_second_ctrl_c_stops_at_once(server_stops: list[int]) -> None:
    both = [signal.SIGINT, signal.SIGTERM]
    assert asyncio.run(_stopped_by([both, both], server_stops))[:2] == [[], [signal.SIGINT]]


@pytest.mark.parametrize(
    ("signals", "named"), [([signal.SIGINT, signal.SIGTERM], "SIGINT"), ([signal.SIGTERM], "SIGTERM")]
)
def test_the_log_names_what_the_user_did(signals: list[signal.Signals], named: str, server_stops: list[int]) -> None:
    with capture_logs() as lines:
        asyncio.run(_stopped_by([signals], server_stops))
    assert [line["signal"] for line in lines if line["event"] == "draining"] == [named]
