"""Two real processes that train one checkpoint, against one that trains it alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import read_record
from models.training.loop import train
from models.training.replicas import join_replicas
from models.training.run import Watcher
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.tiny import make_base, write_sentiment

PROGRAM = """
import json, os, sys
from pathlib import Path
from models.training.settings import TrainingSettings
from models.training.loop import train
from models.training.run import Watcher

runs, folder, at = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for name, settings in runs.items():
    said = []

    def advance(step, steps, seen):
        said.append(step)
        if step == at:
            os.kill(os.getpid(), SIGNAL)

    watcher = Watcher(say=said.append, advance=advance)
    record = train(TrainingSettings.model_validate(settings), folder / name, watcher)
    told = json.dumps([said, record.model_dump(mode="json")])
    (folder / f"{name}-{os.environ['RANK']}.json").write_text(told)
"""


def _settings(base: Path, data: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 2, "batch_size": 15,
        "learning_rate": 1e-4, "max_tokens": 32, "precision": "fp32", "save_every": 3, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def _launch(
    runs: Mapping[str, TrainingSettings], folder: Path, at: int = 0, send: signal.Signals = signal.SIGKILL
) -> subprocess.CompletedProcess[str]:
    """Two processes that train one after another what is named, of which the first sends itself a signal after step
    `at`."""
    program = folder / "program.py"
    program.write_text(PROGRAM.replace("SIGNAL", str(int(send))))
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    given = json.dumps({name: settings.model_dump(mode="json") for name, settings in runs.items()})
    command = [*launcher, str(program), given, str(folder), str(at)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _alone(settings: TrainingSettings, out: Path) -> None:
    train(settings, out, Watcher(say=_ignore, advance=_ignore))


def _ignore(*_: object) -> None:
    """Ignore a run's lines."""


def _assert_same_weights(left: Path, right: Path) -> None:
    for file in ("model.safetensors", "method.safetensors"):
        a, b = (load_file(folder / file) if (folder / file).is_file() else {} for folder in (left, right))
        assert a.keys() == b.keys()
        for name in a:
            # AdamW's step has the size of the learning rate however small the gradient: where the true gradient is 0 (a
            # key's bias), the order of a sum decides it.
            if not name.endswith("key.bias"):
                torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("calm"), dropout=0.0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """91 rows in batches of 15 leave one row, of which the second process has no share."""
    return write_sentiment(tmp_path_factory.mktemp("rows"), train=91)


METHODS = ("plain", "attention-iat", "attention-vat", "word-iat")
"""One of each family that steps in its own way: the others share their steps, and ASA is killed below.

SSA's and CLINE's losses are means over a batch's words, and so depend on how rows are shared out; AFA draws the words
it masks in each process apart.
"""


@dataclass(frozen=True)
class Begun:
    """Two runs that two processes began and did not end, and what came of their launches."""

    folder: Path
    killed: subprocess.CompletedProcess[str]
    stopped: subprocess.CompletedProcess[str]
    left: tuple[str, ...]
    """What was in the folder then."""
    refused: str
    """What one process alone says that is to go on with the first."""


@pytest.fixture(scope="module")
def begun(calm: Path, base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("two")
    killed = _launch({"killed": _settings(calm, rows, method="asa")}, folder, at=11)
    stopped = _launch({"stopped": _with_dropout(base, rows)}, folder, at=3, send=signal.SIGTERM)
    left = tuple(sorted(one.name for one in folder.iterdir() if one.is_dir()))
    with pytest.raises(TrainingError) as refused:
        _alone(_settings(calm, rows, method="asa"), folder / "killed")
    return Begun(folder, killed, stopped, left, str(refused.value))


@pytest.fixture(scope="module")
def two(begun: Begun, calm: Path, base: Path, rows: Path) -> Path:
    """What two processes trained: a run for each method, one with dropout, and those that they went on with.

    Launched once for all, for that takes longer than training.
    """
    runs = {method: _settings(calm, rows, method=method) for method in METHODS}
    runs["killed"] = _settings(calm, rows, method="asa")
    runs |= dict.fromkeys(("dropout", "stopped"), _with_dropout(base, rows))
    launched = _launch(runs, begun.folder)
    assert launched.returncode == 0, launched.stderr
    return begun.folder


def _with_dropout(base: Path, rows: Path) -> TrainingSettings:
    return _settings(base, rows, save_every=1000, epochs=1)


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_reach_what_one_reaches(calm: Path, rows: Path, two: Path, tmp_path: Path, method: str) -> None:
    _alone(_settings(calm, rows, method=method), tmp_path / "one")
    _assert_same_weights(two / method, tmp_path / "one")


def test_two_processes_measure_what_one_measures(calm: Path, rows: Path, two: Path, tmp_path: Path) -> None:
    _alone(_settings(calm, rows), tmp_path / "one")
    record = json.loads((two / "plain-0.json").read_text())[1]
    for shared, alone in zip(record["epochs"], read_record(tmp_path / "one").epochs, strict=True):
        assert shared["losses"] == pytest.approx(alone.losses, abs=1e-5)  # sums in another order
        assert shared["metrics"] == alone.metrics


def test_only_the_first_of_two_processes_speaks(two: Path) -> None:
    said, record = json.loads((two / "plain-0.json").read_text())
    assert said[-1].startswith("epoch 2 of 2")
    assert record["settings"]["processes"] == 2
    second = json.loads((two / "plain-1.json").read_text())
    assert second[0] == []
    assert second[1]["epochs"] == record["epochs"]


def test_a_run_of_two_processes_that_did_not_end_leaves_no_checkpoint(begun: Begun) -> None:
    assert begun.left == ("killed.training", "stopped.training")


def test_one_process_does_not_go_on_with_what_two_began(begun: Begun) -> None:
    assert "begun by 2 processes; go on with the same" in begun.refused


def test_killed_and_launched_again_they_reach_it_too(
    begun: Begun, calm: Path, rows: Path, two: Path, tmp_path: Path
) -> None:
    assert begun.killed.returncode != 0
    assert json.loads((two / "killed-0.json").read_text())[0][0].startswith("reading")
    _alone(_settings(calm, rows, method="asa"), tmp_path / "one")
    _assert_same_weights(two / "killed", tmp_path / "one")


def test_asked_to_stop_both_stop_after_the_same_step(begun: Begun, two: Path) -> None:
    """With dropout: what is drawn after going on is what would have been drawn."""
    assert "stopped after step 3 of 7; the same command goes on from there" in begun.stopped.stderr
    said = json.loads((two / "stopped-0.json").read_text())[0]
    assert [step for step in said if isinstance(step, int)] == [4, 5, 6, 7]
    _assert_same_weights(two / "stopped", two / "dropout")


def test_alone_nothing_is_shared() -> None:
    replicas = join_replicas()
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    replicas.sum_gradients([parameter])
    assert torch.equal(parameter.grad, torch.ones(2))
    assert replicas.take_share([4, 5, 6]) == ([4, 5, 6], 3)
    assert replicas.from_main("x") == "x"
    before = torch.get_rng_state()
    replicas.separate_draws(seed=1, batch=2)
    assert torch.equal(torch.get_rng_state(), before)
