"""Workers that are forked from the command."""

import subprocess
import sys
import textwrap
import threading

from service.cli.serving.forking import can_fork
from service.settings import Settings
from tests.service.conftest import ROOT

A_WORKER_THAT_CANNOT_START = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from service.cli.serving.forking import fork_workers
    from service.settings import Settings
    from service.supervision import WorkerSpec

    lifeline, end = os.pipe()
    spec = WorkerSpec(workers=1, listener=99, lifeline=lifeline, metrics_folder=Path(), drain_s=1.0)
    try:
        (worker,) = fork_workers(spec, Settings(), [None], end)
    finally:
        print("the command goes on", flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
""")


def test_a_worker_that_cannot_start_ends_and_does_nothing_that_is_the_commands_to_do() -> None:
    run = subprocess.run(
        [sys.executable, "-c", A_WORKER_THAT_CANNOT_START], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["the command goes on", "1"]
    assert "Traceback" in run.stderr


def test_a_process_with_other_threads_is_not_forked() -> None:
    forked = "from service.cli.serving.forking import can_fork; from service.settings import Settings; "
    run = subprocess.run(
        [sys.executable, "-c", forked + "print(can_fork(Settings()))"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == str(sys.platform == "linux")
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert not can_fork(Settings())
    finally:
        done.set()
        other.join()
