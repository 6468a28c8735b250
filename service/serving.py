"""Starting the server: everything that can be wrong is found before BentoML starts."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import service
from export.session import find_provider
from service.packages import open_packages
from service.settings import Settings


class AddressTaken(OSError):
    """The address cannot be listened on."""


def serve(settings: Settings) -> NoReturn:
    """Check the packages and the address, then become the server.

    Raises:
        PackageError, ProviderMissing, AddressTaken: with what to do.
    """
    open_packages(settings)
    find_provider(settings.provider)
    check_address(settings.host, settings.port)
    # Before BentoML starts: its command asks once, at the very beginning.
    os.environ.update(settings.as_environment() | {"BENTOML_DO_NOT_TRACK": "true"})
    sys.stdout.flush()
    arguments = ["serve", "service.app:Steadfast", "--host", settings.host, "--port", str(settings.port)]
    # From any folder: BentoML looks for the service in its working directory.
    source = Path(service.__file__).parents[1]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *arguments, "--working-dir", str(source)])


def check_address(host: str, port: int) -> None:
    """Raise AddressTaken unless a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # As the server will: an address it left a minute ago counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise AddressTaken(
                f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port"
            ) from error
