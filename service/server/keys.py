"""Who may ask: callers with a key, and for a change of the server those with a key of its own.

A server without keys answers this machine alone, unless it is open to all.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import structlog

from service.address import PREFIX
from service.server.problems import Problem
from service.settings import Settings, SettingsError

_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""A token as it may stand behind `Bearer` (RFC 6750)."""

_OF_OTHERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"origin"})
"""Headers of requests that a proxy passes on, or that a web page makes: this machine sends them for somebody else."""

_SHARED = (
    f"a key is both a caller's ({PREFIX}API_KEYS or its file) and an admin's ({PREFIX}ADMIN_KEYS or its file): every "
    "such caller could reload the models; make another key for admins"
)

Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger()


class BadKeys(SettingsError):
    """Keys that cannot be used."""


class KeyRing:
    """The keys in force; without any, every request passes."""

    def __init__(self, given: Sequence[str], file: Path | None = None, variable: str = f"{PREFIX}API_KEYS") -> None:
        """Take the keys `given`, by the environment variable of this name, and those in `file`.

        Raises:
            BadKeys: a key holds a character that no header can, or the file cannot be read or holds none.
        """
        self._given = tuple(given)
        self._file = file
        self._variable = variable
        self.digests = self._read()
        """The sha256 of each key."""

    def __bool__(self) -> bool:
        """Whether there are keys."""
        return bool(self.digests)

    def identify(self, authorization: Sequence[bytes]) -> str | None:
        """A name of the key in these values of the header `Authorization`; None if they hold none.

        Without keys everybody has the same name. Every key is compared, in constant time.
        """
        if not self.digests:
            return ""
        if len(authorization) != 1:
            return None
        scheme, _, key = authorization[0].partition(b" ")
        digest = sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        return digest.hex() if any(matches) and scheme.lower() == b"bearer" else None

    def shares_key(self, other: "KeyRing") -> bool:
        """Whether a key is in both."""
        return not set(self.digests).isdisjoint(other.digests)

    def reload(self) -> None:
        """Read the file again; where that fails, the keys stay as they are and the log says why."""
        try:
            self.digests = self._read()
        except BadKeys as error:
            log.error("keys_not_read", detail=str(error))
        else:
            log.info("keys_read", variable=self._variable, keys=len(self.digests))

    def _read(self) -> tuple[bytes, ...]:
        keys = [*_checked(self._given, self._variable)]
        if self._file is not None:
            from_file = [*_checked(_lines(self._file), str(self._file))]
            if not from_file:
                raise BadKeys(f"{self._file}: holds no key; write one a line")
            keys += from_file
        return tuple(sha256(key.encode()).digest() for key in dict.fromkeys(keys))


@dataclass(frozen=True)
class Access:
    """Who may ask for what."""

    keys: KeyRing
    admin_keys: KeyRing
    """The keys for requests that change the server; without any, only this machine may make them."""
    is_open: bool
    """Whether other machines may ask a server without keys."""

    def check(self, headers: Headers, *, is_local: bool, changes: bool) -> str:
        """Admit a request, or raise Problem; returns the name of the key, as `KeyRing.identify` does.

        `is_local` says whether it came by an address that this machine alone reaches, and `changes` whether it would
        change the server.
        """
        sent = [value for name, value in headers if name == b"authorization"]
        if changes and self.admin_keys:
            admin = self.admin_keys.identify(sent)
            if admin is None:
                raise _unauthorized("this changes the server: send one of its admin keys, Authorization: Bearer KEY")
            return admin
        if not self.keys and not self.is_open and not is_local:
            # Checked for each request: the address that a server listens on is not always the one in the settings.
            raise _unauthorized(
                f"this server has no keys and answers on loopback only; whoever runs it can set {PREFIX}API_KEYS"
            )
        caller = self.keys.identify(sent)
        if caller is None:
            raise _unauthorized("send one of the server's keys: Authorization: Bearer KEY")
        if changes and not (is_local and _OF_OTHERS.isdisjoint(name for name, _ in headers)):
            raise _unauthorized(
                "this changes the server, which has no admin keys and so takes it by loopback only; whoever runs it "
                f"can set {PREFIX}ADMIN_KEYS"
            )
        return caller

    def reload(self) -> None:
        """Read the files of keys again; see `KeyRing.reload`. Where a key would be in both, all stay as they are."""
        before = self.keys.digests, self.admin_keys.digests
        self.keys.reload()
        if self.admin_keys:
            self.admin_keys.reload()
        if self.keys.shares_key(self.admin_keys):
            self.keys.digests, self.admin_keys.digests = before
            log.error("keys_not_read", detail=_SHARED)


def read_access(settings: Settings) -> Access:
    """Who may ask a server with these settings.

    Raises:
        BadKeys: as KeyRing does, or a key is both a caller's and an admin key.
        SettingsError: there are no keys, other machines reach the address, and `open_to_all` is not set.
    """
    keys = KeyRing([key.get_secret_value() for key in settings.api_keys], settings.api_keys_file)
    if not keys and not settings.open_to_all and not ip_address(settings.host).is_loopback:
        raise SettingsError(
            f"others reach {settings.host} and there are no keys; set {PREFIX}API_KEYS, or {PREFIX}API_KEYS_FILE "
            f"(--api-keys-file), or {PREFIX}OPEN_TO_ALL=true (--open-to-all) to let anybody ask"
        )
    admin_keys = KeyRing(
        [key.get_secret_value() for key in settings.admin_keys], settings.admin_keys_file, f"{PREFIX}ADMIN_KEYS"
    )
    if keys.shares_key(admin_keys):
        raise BadKeys(_SHARED)
    return Access(keys, admin_keys, settings.open_to_all)


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BadKeys(f"{file}: cannot be read ({type(error).__name__})") from None
    for line in text.splitlines():
        key = line.partition("#")[0].strip()
        if key:
            yield key


def _checked(keys: Iterable[str], source: str) -> Iterator[str]:
    for number, key in enumerate(keys, start=1):
        if not _KEY.fullmatch(key):
            # The message goes into logs, so it must not quote the key.
            raise BadKeys(f"{source}: key {number} is not made of letters, digits and ._~+/- (with = at its end)")
        yield key
