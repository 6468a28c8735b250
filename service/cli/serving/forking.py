"""The first workers, forked from the command that has checked everything: nothing is imported or checked twice.

A worker loads its models in threads from its first moment, while BentoML is imported. One that takes the place of
another is started anew, by `service.supervision`.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from export.package import Package
from service.settings import Settings
from service.supervision import FORKED_NAME, LIFELINE, WorkerSpec, worker_arguments


def can_fork(settings: Settings) -> bool:
    """Whether workers may be forked from this process.

    Systems other than Linux have libraries that fail after a fork, and so have GPUs once their libraries are loaded.
    """
    return sys.platform == "linux" and settings.provider == "cpu"


def fork_workers(
    spec: WorkerSpec, settings: Settings, packages: Sequence[Package], supervisor_end: int
) -> tuple[int, ...]:
    """Fork the workers; returns their process ids, fewer where the machine has no room for all just now.

    This process must run no other thread of Python, and must not have loaded a graph. `supervisor_end` is the end of
    the lifeline that no worker may hold.
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
            _work(number, spec, settings, packages)
        process_ids.append(process_id)
    return tuple(process_ids)


def _work(number: int, spec: WorkerSpec, settings: Settings, packages: Sequence[Package]) -> NoReturn:
    """Be worker `number` until told to stop."""
    # Until the worker has handlers of its own a signal just ends it, as it ends one that is started anew.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Path("/proc/self/comm").write_text(FORKED_NAME)
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
