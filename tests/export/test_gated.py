"""SSA-Hybrid from training to answers: its gate is in the graph, whose gates it passes as any other model does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.build import export_checkpoint
from export.package import open_package
from export.verification import verify_package
from models.checkpoint import RECORD_FILE, MethodRecord, read_record
from models.evaluation import predict_all
from models.methods import UnknownMethod
from models.networks.encoder import EncoderError
from models.networks.loading import load_served, load_trained, open_trained_model
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import TextItem
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from tests.export.conftest import copied
from tests.tiny import make_base, make_items


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("hybrid")
    settings = {
        "task": "sentiment", "base": str(make_base(folder / "base", dropout=0.0)), "source": {"data": str(data)},
        "epochs": 3, "batch_size": 16, "learning_rate": 5e-3, "max_tokens": 32, "precision": "fp32", "seed": 3,
        "method": "ssa-hybrid", "method_settings": {"threshold": 0.5, "start_share": 0.2},
    }  # fmt: skip
    train(check_settings(settings), folder / "trained", Watcher(say=lambda _: None, advance=lambda *_: None))
    return folder / "trained"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, hybrid: Path) -> Path:
    out = tmp_path_factory.mktemp("packages") / "hybrid"
    export_checkpoint(hybrid, out)
    return out


def test_its_int8_package_passes_every_gate_and_verifies_with_checkpoint_and_data(
    package: Path, hybrid: Path, data: Path
) -> None:
    manifest = open_package(package).manifest
    assert (manifest.method.name, manifest.precision) == ("ssa-hybrid", "int8")
    assert [tensor.name for tensor in manifest.inputs] == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "target",
        "explain",
    ]
    assert manifest.quality.fp32 > 0.9
    report = verify_package(package, checkpoint=hybrid, data=str(data))
    assert [check.name for check in report.checks if not check.passed] == []


def test_it_answers_as_torch_does(hybrid: Path, tmp_path: Path) -> None:
    export_checkpoint(hybrid, tmp_path / "exact", precision="fp32")
    items = [TextItem.model_validate(item) for item in make_items("sentiment", 30)]
    evaluated = open_trained_model(hybrid)
    encoded = [SENTIMENT.encode(item, evaluated.reader, "window") for item in items]
    expected = [prediction.answer for prediction in predict_all(evaluated, encoded)]
    with Pool(1) as pool, Predictor(open_package(tmp_path / "exact"), EngineLimits(), pool) as predictor:
        results = predictor.answer(items, Options()).results
    for answer, wanted in zip(results, expected, strict=True):
        found = answer.model_dump()
        assert found["label"] == wanted.label
        scores = {one["label"]: one["score"] for one in found["scores"]}
        assert scores == pytest.approx({one.label: one.score for one in wanted.scores}, abs=1e-5)  # float32


def test_the_gate_changes_what_is_answered(hybrid: Path) -> None:
    evaluated = open_trained_model(hybrid)
    (row,) = evaluated.reader.read("the story was lovely").rows
    stock = load_trained(hybrid, "sequence-classification")
    served = load_served(hybrid, "sequence-classification")
    assert type(served.model) is type(stock)
    inputs = {"input_ids": torch.tensor([row.ids]), "attention_mask": torch.ones(1, len(row), dtype=torch.long)}
    apart = np.abs(served(**inputs).logits.detach().numpy() - stock(**inputs).logits.detach().numpy())
    assert apart.max() > 0.1


def test_a_checkpoint_of_a_method_that_is_not_known_here_does_not_answer_as_a_stock_model(
    hybrid: Path, tmp_path: Path
) -> None:
    folder = copied(hybrid, tmp_path)
    record = read_record(folder)
    newer = record.model_copy(update={"method": MethodRecord(name="newer", settings={})})
    (folder / RECORD_FILE).write_text(newer.model_dump_json())
    with pytest.raises(UnknownMethod, match="no training method 'newer'"):
        load_served(folder, "sequence-classification")


def test_without_the_gates_weights_nothing_is_exported(hybrid: Path, tmp_path: Path) -> None:
    folder = copied(hybrid, tmp_path)
    (folder / "method.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"method\.safetensors: missing"):
        export_checkpoint(folder, tmp_path / "package")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
