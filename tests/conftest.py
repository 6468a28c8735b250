"""The start of every test: one thread and no network. A tiny model of each task is made once."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Tests compare sums bit for bit, and tiny models gain nothing from a second thread. Set before torch is imported, and
# inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's own cache out of all tests and the processes that they start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By task, a folder with `data`, the checkpoint `trained` on them, and its int8 `package`; made when asked for."""
    from tests.tiny import make_base

    return _maker(tmp_path_factory, "made", lambda folder: {"base": str(make_base(folder / "base", dropout=0.0))})


@pytest.fixture(scope="session")
def made_bilstm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same, from a BiLSTM."""
    given = {"base": "bilstm", "bilstm": {"word_width": 16, "state_width": 8}}
    return _maker(tmp_path_factory, "made-bilstm", lambda _: given)


def _maker(
    tmp_path_factory: pytest.TempPathFactory, name: str, make_base: Callable[[Path], dict[str, Any]]
) -> Callable[[str], Path]:
    from export.build import export_checkpoint
    from models.training.loop import train
    from models.training.run import Watcher
    from models.training.settings import check_settings
    from tests.tiny import write_examples

    # What one worker of pytest-xdist makes, all have.
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name

    def make(task: str) -> Path:
        folder = root / task
        folder.mkdir(parents=True, exist_ok=True)
        with (root / f"{task}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "trained").exists():
                data = write_examples(folder / "data", task, train=128, validation=40)
                settings = {
                    "task": task, **make_base(folder), "source": {"data": str(data)}, "epochs": 6, "batch_size": 8,
                    "learning_rate": 5e-3, "max_tokens": 64, "precision": "fp32",
                }  # fmt: skip
                watcher = Watcher(say=lambda _: None, advance=lambda *_: None)
                train(check_settings(settings), folder / "trained", watcher)
            if not (folder / "package").exists():
                export_checkpoint(folder / "trained", folder / "package")
        return folder

    return make


@pytest.fixture(autouse=True)
def _whole_log() -> Iterator[None]:
    """Have the lines of requests that a test leaves written in it, and not behind the last line of the run."""
    yield
    if logs := sys.modules.get("service.server.logs"):
        logs.write_requests()
