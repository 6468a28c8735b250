"""Processes made from one that has imported what trains and exports, which takes longer than the work of a test.

They are processes like any other: each has streams, a folder and an environment of its own, and can be killed.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["models.training.loop", "export.build"])


def run_steadfast(*arguments: str | Path, cwd: Path, env: Mapping[str, str]) -> CompletedProcess[str]:
    """Run a command that trains, exports or measures, with no more variables than these."""
    words = [*map(str, arguments)]
    with TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("out", "err")]
        process = PROCESSES.Process(target=_run, args=(words, cwd, dict(env), streams))
        process.start()
        process.join()
        assert process.exitcode is not None
        return CompletedProcess(words, process.exitcode, *(one.read_text(encoding="utf-8") for one in streams))


def _run(words: list[str], folder: Path, variables: dict[str, str], streams: list[Path]) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["steadfast", *words]
    from service.cli import main

    main()
