"""The process above the workers: it holds the socket that they share, and replaces a worker that dies.

It takes the place of BentoML's own supervisor. That one looks for dead workers every ten seconds, and in a container
not at all; it opens two control ports to every user of the machine, and it loads the whole service beside its workers.
The workers are BentoML's. Where that can be, the first are forked by the process that becomes the supervisor. This
module imports only the standard library, because the process lives as long as the server and does next to nothing.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1]
"""The folder in which workers are started, so that they find the service wherever the server is started from."""

SERVICE = "service.app:Steadfast"
"""The service that workers run, by its name in BentoML."""

LIFELINE = "STEADFAST_LIFELINE"
"""The environment variable that names a pipe to workers: it closes when the supervisor is gone, however it ended."""

FORKED_NAME = "serving-worker"
"""The name that the system shows for a worker which was forked, and so has the command of the process it came from."""

LISTEN_BACKLOG = 2_048
"""Connections that the system holds until a worker accepts them."""
CLOSING_S = 5
"""The time that connections have to close, after the requests on them were answered."""

STOPPING_S = 30.0
"""The most time that a worker gets after it was drained; more than it gives itself in `service.server.signals`."""

SHORT_LIFE_S = 10.0
"""A worker that dies younger than this is replaced only after a pause."""
RESTART_PAUSE_S = 1.0

GOOD_EXITS = (0, -signal.SIGTERM, -signal.SIGINT)
"""The exit codes of workers that were told to stop."""


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """The number of workers to keep running, and what each is started with."""

    workers: int
    listener: int
    """File descriptor of the socket that all workers accept from."""
    lifeline: int
    """File descriptor of the end of a pipe that workers inherit; the other end closes with the supervisor."""
    metrics_folder: Path
    """The folder in which all workers keep their metrics; the supervisor removes it at the end."""
    drain_s: float
    """The time that a worker has for the requests under way when it is told to stop."""
    forked: tuple[int, ...] = ()
    """Process ids of the first workers, where the process that becomes the supervisor has forked them already."""


class _ForkedWorker:
    """A worker that the supervisor did not start itself, with what asyncio's processes offer."""

    def __init__(self, process_id: int) -> None:
        """A child of this process, also one that has ended and was not waited for."""
        self._id = process_id
        # It can be waited for without a thread, and a signal to it reaches no other process that has got the same id.
        self._descriptor = os.pidfd_open(process_id)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._descriptor, number)

    async def wait(self) -> int:
        """Wait for the end; returns the exit code, below 0 after a signal."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, ended.set)
        await ended.wait()
        loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1])


_Worker = asyncio.subprocess.Process | _ForkedWorker


class Supervisor:
    """Keeps workers running until it is told to stop."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Start nothing yet."""
        self._spec = spec
        self._stopping = asyncio.Event()
        self._running: dict[int, _Worker] = {}
        self._forked = {number: _ForkedWorker(one) for number, one in enumerate(spec.forked, start=1)}

    async def run(self) -> int:
        """Run until told to stop; returns the exit code, 0 if all workers ended well when they were told to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._signal_workers, signal.SIGHUP)
        # The workers that were forked are started by then: a signal that waited must not pass them by.
        loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGHUP})
        codes = await asyncio.gather(*(self._keep_running(number) for number in range(1, self._spec.workers + 1)))
        return 0 if all(code in GOOD_EXITS for code in codes) else 1

    async def _keep_running(self, number: int) -> int:
        """Replace worker `number` each time it dies, until told to stop; returns the exit code of the last one."""
        while not self._stopping.is_set() or number in self._forked:
            began = time.monotonic()
            process = self._forked.pop(number, None) or await self._start(number)
            if process is None:
                if self._stopping.is_set():
                    return 1
                continue
            self._running[number] = process
            if self._stopping.is_set():
                # The signal came while the worker was being started.
                process.terminate()
            code = await process.wait()
            del self._running[number]
            if self._stopping.is_set():
                return code
            _log("worker_died", worker=number, exit_code=code)
            if time.monotonic() - began < SHORT_LIFE_S:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RESTART_PAUSE_S)
            if self._stopping.is_set():
                return code
        return 0

    async def _start(self, number: int) -> _Worker | None:
        """Start a worker; returns None, after a pause, if the machine has no room for one just now."""
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "_bentoml_impl.worker.service"),
                *worker_arguments(number, self._spec.listener),
                cwd=SOURCE,
                env=os.environ | {LIFELINE: str(self._spec.lifeline)},
                pass_fds=[self._spec.listener, self._spec.lifeline],
                preexec_fn=hold_hangups,
            )
        except OSError as error:
            _log("worker_not_started", worker=number, errno=error.errno or 0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART_PAUSE_S)
            return None

    def _stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._signal_workers(signal.SIGTERM)
            # The workers hold the socket for as long as they answer. Held here too, it would go on taking connections
            # that nobody reads, and the end of this process would break them; now they are refused.
            os.close(self._spec.listener)
            asyncio.get_running_loop().call_later(self._spec.drain_s + STOPPING_S, self._signal_workers, signal.SIGKILL)

    def _signal_workers(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)


def command(spec: WorkerSpec) -> list[str]:
    """The command that becomes the supervisor of these workers."""
    words = ["--workers", spec.workers, "--listener", spec.listener, "--lifeline", spec.lifeline]
    words += ["--metrics-folder", spec.metrics_folder, "--drain-s", spec.drain_s, "--forked", *spec.forked]
    return [sys.executable, "-m", "service.supervision", *map(str, words)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Supervise the workers that the arguments of `command` describe, then exit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--metrics-folder", type=Path, required=True)
    parser.add_argument("--drain-s", type=float, required=True)
    parser.add_argument("--forked", type=int, nargs="*", required=True)
    spec = WorkerSpec(**vars(parser.parse_args(arguments)))
    try:
        code = asyncio.run(Supervisor(spec).run())
    finally:
        shutil.rmtree(spec.metrics_folder, ignore_errors=True)
    sys.exit(code)


def worker_arguments(number: int, listener: int) -> list[str]:
    """The arguments of BentoML's command for worker `number`, which accepts from the file descriptor `listener`."""
    return [
        SERVICE, "--service-name", "Steadfast", "--args", "{}", "--fd", str(listener), "--backlog", str(LISTEN_BACKLOG),
        "--worker-id", str(number), "--timeout-graceful-shutdown", str(CLOSING_S),
    ]  # fmt: skip


def hold_hangups() -> None:
    """Let SIGHUP wait until this process, or what it becomes, has a handler: it would end the process before that.

    None is lost, so that whatever was read before it came is read again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _log(event: str, **facts: int) -> None:
    """Write a line of log in the format of the workers' logs."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with suppress(OSError):
        os.write(2, (json.dumps({**facts, "event": event, "level": "error", "timestamp": moment}) + "\n").encode())


if __name__ == "__main__":
    main()
