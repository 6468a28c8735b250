"""The models a server answers with: loaded beside it, so that it can say from the first moment whether it is ready, and
exchanged while it answers."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from export.package import PROBE_TOLERANCE, Package, PackageError
from export.session import ProviderMissing
from models.errors import UserError
from service.answers.packages import open_packages
from service.answers.predictor import Answerer
from service.engine.meter import Meter
from service.engine.pool import Pool
from service.server.problems import Fault, Problem
from service.settings import Settings

log = structlog.get_logger()


class ProbeFailed(UserError):
    """A package does not give on this machine the outputs it was made with."""


SAID = (PackageError, ProviderMissing, ProbeFailed)
"""Why models cannot be loaded, in words meant for those who asked for it."""


class Lineup:
    """One or more answerers for each endpoint, once all are loaded."""

    def __init__(self, settings: Settings, meter: Meter | None = None) -> None:
        """Load nothing yet; `meter` counts what is computed."""
        self._settings = settings
        self._meter = meter
        self._pool: Pool | None = None
        self._answerers: tuple[Answerer, ...] = ()
        self._obstacle = "the models are being loaded"
        self._changed = threading.Condition()
        """Guards which answerers there are and who uses them."""
        self._users: Counter[Answerer] = Counter()
        self._loading = threading.Lock()
        self._reload_waits = threading.Lock()
        """Held while a reload has been asked for that has not begun."""

    def load_aside(self) -> threading.Thread:
        """Load in a thread; what goes wrong is logged and stays the reason for not being ready."""
        thread = threading.Thread(target=self._load, name="load-models", daemon=True)
        thread.start()
        return thread

    @property
    def answerers(self) -> Sequence[Answerer]:
        """All of them, for each endpoint the default first; raises Problem while not ready."""
        if not self._answerers:
            raise Problem("not_ready", self._obstacle, headers={"Retry-After": "1"})
        return self._answerers

    def of(self, endpoint: str) -> list[Answerer]:
        """Those for one endpoint, the default first; raises Problem while not ready and when there is none."""
        found = [answerer for answerer in self.answerers if answerer.task.endpoint == endpoint]
        if not found:
            there = dict.fromkeys(answerer.task.endpoint for answerer in self.answerers)
            raise Problem("model_not_found", f"no model for this task; there are: {', '.join(there)}")
        return found

    @contextmanager
    def using(self, endpoint: str, name: str | None = None) -> Iterator[Answerer]:
        """The answerer of this name, or the default, which is not closed before the context is left.

        Raises:
            Problem: not ready, or there is no such model.
        """
        with self._changed:
            answerer = self._find(endpoint, name)
            self._users[answerer] += 1
        try:
            yield answerer
        finally:
            with self._changed:
                self._users[answerer] -= 1
                if not self._users[answerer]:
                    del self._users[answerer]
                    self._changed.notify_all()

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and its probes reproduced."""
        return bool(self._answerers)

    def reload(self) -> None:
        """Read the packages again and answer with them from then on; what is the same as before is kept.

        Requests under way finish with the model they began with, which is closed after them.

        Raises:
            Problem: a package cannot be used, or another reload is under way; the models are what they were.
        """
        if not self._loading.acquire(blocking=False):
            raise Problem("reload_under_way", "models are being loaded already; try again when that is done")
        try:
            self._exchange()
        except Exception as error:
            log.error("not_reloaded", detail=str(error), exc_info=True)
            reason = str(error) if isinstance(error, SAID) else "the server's log says why"
            raise Problem("reload_failed", f"the models are what they were: {reason}") from error
        finally:
            self._loading.release()

    def reload_aside(self) -> None:
        """Reload in a thread, after any reload that is under way; what goes wrong is logged.

        Where one waits already nothing is done: it will find what lies there then.

        Raises:
            RuntimeError: no thread can be started; the next call tries again.
        """
        if self._reload_waits.acquire(blocking=False):
            try:
                threading.Thread(target=self._reload_in_turn, name="load-models", daemon=True).start()
            except RuntimeError:
                self._reload_waits.release()
                raise

    def close(self) -> None:
        """Answer what is queued and stop."""
        for answerer in self._answerers:
            answerer.close()
        if self._pool:
            self._pool.close()

    def _find(self, endpoint: str, name: str | None) -> Answerer:
        found = self.of(endpoint)
        if name is None:
            return found[0]
        for answerer in found:
            if answerer.name.name == name:
                return answerer
        names = ", ".join(answerer.name.name for answerer in found)
        detail = f"no such model for this task; there are: {names}"
        raise Problem("model_not_found", detail, [Fault(pointer="/model", detail=detail)])

    def _load(self) -> None:
        with self._loading:
            try:
                self._exchange()
            except Exception as error:
                # Nobody waits for this thread: the reason is kept for those who ask.
                self._obstacle = "the models could not be loaded; the server's log says why"
                log.error("not_ready", detail=str(error), exc_info=True)

    def _reload_in_turn(self) -> None:
        with self._loading:
            self._reload_waits.release()
            try:
                self._exchange()
            except Exception as error:
                log.error("not_reloaded", detail=str(error), exc_info=True)

    def _exchange(self) -> None:
        """Answer with the packages that there are now."""
        before = {answerer.name.digest: answerer for answerer in self._answerers}
        started: list[Answerer] = []
        self._pool = self._pool or Pool(self._settings.threads, self._meter)
        try:
            after = []
            for package in open_packages(self._settings):
                digest = package.manifest.digest
                if digest not in before:
                    started.append(start_answerer(package, self._settings, self._pool))
                after.append(before[digest] if digest in before else started[-1])
        except Exception:
            for answerer in started:
                answerer.close(drain=False)
            if not before:
                self._pool.close()
                self._pool = None
            raise
        with self._changed:
            self._answerers = tuple(after)
        log.info("ready", models=[answerer.name.model_dump() for answerer in after])
        left = set(before.values()) - set(after)
        if left:
            threading.Thread(target=self._retire, args=(left,), name="retire-models", daemon=True).start()

    def _retire(self, left: set[Answerer]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not any(answerer in self._users for answerer in left))
        for answerer in left:
            answerer.close()
        log.info("retired", models=[answerer.name.model_dump() for answerer in left])


def start_answerer(package: Package, settings: Settings, pool: Pool) -> Answerer:
    """An answerer that is warm and gives here what its package gave where it was made; by its fp32 graph if need be.

    Raises:
        ProbeFailed: neither graph of the package does.
    """
    answerer = Answerer(package, settings.engine_limits, pool, settings.provider)
    try:
        answerer.warm_up()
        check_probes(answerer)
    except Exception as error:
        answerer.close(drain=False)
        fallback = package.fallback
        if fallback is None or not isinstance(error, ProbeFailed):
            raise
        log.warning("fallback", model=package.manifest.name, precision=fallback.precision, detail=str(error))
        return start_answerer(fallback, settings, pool)
    return answerer


def check_probes(answerer: Answerer) -> None:
    """Run every probe of the package; raises ProbeFailed when one gives something else here than where it was made."""
    package = answerer.package
    tolerance = PROBE_TOLERANCE[package.precision]
    for number, probe in enumerate(package.probes, start=1):
        difference = answerer.replay(probe)
        if not difference <= tolerance:
            raise ProbeFailed(
                f"{package.folder}: probe {number} is off by {difference:.2g} in {package.precision}, more than "
                f"{tolerance}; export the package on this machine, in fp32, or so that fp32 comes along (--with-fp32)"
            )
