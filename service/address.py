"""The address that the server listens on, as the environment says it.

This module is also imported by a process that must end at once, so it needs only the standard library.
"""

from collections.abc import Mapping
from ipaddress import ip_address

from models.errors import UserError

PREFIX = "STEADFAST_"
"""Put before the name of a setting, in capitals, to get its variable."""

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3000


class BadAddress(UserError):
    """The environment names an address that no server can listen on."""


def reachable_url(environment: Mapping[str, str]) -> str:
    """The URL by which this machine reaches a server that was started with these variables.

    A server that listens on every address of the machine is reached by loopback.

    Raises:
        BadAddress: the server would refuse the variables too.
    """
    # As the settings do: variables count in small letters too.
    given = {name.upper(): value for name, value in environment.items()}
    named_host = given.get(f"{PREFIX}HOST", DEFAULT_HOST)
    named_port = given.get(f"{PREFIX}PORT", str(DEFAULT_PORT))
    try:
        host, port = ip_address(named_host), int(named_port)
    except ValueError as error:
        raise BadAddress(f"{PREFIX}HOST and {PREFIX}PORT: {error}; name an IP address and a number") from error
    if not 1 <= port <= 65_535:
        raise BadAddress(f"{PREFIX}PORT: {port} is no port; name one between 1 and 65535")
    if host.is_unspecified:
        return f"http://{'127.0.0.1' if host.version == 4 else '[::1]'}:{port}"
    return f"http://{host if host.version == 4 else f'[{host}]'}:{port}"
