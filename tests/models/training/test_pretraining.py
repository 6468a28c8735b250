"""Pre-training by masked words, on a tiny encoder and real files: the same loop, and a base for `train` at its end."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from export.errors import OnlyPretrained
from export.origin import open_origin
from models.checkpoint import read_record
from models.data import load_validation
from models.evaluation import measure
from models.methods import METHODS
from models.networks.loading import open_trained_model
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.models.runs import same_weights
from tests.models.training.killed import train_until_killed
from tests.tiny import METHOD_SETTINGS, make_base, make_texts

WATCHER = Watcher(say=lambda _: None, advance=lambda *_: None)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts without labels."""
    folder = tmp_path_factory.mktemp("texts")
    for seed, (name, count) in enumerate({"train": 96, "validation": 40}.items()):
        lines = (text.replace(",", "") for text, _ in make_texts(count, seed))
        (folder / f"{name}.csv").write_text("\n".join(["text", *lines]) + "\n")
    return folder


def _settings(base: Path, texts: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "masked-words", "base": str(base), "source": {"data": str(texts)}, "epochs": 2, "batch_size": 16,
        "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


@pytest.fixture(scope="module")
def plain(base: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "base"
    train(_settings(base, texts), out, WATCHER)
    return out


def test_pre_training_learns_which_words_there_are(base: Path, texts: Path, tmp_path: Path) -> None:
    record = train(_settings(base, texts, epochs=8, learning_rate=1e-2), tmp_path / "out", WATCHER)
    first, last = record.epochs[0].metrics, record.epochs[-1].metrics
    assert last["perplexity"] < 0.7 * first["perplexity"]


@pytest.mark.parametrize("method", [one.name for one in METHODS.values() if "masked-language-model" in one.heads])
def test_what_comes_out_is_a_stock_model_and_a_base_to_train_from(
    base: Path, texts: Path, data: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "base"
    train(
        _settings(base, texts, method=method, epochs=1, method_settings=METHOD_SETTINGS.get(method, {})), out, WATCHER
    )
    _, report = AutoModelForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert load_file(out / "model.safetensors").keys() == load_file(base / "model.safetensors").keys()
    settings = _settings(out, data, task="sentiment", epochs=1)
    assert train(settings, tmp_path / "trained", WATCHER).base == str(out)


def test_training_starts_from_the_weights_that_pre_training_ended_with(plain: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(plain, data, task="sentiment", epochs=1, learning_rate=1e-9), tmp_path / "out", WATCHER)
    name = "bert.embeddings.word_embeddings.weight"
    found, expected = (load_file(folder / "model.safetensors")[name] for folder in (tmp_path / "out", plain))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_asa_switched_off_is_plain_pre_training_bit_for_bit(
    base: Path, texts: Path, plain: Path, tmp_path: Path
) -> None:
    off = {"tau": 0.0, "divergence_weight": 0.0}
    train(_settings(base, texts, method="asa", method_settings=off), tmp_path / "off", WATCHER)
    assert same_weights(tmp_path / "off", plain)
    assert read_record(tmp_path / "off").epochs == read_record(plain).epochs


def test_cline_switched_off_is_plain_pre_training_bit_for_bit_and_needs_no_wordnet(
    base: Path, texts: Path, plain: Path, tmp_path: Path
) -> None:
    off = {"detection_weight": 0.0, "contrast_weight": 0.0, "wordnet": str(tmp_path)}
    train(_settings(base, texts, method="cline", method_settings=off), tmp_path / "off", WATCHER)
    assert same_weights(tmp_path / "off", plain)
    assert read_record(tmp_path / "off").epochs == read_record(plain).epochs


def test_cline_learns_which_words_of_the_copies_were_replaced(base: Path, texts: Path, tmp_path: Path) -> None:
    given = METHOD_SETTINGS["cline"]
    settings = _settings(base, texts, method="cline", method_settings=given, epochs=6, learning_rate=1e-2)
    record = train(settings, tmp_path / "out", WATCHER)
    first, last = record.epochs[0].losses, record.epochs[-1].losses
    assert last["detection"] < 0.9 * first["detection"]
    assert last["contrast"] < first["contrast"]


def test_the_metrics_in_the_record_are_those_of_the_kept_weights(plain: Path) -> None:
    record, evaluated = read_record(plain), open_trained_model(plain)
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert measure(evaluated, rows.examples) == record.metrics


@pytest.mark.parametrize("method", ["plain", "asa", "cline"])
def test_killed_in_the_second_epoch_the_weights_are_those_of_an_uninterrupted_run(
    base: Path, texts: Path, tmp_path: Path, method: str
) -> None:
    settings = _settings(base, texts, method=method, method_settings=METHOD_SETTINGS.get(method, {}))
    train(settings, tmp_path / "whole", WATCHER)
    train_until_killed(settings, tmp_path / "killed", 9)
    train(settings, tmp_path / "killed", WATCHER)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    assert read_record(tmp_path / "killed").epochs == read_record(tmp_path / "whole").epochs


def test_tied_weights_stay_tied_in_a_soup(base: Path, texts: Path, tmp_path: Path) -> None:
    train(_settings(base, texts, learning_rate=(1e-3, 5e-4), epochs=1), tmp_path / "out", WATCHER)
    model, report = AutoModelForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_export_of_it_says_what_to_do_instead(plain: Path) -> None:
    with pytest.raises(
        OnlyPretrained, match=rf"cannot be exported or served; .* steadfast train --task TASK --base {plain}"
    ):
        open_origin(plain)


def test_a_base_without_a_head_for_words_gets_a_new_one(texts: Path, tmp_path: Path) -> None:
    bare = make_base(tmp_path / "bare")
    AutoModelForMaskedLM.from_pretrained(bare).base_model.save_pretrained(bare)
    record = train(_settings(bare, texts, epochs=1), tmp_path / "out", WATCHER)
    assert record.metrics["accuracy"] >= 0


def test_methods_that_are_not_made_for_it_refuse() -> None:
    meant = {one.name for one in METHODS.values() if "masked-language-model" in one.heads}
    assert meant == {"plain", "asa", "cline"}


def test_labels_are_refused(base: Path, texts: Path) -> None:
    with pytest.raises(TrainingError, match="labels: this task has no labels to choose"):
        _settings(base, texts, labels=["a", "b"])
