"""Starting the server: everything that can be wrong is found before the first worker starts."""

import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from export.package import Package
from export.session import find_provider
from models.errors import UserError
from service.answers.packages import open_packages
from service.server.keys import key_ring
from service.server.tracing import check_tracing
from service.settings import Settings, SettingsError
from service.supervision import LISTEN_BACKLOG, SOURCE, WorkerSpec, command


class AddressTaken(UserError):
    """The address cannot be listened on."""


def become_server(settings: Settings) -> NoReturn:
    """Check the keys and the packages, take the address, then become the server.

    Raises:
        SettingsError, PackageError, ProviderMissing, AddressTaken: with what to do.
    """
    key_ring(settings)
    check_tracing(settings)
    _check_pins(settings, open_packages(settings))
    find_provider(settings.provider)
    listener = listen(settings.host, settings.port)
    # Inherited by what this process becomes, and shared by its workers.
    listener.set_inheritable(True)
    os.environ.update(settings.as_environment() | {"BENTOML_DO_NOT_TRACK": "true"})
    sys.stdout.flush()
    words = command(WorkerSpec(workers=settings.workers, listener=listener.fileno(), drain_s=settings.drain_s))
    # A folder named `service` where the command was given must not stand before ours.
    os.chdir(SOURCE)
    os.execv(words[0], words)


def _check_pins(settings: Settings, packages: Sequence[Package]) -> None:
    names = [package.manifest.name for package in packages]
    unknown = sorted(set(settings.pinned) - set(names))
    if unknown:
        raise SettingsError(
            f"pinned (STEADFAST_PINNED): no package is called {', '.join(unknown)}; there are: {', '.join(names)}"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that callers can connect to from now on; raises AddressTaken where there cannot be one."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # An address that a server left a minute ago counts as free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressTaken(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port"
        ) from error
    return listener
