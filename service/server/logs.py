"""The log: one JSON object on each line of stderr, from our code and from libraries; it never holds a caller's text.

An exception is logged by its type and the place where it was raised: its message may quote a text.
"""

import asyncio
import atexit
import json
import logging
import sys
import traceback
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import structlog
from pydantic import ValidationError
from structlog.typing import EventDict

from service.server.context import current_request

WRITTEN_AFTER_S = 0.02
"""Time for which the line of a request may wait for others: a write costs an eighth of what the event loop does for a
short text."""

_requests: deque[str] = deque()
"""Lines of requests that are not written yet."""


def configure_logs() -> None:
    """Send everything to stderr as JSON, whatever was configured before."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _describe_exception,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
        # Without the cache each line makes a logger of its own, which costs as much as the rest of the line.
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(_JsonFormatter())
    handler.addFilter(_is_worth_a_line)
    write_requests()
    atexit.register(write_requests)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("bentoml", "uvicorn.error", "circus"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.WARNING)
        library.propagate = True


def log_request(**facts: Any) -> None:
    """Log a request from the event loop, by one call instead of structlog's many: there is one for every request.

    The line is written within WRITTEN_AFTER_S, in one piece with those of other requests, and before any other line.
    """
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = json.dumps(facts | {"event": "request", "level": "info", "timestamp": moment}) + "\n"
    is_first = not _requests
    _requests.append(line)
    if is_first:
        asyncio.get_running_loop().call_later(WRITTEN_AFTER_S, write_requests)


def write_requests() -> None:
    """Write the lines of requests that wait to be written."""
    _Stderr().write("")


class _Stderr:
    """Writes to the standard error of the moment, and drops what cannot be written: a full disk must fail no answer."""

    def write(self, text: str) -> None:
        waiting = []
        # Popped one by one: other threads may write at the same time.
        with suppress(IndexError):
            while True:
                waiting.append(_requests.popleft())
        # ValueError is raised where the stream is closed.
        with suppress(OSError, ValueError):
            sys.stderr.write("".join([*waiting, text]))

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
        }
        context = current_request.get(None)
        if context:
            fields["request_id"] = context.request_id
        if record.exc_info and record.exc_info[1]:
            fields |= _describe(record.exc_info[1])
        return json.dumps(fields)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Drop BentoML's traceback for each body that does not fit: the caller is told, and the request has its line."""
    return not (record.exc_info and isinstance(record.exc_info[1], ValidationError))


def _describe_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    if event.pop("exc_info", False):
        error = sys.exception()
        if error:
            event.update(_describe(error))
    return event


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": type(error).__qualname__,
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }
