"""Every kind of task by every method that means something for it: trained, then exported through all gates."""

import math
from pathlib import Path

import pytest

from export.build import export_checkpoint
from export.session import OUTPUTS
from models.methods import METHODS
from models.networks.loading import AUTO_CLASSES
from models.tasks import TASKS
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from tests.tiny import KINDS, METHOD_SETTINGS, make_base, write_examples

MEANT = [
    (name, method.name)
    for name, task in TASKS.items()
    for method in METHODS.values()
    if task.head in method.heads and (name in KINDS or method.name == "plain")
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "base")


@pytest.mark.parametrize(("task", "method"), MEANT)
def test_it_loads_into_a_stock_model_and_exports(base: Path, tmp_path: Path, task: str, method: str) -> None:
    data, checkpoint = write_examples(tmp_path / "data", task), tmp_path / "trained"
    settings = {
        "task": task, "method": method, "method_settings": METHOD_SETTINGS.get(method, {}), "base": str(base),
        "source": {"data": str(data)}, "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "max_tokens": 64,
        "precision": "fp32", "seed": 3,
    }  # fmt: skip
    record = train(check_settings(settings), checkpoint, Watcher(say=lambda _: None, advance=lambda *_: None))
    assert all(map(math.isfinite, [*record.metrics.values(), *record.epochs[0].losses.values()]))
    assert TASKS[task].main_metric in record.metrics
    _, report = AUTO_CLASSES[TASKS[task].head].from_pretrained(checkpoint, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))

    if method != "plain" and task != KINDS[0]:
        return  # What is exported is a stock model, whatever it was trained by.
    manifest = export_checkpoint(checkpoint, tmp_path / "package", precision="fp32")
    assert (manifest.task, manifest.method.name) == (task, method)
    assert set(manifest.parity.largest_difference) == set(OUTPUTS)
