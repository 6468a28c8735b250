"""A training that ends with SIGKILL, in a process of its own."""

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingSettings
from tests.processes import FORKSERVER, set_variables

END_S = 30


def train_until_killed(settings: TrainingSettings, out: Path, step: int) -> None:
    """Train into `out` until the process is killed, right after `step`; those that it started must end with it."""
    told, tell = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=_train, args=(settings, out, step, dict(os.environ), tell))
    process.start()
    tell.close()
    started = told.recv()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()
    _, left = psutil.wait_procs([one for one in psutil.process_iter() if one.pid in started], END_S)
    assert not left


def _train(settings: TrainingSettings, out: Path, last: int, variables: dict[str, str], tell: Connection) -> None:
    def advance(step: int, *_: object) -> None:
        if step == last:
            tell.send([child.pid for child in psutil.Process().children()])
            os.kill(os.getpid(), signal.SIGKILL)

    set_variables(variables)
    train(settings, out, Watcher(say=print, advance=advance))
