"""The other worker processes of one server, which share nothing but the port."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from service.supervision import SERVICE


def notify_other_workers() -> int:
    """Have every other worker of this server read its packages again; returns how many were told.

    They load in their own time, each answering with the models it has until then. Their logs say how it went.
    """
    numbers = list(_other_workers())
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGHUP)
    return len(numbers)


def _other_workers() -> Iterator[int]:
    # By the parent's number alone: psutil's own `children` compares times of day, which may jump.
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.ppid() == os.getppid() and _is_worker(process.cmdline()):
                yield process.pid


def _is_worker(command: list[str]) -> bool:
    return SERVICE in command and "--worker-id" in command
