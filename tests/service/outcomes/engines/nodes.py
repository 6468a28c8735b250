"""Machines of a Ray cluster as real processes on this one, each with an address of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.service.conftest import free_port, wait_for

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
"""Set for the nodes and for whoever asks them: a token in the home folder would switch authentication on."""

STARTED = b"Ray runtime started"
ATTEMPTS = 5


@dataclass(frozen=True)
class Cluster:
    """The first node, which has the cluster's memory, and a second."""

    address: str
    nodes: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]

    def lose_second(self) -> None:
        """Take the second node away with all its processes, as a power cut does."""
        _kill(self.nodes[1])


@contextmanager
def started_cluster(cores: int = 1) -> Iterator[Cluster]:
    """Two nodes of so many cores each, while the context lasts."""
    port = free_port()
    address = f"127.0.0.2:{port}"
    # Not in pytest's folder: the names of sockets may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    head = (
        "--head",
        "--node-ip-address=127.0.0.2",
        f"--port={port}",
        "--include-dashboard=false",
        f"--temp-dir={folder}",
    )
    other = (f"--address={address}", "--node-ip-address=127.0.0.3")
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for options in (head, other):
            nodes += [_start(options, cores, folder / "log")]
        yield Cluster(address, (nodes[0], nodes[1]))
    finally:
        for node in reversed(nodes):
            _kill(node)
        shutil.rmtree(folder, ignore_errors=True)


def _start(options: tuple[str, ...], cores: int, log: Path) -> subprocess.Popen[bytes]:
    """A node that runs. On a machine that is busy, one may give up before its parts have found each other."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--num-cpus={cores}", *options]
    for _ in range(ATTEMPTS):
        with log.open("wb") as out:
            node = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | ENVIRONMENT)
        wait_for(lambda node=node: STARTED in log.read_bytes() or node.poll() is not None)  # type: ignore[misc]
        if STARTED in log.read_bytes():
            return node
        _kill(node)
    raise AssertionError(log.read_text())


def _kill(node: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        processes = psutil.Process(node.pid).children(recursive=True)
        for process in (psutil.Process(node.pid), *processes):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
    node.wait()
