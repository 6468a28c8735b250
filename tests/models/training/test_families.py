"""Methods that draw from texts, trained to the end on every family: CLINE's copies, and the words that SSA finds."""

import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.checkpoint import METHOD_FILE
from models.data import load_validation
from models.evaluation import measure
from models.networks.loading import AUTO_CLASSES, open_trained_model
from models.tasks import find_task
from models.training.loop import train
from models.training.settings import check_settings
from tests.models.passes import FAMILIES
from tests.models.runs import SILENT
from tests.tiny import METHOD_SETTINGS, write_sentiment
from tests.tiny_families import make_family_base

TRAINED = [("sentiment", "cline"), ("masked-words", "cline"), ("sentiment", "ssa-co"), ("sentiment", "ssa-hybrid")]
LOSSES = {"cline": {"detection", "contrast"}, "ssa-co": {"tokens"}, "ssa-hybrid": {"tokens"}}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("task", "method"), TRAINED)
def test_a_method_that_draws_from_texts_trains_every_family_to_the_end(
    family: str, task: str, method: str, tmp_path: Path
) -> None:
    data = write_sentiment(tmp_path / "data", train=24, validation=8)
    settings = check_settings(
        {
            "task": task, "method": method, "method_settings": METHOD_SETTINGS.get(method, {}),
            "base": str(make_family_base(tmp_path / "base", family)), "source": {"data": str(data)},
            "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "max_tokens": 48, "precision": "fp32", "seed": 1,
        }
    )  # fmt: skip
    record = train(settings, tmp_path / "out", SILENT)
    (epoch,) = record.epochs
    assert epoch.losses.keys() >= {"task"} | LOSSES[method]
    assert all(map(math.isfinite, [*epoch.losses.values(), *epoch.metrics.values()]))
    assert all(epoch.losses[name] > 0 for name in LOSSES[method])
    assert all(weights.isfinite().all() for weights in load_file(tmp_path / "out" / METHOD_FILE).values())
    _, listed = AUTO_CLASSES[find_task(task).head].from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(listed[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model = open_trained_model(tmp_path / "out")
    validation = load_validation(settings.source, model.task, model.outputs, model.reader)
    assert measure(model, validation.examples) == epoch.metrics
