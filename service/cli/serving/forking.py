"""The first workers, forked from the command that has checked everything: nothing is imported or checked twice.

A worker loads its models in threads from its first moment, while BentoML is imported. One that takes the place of
another is started anew, by `service.supervision`.
"""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from export.package import Package
from service.settings import Settings
from service.supervision import FORKED_NAME, LIFELINE, WorkerSpec, worker_arguments

_OWN_NAME = Path("/proc/self/comm")
"""The file of the name that the system shows for this process."""


def can_fork(settings: Settings) -> bool:
    """Whether workers may be forked from this process, and the system lets them be named and waited for.

    Systems other than Linux have libraries that fail after a fork, and so have GPUs once their libraries are loaded. In
    a process with other threads, a lock that one of them holds would stay locked in the worker.
    """
    return (
        sys.platform == "linux"
        and settings.provider == "cpu"
        and threading.active_count() == 1
        and os.access(_OWN_NAME, os.W_OK)
        and _has_process_descriptors()
    )


def _has_process_descriptors() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def fork_workers(
    spec: WorkerSpec, settings: Settings, packages: Sequence[Package], supervisor_end: int
) -> tuple[int, ...]:
    """Fork the workers; returns their process ids, fewer where the machine has no room for all just now.

    Call it where `can_fork` allows it and before a graph is loaded, whose library has threads of its own.
    `supervisor_end` is the end of the lifeline that no worker may hold.
    """
    process_ids: list[int] = []
    # What is there by now stays, and the workers share its memory as long as nobody writes there.
    gc.freeze()
    for number in range(1, spec.workers + 1):
        try:
            process_id = os.fork()
        except OSError:
            break
        if not process_id:
            os.close(supervisor_end)
            try:
                _work(number, spec, settings, packages)
            except Exception:
                # It must not reach those who called: what they do then is for the command, which is another process.
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        process_ids.append(process_id)
    return tuple(process_ids)


def _work(number: int, spec: WorkerSpec, settings: Settings, packages: Sequence[Package]) -> NoReturn:
    """Be worker `number` until told to stop."""
    # Until the worker has handlers of its own a signal just ends it, as it ends one that is started anew.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _OWN_NAME.write_text(FORKED_NAME)
    os.environ[LIFELINE] = str(spec.lifeline)
    from service.app import begin
    from service.server.logs import configure_logs

    configure_logs()
    begin(settings, packages, number)
    import bentoml._internal.log as bentoml_log
    from _bentoml_impl.worker.service import main

    # The log is configured already. BentoML would switch off every logger that is there, while models are being loaded.
    bentoml_log.configure_server_logging = configure_logs
    main(worker_arguments(number, spec.listener))
    raise AssertionError("BentoML's command leaves by SystemExit")
