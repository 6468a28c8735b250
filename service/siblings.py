"""The other worker processes of one server, which share nothing but the port."""

import os
import signal
from contextlib import suppress

import psutil

SERVICE = "service.app:Steadfast"


def tell_siblings() -> int:
    """Have every other worker of this server read its packages again; returns how many were told.

    They load in their own time, each answering with the models it has until then. Their logs say how it went.
    """
    parent = psutil.Process().parent()
    told = 0
    for sibling in parent.children() if parent else []:
        # One that ends meanwhile has nothing to be told.
        with suppress(psutil.NoSuchProcess):
            if sibling.pid != os.getpid() and _is_worker(sibling.cmdline()):
                sibling.send_signal(signal.SIGHUP)
                told += 1
    return told


def _is_worker(command: list[str]) -> bool:
    return SERVICE in command and "--worker-id" in command
