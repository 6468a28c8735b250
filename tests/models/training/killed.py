"""A training that ends with SIGKILL, in a process of its own."""

import os
import signal
from pathlib import Path

from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingSettings
from tests.processes import PROCESSES


def train_until_killed(settings: TrainingSettings, out: Path, step: int) -> None:
    """Train into `out` until the process is killed, right after `step`."""
    process = PROCESSES.Process(target=_train, args=(settings, out, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()


def _train(settings: TrainingSettings, out: Path, last: int) -> None:
    def advance(step: int, *_: object) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    train(settings, out, Watcher(say=print, advance=advance))
