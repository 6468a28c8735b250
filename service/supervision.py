"""The process above the workers: it holds the listener that they share, and replaces a worker that dies.

It stands in for BentoML's own supervisor, which looks for dead workers every ten seconds and in a container not at all,
opens two control ports to every user of the machine, and loads the whole service beside its workers. The workers are
BentoML's. This module imports only the standard library: it lives as long as the server, and mostly waits.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1]
"""The folder where workers find the service, wherever the server is started."""

SERVICE = "service.app:Steadfast"
"""The service that workers run, as BentoML names it."""

LIFELINE = "STEADFAST_LIFELINE"
"""Environment variable that names a pipe to the workers: it closes when the supervisor ends, however that happens."""

BACKLOG = 2_048
CLOSING_S = 5
"""Time for connections to close after the requests on them were answered."""

STOPPING_S = 30.0
"""Longest time that a worker is given after it was drained; more than it gives itself in `service.server.signals`."""

SHORT_LIFE_S = 10.0
"""A worker that dies younger than this is replaced only after a pause."""
PAUSE_S = 1.0

ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)
"""Exit codes of workers that were told to end."""


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """The workers that a supervisor keeps running."""

    workers: int
    listener: int
    """File descriptor of the socket that all workers accept from."""
    drain_s: float


class Supervisor:
    """Keeps workers running until it is told to stop."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._lifeline = os.pipe()

    async def run(self) -> int:
        """Keep the workers running; returns the exit code, 0 if all of them ended well when they were told to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        codes = await asyncio.gather(*(self._keep(number) for number in range(1, self._spec.workers + 1)))
        return 0 if all(code in ENDED_WELL for code in codes) else 1

    async def _keep(self, number: int) -> int:
        """Keep one worker running; returns how the last one ended."""
        while True:
            began = time.monotonic()
            process = await self._start(number)
            if process is None:
                if self._stopping.is_set():
                    return 1
                continue
            self._running[number] = process
            if self._stopping.is_set():
                # The order to stop came while the worker was being started.
                process.terminate()
            code = await process.wait()
            del self._running[number]
            if self._stopping.is_set():
                return code
            _log("worker_died", worker=number, exit_code=code)
            if time.monotonic() - began < SHORT_LIFE_S:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), PAUSE_S)
            if self._stopping.is_set():
                return code

    async def _start(self, number: int) -> asyncio.subprocess.Process | None:
        """Start a worker; returns None, after a pause, where the machine has no room for one just now."""
        try:
            return await asyncio.create_subprocess_exec(
                *_worker(number, self._spec.listener),
                cwd=SOURCE,
                env=os.environ | {LIFELINE: str(self._lifeline[0])},
                pass_fds=[self._spec.listener, self._lifeline[0]],
                preexec_fn=_ignore_hangup,
            )
        except OSError as error:
            _log("worker_not_started", worker=number, errno=error.errno or 0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), PAUSE_S)
            return None

    def _stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._tell(signal.SIGTERM)
            asyncio.get_running_loop().call_later(self._spec.drain_s + STOPPING_S, self._tell, signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)


def command(spec: WorkerSpec) -> list[str]:
    """The command that becomes the supervisor of these workers."""
    words = ["--workers", spec.workers, "--listener", spec.listener, "--drain-s", spec.drain_s]
    return [sys.executable, "-m", "service.supervision", *map(str, words)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the supervisor that `arguments` describe, as `command` gives them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--drain-s", type=float, required=True)
    with _counters():
        code = asyncio.run(Supervisor(WorkerSpec(**vars(parser.parse_args(arguments)))).run())
    sys.exit(code)


@contextmanager
def _counters() -> Iterator[None]:
    """Give the counters of all workers a folder of their own, and remove it at the end."""
    folder = tempfile.mkdtemp(prefix="steadfast-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _worker(number: int, listener: int) -> list[str]:
    return [
        sys.executable, "-m", "_bentoml_impl.worker.service", SERVICE, "--service-name", "Steadfast",
        "--args", "{}", "--fd", str(listener), "--backlog", str(BACKLOG), "--worker-id", str(number),
        "--timeout-graceful-shutdown", str(CLOSING_S),
    ]  # fmt: skip


def _ignore_hangup() -> None:
    """Have a worker ignore SIGHUP while it starts: it would die of it, and reads its keys and packages anyway."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _log(event: str, **facts: int) -> None:
    """Write a line to the log as the workers do."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with suppress(OSError):
        os.write(2, (json.dumps({**facts, "event": event, "level": "error", "timestamp": moment}) + "\n").encode())


if __name__ == "__main__":
    main()
