"""Whole trainings by the methods that add noise: switched off, killed and started again, with unlabelled text."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from models.checkpoint import read_record
from models.files.parts import DataError
from models.training.loop import train
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.models.runs import SILENT, same_weights
from tests.models.training.killed import train_until_killed
from tests.tiny import make_base, make_texts, write_sentiment

METHODS = (
    "attention-at",
    "attention-iat",
    "attention-rp",
    "attention-vat",
    "attention-ivat",
    "word-at",
    "word-iat",
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data again, and beside it a part without labels."""
    data = write_sentiment(tmp_path_factory.mktemp("texts"))
    lines = [json.dumps({"text": text}) for text, _ in make_texts(30, 9)]
    with gzip.open(data / "more.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return data


def _settings(
    base: Path, data: Path, method: str, unlabelled: tuple[str, ...] = (), **changed: Any
) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data), "unlabelled": unlabelled},
        "method": method, "epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32",
        "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


@pytest.fixture(scope="module")
def plain_checkpoint(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "checkpoint"
    train(_settings(base, data, "plain"), out, SILENT)
    return out


@pytest.mark.parametrize("method", METHODS)
def test_of_weight_0_every_method_is_plain_training_bit_for_bit(
    base: Path, texts: Path, plain_checkpoint: Path, tmp_path: Path, method: str
) -> None:
    unlabelled = ("more",) if method.endswith("vat") else ()
    settings = _settings(base, texts, method, unlabelled, method_settings={"weight": 0})
    train(settings, tmp_path / "off", SILENT)
    assert same_weights(tmp_path / "off", plain_checkpoint)
    assert read_record(tmp_path / "off").epochs == read_record(plain_checkpoint).epochs


@pytest.mark.parametrize("method", ["attention-vat", "attention-ivat"])
def test_killed_among_unlabelled_texts_and_started_again_the_weights_are_those_of_an_uninterrupted_run(
    base: Path, texts: Path, tmp_path: Path, method: str
) -> None:
    """After step 9, in the second epoch: it goes on from step 8, with the same unlabelled texts and noise."""
    settings = _settings(base, texts, method, ("more",), epochs=2)
    train(settings, tmp_path / "whole", SILENT)
    train_until_killed(settings, tmp_path / "killed", 9)
    train(settings, tmp_path / "killed", SILENT)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    assert read_record(tmp_path / "killed").epochs == read_record(tmp_path / "whole").epochs


def test_a_checkpoint_holds_the_stock_models_weights_and_no_neighbours(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, "word-iat"), tmp_path / "out", SILENT)
    _, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not (tmp_path / "out" / "method.safetensors").exists()


def test_accumulated_batches_train_as_the_big_one_does(data: Path, tmp_path: Path) -> None:
    calm = make_base(tmp_path / "base", dropout=0.0)
    for name, batch_size, accumulate in (("big", 96, 1), ("small", 16, 6)):
        settings = _settings(calm, data, "attention-at", batch_size=batch_size, accumulate=accumulate)
        train(settings, tmp_path / name, SILENT)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("big", "small"))
    for name in a:
        # Where the true gradient is 0, as a key's bias's nearly is, rounding alone decides AdamW's first step.
        if not name.endswith("attention.self.key.bias"):
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-4)


def test_unlabelled_texts_are_trained_on_and_recorded(base: Path, texts: Path, tmp_path: Path) -> None:
    train(_settings(base, texts, "attention-vat"), tmp_path / "without", SILENT)
    train(_settings(base, texts, "attention-vat", ("more",)), tmp_path / "with", SILENT)
    assert not same_weights(tmp_path / "with", tmp_path / "without")
    record = read_record(tmp_path / "with")
    assert [(file.part, file.name, file.rows) for file in record.data] == [
        ("train", "train", 96),
        ("validation", "validation", 40),
        ("unlabelled", "more", 30),
    ]
    assert record.source.unlabelled == ("more",)


def test_unlabelled_texts_can_be_learnt_from_in_a_soup(base: Path, texts: Path, tmp_path: Path) -> None:
    settings = _settings(base, texts, "attention-vat", ("more",), learning_rate=(1e-3, 5e-4))
    assert len(train(settings, tmp_path / "out", SILENT).epochs) == 2


def test_a_method_that_reads_labels_alone_refuses_unlabelled_texts(base: Path, texts: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"attention-at learns from labelled records alone; leave it out, or .*: attention-vat"
    ):
        _settings(base, texts, "attention-at", ("more",))


def test_a_missing_unlabelled_part_lists_those_there_are(base: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no part 'mroe'; there are: more, train, validation"):
        train(_settings(base, texts, "attention-vat", ("mroe",)), tmp_path / "out", SILENT)
