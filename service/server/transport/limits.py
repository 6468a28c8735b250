"""Limits on connections, and how many a process has room for."""

import resource
from dataclasses import dataclass

import structlog

OTHER_FILES = 256
"""Files that a worker opens beside its connections: models, caches, logs, pipes. The rest is reserve."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits on the connections of a process; the settings of the same names say more."""

    max_connections: int
    max_header_bytes: int
    max_header_lines: int
    header_timeout_s: float
    keep_alive_s: float


def reserve_files(connections: int) -> int:
    """Raise this process's limit on open files so that `connections` fit; returns how many fit, at most as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return connections
    fit = max(1, allowed - OTHER_FILES)
    log.warning("few_open_files", max_connections=connections, fit=fit, open_files=allowed)
    return fit
