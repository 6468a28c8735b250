"""Signals between the processes of one server: to drain and stop, or to read keys and models again."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType

import psutil
import structlog

from service.server.in_flight import InFlight
from service.supervision import FORKED_NAME, LIFELINE, SERVICE

STOPPING_S = 20.0
"""Longest time that a worker lives on after it was drained; then it ends, whatever still holds it."""

Handler = Callable[[int, FrameType | None], object]

log = structlog.get_logger()


def handle_signals(in_flight: InFlight, drain_s: float, *on_hangup: Callable[[], object]) -> None:
    """Drain at SIGTERM and SIGINT before the server stops, and call each of `on_hangup` at SIGHUP.

    Call it in the event loop's thread, after the server has set its own handlers: they stop the server once it is
    drained. A second SIGINT stops it at once. The end of the supervisor counts as SIGTERM.
    """
    loop = asyncio.get_running_loop()
    server_stop = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    came: list[signal.Signals] = []
    stopping: list[asyncio.Task[None]] = []

    def stop(number: signal.Signals) -> None:
        handler, at_sigterm = server_stop[number], server_stop[signal.SIGTERM]
        assert callable(handler), "the server sets its own first"
        assert callable(at_sigterm), "the server sets its own first"
        came.append(number)
        if not stopping:
            # For Ctrl-C too: after SIGINT the server would raise KeyboardInterrupt, which looks like a crash.
            stopping.append(loop.create_task(_drain(in_flight, drain_s, at_sigterm, came)))
        # Ctrl-C is a SIGINT from the terminal and a SIGTERM from the supervisor, in any order.
        elif number is signal.SIGINT and came.count(number) > 1:
            handler(number, None)

    def stop_without_supervisor() -> None:
        loop.remove_reader(lifeline)
        stop(signal.SIGTERM)

    for number in server_stop:
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, lambda: [call() for call in on_hangup])
    # It waited for its handler: see `hold_hangups`.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    if LIFELINE in os.environ:
        lifeline = int(os.environ[LIFELINE])
        loop.add_reader(lifeline, stop_without_supervisor)


def notify_other_workers() -> int:
    """Have every other worker of this server read its packages again; returns how many there are.

    They load in their own time, and each answers with its old models until then. Their logs say how it went.
    """
    process_ids = list(_other_workers())
    for process_id in process_ids:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGHUP)
    return len(process_ids)


async def _drain(in_flight: InFlight, drain_s: float, server_stop: Handler, came: Sequence[signal.Signals]) -> None:
    # By now both signals of a Ctrl-C are in `came`.
    log.info("draining", signal=(signal.SIGINT if signal.SIGINT in came else signal.SIGTERM).name)
    await in_flight.drain(drain_s)
    # Against a thread that never ends or a caller that never reads. As a daemon the timer holds up nothing itself.
    end = threading.Timer(STOPPING_S, os._exit, (1,))
    end.daemon = True
    end.start()
    server_stop(signal.SIGTERM, None)


def _other_workers() -> Iterator[int]:
    # By the parent's process id alone: psutil's own `children` compares times of day, which may jump.
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.ppid() == os.getppid() and _is_worker(process):
                yield process.pid


def _is_worker(process: psutil.Process) -> bool:
    # This raises for one that has ended and was not waited for.
    command = process.cmdline()
    return process.name() == FORKED_NAME or (SERVICE in command and "--worker-id" in command)
