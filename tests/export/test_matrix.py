"""Every kind of task by every method that means something for it, trained; exported where the graph is another."""

import math
from pathlib import Path

import pytest

from export.build import export_checkpoint
from export.session import OUTPUTS
from models.checkpoint import TrainingRecord
from models.methods import METHODS
from models.networks.loading import AUTO_CLASSES, SERVED_FORMS
from models.tasks import TASKS
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from tests.tiny import KINDS, METHOD_SETTINGS, make_base, write_examples

TRAINED = [
    (name, method.name)
    for name, task in TASKS.items()
    for method in METHODS.values()
    if task.head in method.heads and (name in KINDS or method.name == "plain")
]

EXPORTED = [(task, method) for task, method in TRAINED if method in {"plain", *SERVED_FORMS} or task == KINDS[0]]
"""All graphs that differ: a method without a form of its own leaves a stock model, whatever the task."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "base")


def _train(base: Path, folder: Path, task: str, method: str) -> TrainingRecord:
    settings = {
        "task": task, "method": method, "method_settings": METHOD_SETTINGS.get(method, {}), "base": str(base),
        "source": {"data": str(write_examples(folder / "data", task))}, "epochs": 1, "batch_size": 8,
        "learning_rate": 1e-3, "max_tokens": 64, "precision": "fp32", "seed": 3,
    }  # fmt: skip
    return train(check_settings(settings), folder / "trained", Watcher(say=lambda _: None, advance=lambda *_: None))


@pytest.mark.parametrize(("task", "method"), TRAINED)
def test_it_trains_and_loads_into_a_stock_model(base: Path, tmp_path: Path, task: str, method: str) -> None:
    record = _train(base, tmp_path, task, method)
    assert all(map(math.isfinite, [*record.metrics.values(), *record.epochs[0].losses.values()]))
    assert TASKS[task].main_metric in record.metrics
    _, report = AUTO_CLASSES[TASKS[task].head].from_pretrained(tmp_path / "trained", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize(("task", "method"), EXPORTED)
def test_it_passes_the_gates_of_export(base: Path, tmp_path: Path, task: str, method: str) -> None:
    _train(base, tmp_path, task, method)
    manifest = export_checkpoint(tmp_path / "trained", tmp_path / "package", precision="fp32")
    assert (manifest.task, manifest.method.name) == (task, method)
    assert set(manifest.parity.largest_difference) == set(OUTPUTS)
