"""Starts the server, after everything that can be wrong was checked in one process."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from export.package import Package
from export.providers import find_provider
from models.errors import UserError
from models.tables import format_count
from service.answers.packages import open_packages
from service.cli.serving.forking import can_fork, fork_workers
from service.server.keys import read_access
from service.server.tracing import check_tracing
from service.settings import Settings, SettingsError, unknown_variables
from service.supervision import LISTEN_BACKLOG, SOURCE, WorkerSpec, command, hold_hangups


class AddressTaken(UserError):
    """An address that the server cannot listen on."""


def become_server(settings: Settings) -> NoReturn:
    """Check the keys and the packages, take the address, then replace this process by the server.

    Raises:
        SettingsError, PackageError, ProviderMissing, AddressTaken: the server cannot start; each says what to do.
    """
    # From before the keys and the packages are read: what a signal asks for afterwards is done once the server can.
    hold_hangups()
    # Whoever is started by a program that ignores it is never told how its workers ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The server runs in another folder, and its models are those of `packages`.
    settings = settings.for_any_folder()
    for sentence in unknown_variables(os.environ):
        typer.echo(f"steadfast: {sentence}", err=True)
    read_access(settings)
    check_tracing(settings)
    find_provider(settings.provider)
    packages = open_packages(settings)
    _check_pins(settings, packages)
    listener = listen(settings.host, settings.port)
    metrics_folder = Path(tempfile.mkdtemp(prefix="steadfast-"))
    os.environ.update(settings.as_environment())
    os.environ.update(BENTOML_DO_NOT_TRACK="true", PROMETHEUS_MULTIPROC_DIR=str(metrics_folder))
    # As it is imported, BentoML makes folders in the home folder, which a user of services may not have.
    os.environ.setdefault("BENTOML_HOME", str(metrics_folder / "bentoml"))
    if sys.stdout.isatty():
        typer.echo(greeting(settings, len(packages)))
    sys.stdout.flush()
    # A folder named `service` in the current directory must not be imported in place of ours.
    os.chdir(SOURCE)
    lifeline, supervisor_end = os.pipe()
    # The supervisor that replaces this process inherits the socket, which all its workers share, and the pipe.
    for descriptor in (listener.fileno(), lifeline, supervisor_end):
        os.set_inheritable(descriptor, True)
    spec = WorkerSpec(
        workers=settings.workers,
        listener=listener.fileno(),
        lifeline=lifeline,
        metrics_folder=metrics_folder,
        drain_s=settings.drain_s,
    )
    if can_fork(settings):
        spec = replace(spec, forked=fork_workers(spec, settings, packages, supervisor_end))
    words = command(spec)
    os.execv(words[0], words)


def greeting(settings: Settings, models: int) -> str:
    """A line for people who start the server in a terminal."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}"
    more = f"a page to try them at {address}/" if settings.page else f"docs at {address}/docs.json"
    return f"listening on {address}, {format_count(models, 'model')}, {more}"


def _check_pins(settings: Settings, packages: Sequence[Package]) -> None:
    names = [package.manifest.name for package in packages]
    unknown = sorted(set(settings.pinned) - set(names))
    if unknown:
        raise SettingsError(
            f"pinned (STEADFAST_PINNED): no package is called {', '.join(unknown)}; there are: {', '.join(names)}"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that callers can connect to from now on; raises AddressTaken if the address cannot be listened on."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # Without this, an address that a server left a minute ago would not be free yet.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressTaken(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port or STEADFAST_PORT"
        ) from error
    return listener
