"""The models that a server answers with.

They are loaded in a thread, so that the server can tell from its first moment whether it is ready, and replaced while
it answers.
"""

import gc
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import structlog

from export.package import Package
from models.errors import UserError
from service.answers.opening import ProbeFailed, start_predictor
from service.answers.packages import open_packages
from service.answers.predictor import Predictor
from service.engine.meter import EngineMeter
from service.engine.pool import Pool
from service.server.metrics import Metrics
from service.server.problems import Fault, Problem
from service.settings import Settings

log = structlog.get_logger()

COLLECT_AFTER = 20_000
"""Objects that are made before the garbage collector looks at the new ones."""
OLDER_AFTER = 1
"""Times that it looks at new objects, and then at older ones, before it goes on to those that are older still."""


class ModelRegistry:
    """The predictors for each endpoint, once all are loaded."""

    def __init__(self, settings: Settings, meter: EngineMeter | None = None) -> None:
        """Load nothing yet; `meter` counts what is computed."""
        self._settings = settings
        self._meter = meter
        self._pool: Pool | None = None
        self._loader: threading.Thread | None = None
        self._predictors: tuple[Predictor, ...] = ()
        self._obstacle = "the models are being loaded"
        self._changed = threading.Condition()
        """Guards the predictors and the counts of their users."""
        self._users: Counter[Predictor] = Counter()
        self._loading = threading.Lock()
        self._reload_waits = threading.Lock()
        """Held from the moment that a reload is asked for until it begins."""

    def start_loading(self, packages: Sequence[Package] | None = None) -> threading.Thread:
        """Load the models in a thread, unless one has begun to; returns the thread.

        An error is logged, and is from then on the reason for not being ready. `packages` are those of the settings,
        where they have just been opened.
        """
        if self._loader is None:
            self._loader = threading.Thread(target=self._load, args=(packages,), name="load-models", daemon=True)
            self._loader.start()
        return self._loader

    @property
    def predictors(self) -> Sequence[Predictor]:
        """Every predictor, for each endpoint the default first; raises Problem while not ready."""
        if not self._predictors:
            raise Problem("not_ready", self._obstacle, headers={"Retry-After": "1"})
        return self._predictors

    def for_endpoint(self, endpoint: str) -> list[Predictor]:
        """The predictors for one endpoint, the default first; raises Problem while not ready and when there is none."""
        found = [predictor for predictor in self.predictors if predictor.task.endpoint == endpoint]
        if not found:
            there = dict.fromkeys(predictor.task.endpoint for predictor in self.predictors)
            raise Problem("model_not_found", f"no model for this task; there are: {', '.join(there)}")
        return found

    @contextmanager
    def using(self, endpoint: str, name: str | None = None) -> Iterator[Predictor]:
        """The predictor of this name, or the default; it is not closed before the context is left.

        Raises:
            Problem: not ready, or there is no such model.
        """
        with self._changed:
            predictor = self._find(endpoint, name)
            self._users[predictor] += 1
        try:
            yield predictor
        finally:
            with self._changed:
                self._users[predictor] -= 1
                if not self._users[predictor]:
                    del self._users[predictor]
                    self._changed.notify_all()

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and its probes reproduced."""
        return bool(self._predictors)

    def reload(self) -> None:
        """Read the packages again and answer with them from then on; a model that has not changed is kept.

        A request under way finishes with the model it began with, which is closed after its last request.

        Raises:
            Problem: a package cannot be used, or another reload is under way; the models stay as they were.
        """
        if not self._loading.acquire(blocking=False):
            raise Problem("reload_under_way", "models are being loaded already; try again when that is done")
        try:
            self._replace_predictors()
        except Exception as error:
            log.error("not_reloaded", detail=str(error), exc_info=True)
            reason = str(error) if isinstance(error, UserError) else "the server's log says why"
            raise Problem("reload_failed", f"the models are what they were: {reason}") from error
        finally:
            self._loading.release()

    def start_reload(self) -> None:
        """Reload in a thread, after any reload that is under way; an error is logged.

        Does nothing if a reload waits already: that one will read the packages as they are then.

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
        """Answer what is queued, and stop."""
        for predictor in self._predictors:
            predictor.close()
        if self._pool:
            self._pool.close()

    def _find(self, endpoint: str, name: str | None) -> Predictor:
        found = self.for_endpoint(endpoint)
        if name is None:
            return found[0]
        for predictor in found:
            if predictor.name.name == name:
                return predictor
        names = ", ".join(predictor.name.name for predictor in found)
        detail = f"no such model for this task; there are: {names}"
        raise Problem("model_not_found", detail, [Fault(pointer="/model", detail=detail)])

    def _load(self, packages: Sequence[Package] | None) -> None:
        with self._loading:
            try:
                self._replace_predictors(packages)
            except BaseException as error:
                # Nobody waits for this thread, so that nothing may end it in silence: requests are told the reason.
                self._obstacle = "the models could not be loaded; the server's log says why"
                log.error("not_ready", detail=str(error), exc_info=True)

    def _reload_in_turn(self) -> None:
        with self._loading:
            self._reload_waits.release()
            try:
                self._replace_predictors()
            except Exception as error:
                log.error("not_reloaded", detail=str(error), exc_info=True)

    def _replace_predictors(self, opened: Sequence[Package] | None = None) -> None:
        """Load the packages that there are now, or those that were just opened, and answer with them."""
        before = {predictor.name.digest: predictor for predictor in self._predictors}
        self._pool = self._pool or _start_pool(self._settings, self._meter)
        try:
            packages = open_packages(self._settings) if opened is None else opened
            new = [package for package in packages if package.manifest.digest not in before]
            # A reload leaves the other cores to callers.
            at_once = 1 if before else self._settings.threads
            started = start_predictors(new, self._settings, self._pool, at_once=at_once)
        except BaseException:
            if not before:
                self._pool.close()
                self._pool = None
            raise
        if started:
            # The longest probes have just been replayed, with every explanation: 40 MB that a short text does not need.
            started[0].release_memory()
        known = before | {predictor.name.digest: predictor for predictor in started}
        after = tuple(known[package.manifest.digest] for package in packages)
        if before:
            # At first, what is frozen came with the process, and its memory is shared while nobody looks through it.
            gc.unfreeze()
        _pass_over_what_stays()
        with self._changed:
            self._predictors = after
        log.info("ready", models=[predictor.name.model_dump() for predictor in after])
        left = set(before.values()) - set(after)
        if left:
            threading.Thread(target=self._retire, args=(left,), name="retire-models", daemon=True).start()

    def _retire(self, left: set[Predictor]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not any(predictor in self._users for predictor in left))
        for predictor in left:
            predictor.close()
        log.info("retired", models=[predictor.name.model_dump() for predictor in left])
        left.clear()
        gc.unfreeze()
        _pass_over_what_stays()


