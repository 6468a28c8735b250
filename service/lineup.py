"""The models a server answers with, loaded beside it so that it can say from the first moment whether it is ready."""

import threading
from collections.abc import Mapping

import structlog

from export.package import PROBE_TOLERANCE
from service.answering import Answerer
from service.engine import Pool
from service.packages import open_packages
from service.problems import Problem
from service.settings import Settings

log = structlog.get_logger()


class ProbeFailed(RuntimeError):
    """A package does not give on this machine the outputs it was made with."""


class Lineup:
    """One answerer for each task, once all are loaded."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._answerers: dict[str, Answerer] | None = None
        self._obstacle = "the models are being loaded"

    def load_aside(self) -> None:
        """Load in a thread; what goes wrong is logged and stays the reason for not being ready."""
        threading.Thread(target=self._load, name="load-models", daemon=True).start()

    @property
    def answerers(self) -> Mapping[str, Answerer]:
        """By task; raises Problem while not ready."""
        if self._answerers is None:
            raise Problem("not_ready", self._obstacle, headers={"Retry-After": "1"})
        return self._answerers

    def find(self, task: str) -> Answerer:
        """The answerer for `task`; raises Problem while not ready and when there is none."""
        if task not in self.answerers:
            raise Problem("model_not_found", f"no model for this task; there are: {', '.join(self.answerers)}")
        return self.answerers[task]

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and its probes reproduced."""
        return self._answerers is not None

    def close(self) -> None:
        """Answer what is queued and stop."""
        for answerer in (self._answerers or {}).values():
            answerer.close()

    def _load(self) -> None:
        started: dict[str, Answerer] = {}
        self._pool = Pool(self._settings.threads)
        try:
            for task, package in open_packages(self._settings).items():
                started[task] = Answerer(package, self._settings.engine_limits, self._pool)
                check_probes(started[task])
        except Exception as error:
            # Nobody waits for this thread: the reason is kept for those who ask.
            self._obstacle = "the models could not be loaded; the server's log says why"
            for answerer in started.values():
                answerer.close(drain=False)
            self._pool.close()
            log.error("not_ready", detail=str(error), exc_info=True)
        else:
            self._answerers = started
            log.info("ready", models={task: answerer.name.name for task, answerer in started.items()})


def check_probes(answerer: Answerer) -> None:
    """Run every probe of the package; raises ProbeFailed when one gives something else here than where it was made."""
    manifest = answerer.package.manifest
    tolerance = PROBE_TOLERANCE[manifest.precision]
    for number, probe in enumerate(manifest.probes, start=1):
        difference = answerer.replay(probe)
        if not difference <= tolerance:
            raise ProbeFailed(
                f"{answerer.package.folder}: probe {number} is off by {difference:.2g}, more than {tolerance}; "
                "export the package on this machine, or use the fp32 one"
            )
