"""The latest answers of a server: what was counted since one of several earlier times.

Counters only grow. What they said earlier is kept beside those of the workers, so that every worker answers alike and
goes on where the one before it ended.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter

from export.figures.reference import LEAST_ANSWERS
from export.figures.signals import Signal
from models.atomic import UNFINISHED, atomic_write

HOUR_S = 3_600.0
WEEK_S = 7 * 24 * HOUR_S

WINDOW_S = HOUR_S
"""The shortest time whose answers are compared."""
SPACING_S = 300.0
"""Earlier counts are this far apart at least, and an hour where they are older than the window."""

Counts = Mapping[str, Mapping[Signal, Mapping[str, float]]]
"""By the digest of a package, how often each bin of a signal came since the server was started."""


class Snapshot(BaseModel):
    """The counts of an earlier time."""

    model_config = ConfigDict(frozen=True)

    at: float
    """By `time.monotonic`, which all processes of a machine share."""
    counts: dict[str, dict[Signal, dict[str, float]]]

    def before(self, digest: str, signal: Signal) -> Mapping[str, float]:
        """The counts of a package's signal by then; none where it was not answering yet."""
        return self.counts.get(digest, {}).get(signal, {})


_SNAPSHOTS = TypeAdapter(list[Snapshot])

log = structlog.get_logger()


class Window:
    """The counts of earlier times, and what came since."""

    def __init__(self, file: Path | None = None) -> None:
        """Keep them in `file`, which processes share, or in memory. Threads may share a window."""
        self._file = file
        self._snapshots: list[Snapshot] = []
        self._lock = threading.Lock()

    def latest(self, counts: Counts, now: float) -> Counts:
        """The part of `counts` that came in the window, and remember `counts` for later windows.

        The window of a signal began at least WINDOW_S ago, and as much earlier as it takes to hold LEAST_ANSWERS of it.
        Before the server has run so long, it began with the server. A signal that was counted less is left out.
        """
        with self._lock:
            return self._latest(counts, now)

    def _latest(self, counts: Counts, now: float) -> Counts:
        snapshots = self._read()
        old = [one for one in reversed(snapshots) if now - one.at >= WINDOW_S]
        found: dict[str, dict[Signal, Mapping[str, float]]] = {}
        for digest, signals in counts.items():
            for signal, bins in signals.items():
                latest = _since(bins, (one.before(digest, signal) for one in old))
                if latest is not None:
                    found.setdefault(digest, {})[signal] = latest
        if not snapshots or now - snapshots[-1].at >= SPACING_S:
            taken = Snapshot(at=now, counts={digest: _copy(signals) for digest, signals in counts.items()})
            self._write([*_thin(snapshots, now), taken])
        return found

    def _read(self) -> list[Snapshot]:
        if self._file is None or not self._file.exists():
            return self._snapshots
        return _SNAPSHOTS.validate_json(self._file.read_bytes())

    def _write(self, snapshots: list[Snapshot]) -> None:
        if self._file is None:
            self._snapshots = snapshots
        else:
            # Another process or window may write at the same time; whichever ends last has it.
            unfinished = self._file.with_suffix(f".{threading.get_native_id()}{UNFINISHED}")
            try:
                with atomic_write(self._file, unfinished=unfinished) as path:
                    path.write_bytes(_SNAPSHOTS.dump_json(snapshots))
            except OSError as error:
                # Where the disk is full, the other metrics are needed most. The next call tries again.
                log.warning("snapshot_not_written", file=str(self._file), errno=error.errno)


def _since(bins: Mapping[str, float], earlier: Iterable[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The counts since the first of the `earlier` ones, the latest first, after which enough came; else all of them."""
    for before in (*earlier, {}):
        latest = Counter(bins)
        latest.subtract(before)
        if latest.total() >= LEAST_ANSWERS:
            return +latest
    return None


def _copy(signals: Mapping[Signal, Mapping[str, float]]) -> dict[Signal, dict[str, float]]:
    return {signal: dict(bins) for signal, bins in signals.items()}


def _thin(snapshots: Iterable[Snapshot], now: float) -> list[Snapshot]:
    """The snapshots that are still needed: those of the window, and one an hour of the week before."""
    kept: dict[float, Snapshot] = {}
    for one in snapshots:
        age = now - one.at
        if age <= WEEK_S:
            kept.setdefault(one.at if age <= WINDOW_S + SPACING_S else one.at // HOUR_S, one)
    return list(kept.values())
