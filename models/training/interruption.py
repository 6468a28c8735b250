"""Signals that ask a run to stop between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The run was asked to stop; everything up to its last step is saved."""


@contextmanager
def stop_requested(*, alone: bool) -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets, so that no step is cut in two.

    A second signal ends the process as usual, but only if it trains alone. One of several processes gets Ctrl-C twice:
    from the terminal, and from the program that launched it.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        if alone:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
