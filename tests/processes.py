"""Processes that start with torch and what trains and exports imported. To import them takes longer than most tests.

They have streams and a folder of their own and can be killed. Three things differ from a command in a shell: libraries
were imported under the variables of the process that first asked for one, `atexit` and the end of the interpreter do
not run, and `sys.argv` is set after the imports. Commands that depend on one of these are run by `subprocess`.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["models.training.loop", "export.build"])


def run_steadfast(*arguments: str | Path, cwd: Path, env: Mapping[str, str]) -> CompletedProcess[str]:
    """Run a command that needs torch. Others import so little that `subprocess` runs them as fast."""
    words = [*map(str, arguments)]
    with TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("out", "err")]
        for stream in streams:
            stream.touch()
        process = FORKSERVER.Process(target=_run, args=(words, cwd, dict(env), streams))
        process.start()
        process.join()
        assert process.exitcode is not None
        return CompletedProcess(words, process.exitcode, *(one.read_text(encoding="utf-8") for one in streams))


def set_variables(variables: Mapping[str, str]) -> None:
    """Have these environment variables and no others."""
    os.environ.clear()
    os.environ.update(variables)


def _run(words: list[str], folder: Path, variables: dict[str, str], streams: list[Path]) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.chdir(folder)
    set_variables(variables)
    sys.argv = ["steadfast", *words]
    from service.cli import main

    main()
