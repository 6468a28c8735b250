"""What a worker does when it is told to stop, or to read its keys and models again."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

from service.server.in_flight import InFlight
from service.supervision import LIFELINE

STOPPING_S = 20.0
"""Most that a worker lives on after it was drained; then it ends whatever still holds it."""

Handler = Callable[[int, FrameType | None], object]

log = structlog.get_logger()


def handle_signals(in_flight: InFlight, drain_s: float, *on_hangup: Callable[[], object]) -> None:
    """Drain at SIGTERM and SIGINT before the server stops, and call each of `on_hangup` at SIGHUP.

    Called in the event loop's thread once the server has set handlers of its own: they stop it when it is drained.
    A second SIGINT stops it at once. That the supervisor is gone counts as SIGTERM.
    """
    loop = asyncio.get_running_loop()
    server_stop = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stopping: list[asyncio.Task[None]] = []

    def stop(number: signal.Signals) -> None:
        handler = server_stop[number]
        assert callable(handler), "the server sets its own first"
        if not stopping:
            log.info("draining", signal=number.name)
            stopping.append(loop.create_task(_drain(in_flight, drain_s, number, handler)))
        elif number is signal.SIGINT:
            handler(number, None)

    def stop_alone() -> None:
        loop.remove_reader(lifeline)
        stop(signal.SIGTERM)

    for number in server_stop:
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, lambda: [call() for call in on_hangup])
    if LIFELINE in os.environ:
        lifeline = int(os.environ[LIFELINE])
        loop.add_reader(lifeline, stop_alone)


async def _drain(in_flight: InFlight, drain_s: float, number: int, server_stop: Handler) -> None:
    await in_flight.drain(drain_s)
    # For a thread that never ends or a caller that never reads; a daemon, so that it holds up nothing itself.
    end = threading.Timer(STOPPING_S, os._exit, (1,))
    end.daemon = True
    end.start()
    server_stop(number, None)