@dataclass(frozen=True, kw_only=True)
class CountedModels:
    """The models of a server with the counters of what they compute, which need nothing of BentoML."""

    registry: ModelRegistry
    metrics: Metrics

    @classmethod
    def of(cls, settings: Settings, worker: int | None) -> Self:
        """Those of the worker of this number, where there are several of one server; no model is loaded yet."""
        metrics = Metrics(worker)
        return cls(registry=ModelRegistry(settings, metrics), metrics=metrics)


def _pass_over_what_stays() -> None:
    """Let the garbage collector look only at objects that are made from now on.

    A loaded server holds some hundred thousand objects, and going through them took a tenth of the event loop's time.
    Nor need it look after every 700 objects: what a request leaves behind is freed without it, but for what errors
    leave. As nothing else stays, it looks at the older ones nearly as often: usually it would wait for 2,000,000.
    """
    gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, OLDER_AFTER)
    gc.collect()
    gc.freeze()
    # It passes over the oldest while they are few beside those that it last saw there: what is frozen must not count.
    gc.collect()


def _start_pool(settings: Settings, meter: EngineMeter | None) -> Pool:
    return Pool(settings.threads, meter, long_work_threads=settings.long_work_threads)


def start_predictors(packages: Sequence[Package], settings: Settings, pool: Pool, *, at_once: int) -> list[Predictor]:
    """A warm predictor for each package, in their order, started in so many threads; raises as `start_predictor` does.

    Where one cannot be started, those after it are not begun, and none is left open.
    """
    waiting = iter(enumerate(packages))
    started: dict[int, Predictor] = {}
    failures: list[tuple[int, BaseException]] = []

    def work() -> None:
        for number, package in waiting:
            if failures:
                return
            try:
                started[number] = _start(package, settings, pool)
            except BaseException as error:
                # Of whatever kind: else its model would be missing without a word.
                failures.append((number, error))

    # They end with the process: a server that is told to stop while it loads does not wait for them.
    threads = [threading.Thread(target=work, name="load-models", daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        for predictor in started.values():
            predictor.close(drain=False)
        raise min(failures, key=lambda failure: failure[0])[1]
    return [started[number] for number in sorted(started)]


def _start(package: Package, settings: Settings, pool: Pool) -> Predictor:
    def log_fallback(fallback: Package, error: ProbeFailed) -> None:
        log.warning("fallback", model=package.manifest.name, precision=fallback.precision, detail=str(error))

    predictor = start_predictor(package, settings, pool, log_fallback)
    try:
        predictor.warm_up()
    except BaseException:
        predictor.close(drain=False)
        raise
    return predictor
