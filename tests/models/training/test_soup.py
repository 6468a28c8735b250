"""Means of several trainings, and of a training and its start."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import read_record
from models.training.interruption import Interrupted
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.models.runs import SILENT, ignore, same_weights
from tests.tiny import write_examples


def _settings(base: Path, data: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "batch_size": 16, "learning_rate": 1e-3,
        "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def test_a_soup_is_the_mean_of_the_weights_that_its_trainings_ended_with(
    base: Path, data: Path, tmp_path: Path
) -> None:
    ends: dict[int, dict[str, torch.Tensor]] = {}

    def keep(said: str) -> None:
        if said.startswith("epoch"):
            ends[len(ends) + 1] = load_file(tmp_path / "out.training" / "state.safetensors")

    settings = _settings(base, data, learning_rate=(1e-4, 2e-4, 3e-4), epochs=2, save_every=1)
    record = train(settings, tmp_path / "out", Watcher(say=keep, advance=ignore))
    assert list(ends) == [1, 2, 3, 4, 5, 6]
    assert record.kept_epoch in (2, 4, 6)
    mixed = [ends[epoch] for epoch in (2, 4, 6) if epoch <= record.kept_epoch]
    for name, kept in load_file(tmp_path / "out" / "model.safetensors").items():
        mean = torch.stack([end[f"encoder.model.{name}"] for end in mixed]).mean(0)
        torch.testing.assert_close(kept, mean, rtol=0, atol=1e-6)  # the mean is kept as a running one


def test_a_share_of_the_base_is_between_the_base_and_what_was_trained(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, epochs=1), tmp_path / "start", SILENT)
    for name, share in (("whole", 0.0), ("shared", 0.25)):
        train(_settings(tmp_path / "start", data, epochs=1, base_share=share), tmp_path / name, SILENT)
    assert read_record(tmp_path / "shared").settings["base_share"] == 0.25
    start, whole, shared = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "whole", "shared"))
    for name, weights in shared.items():
        torch.testing.assert_close(weights, 0.25 * start[name] + 0.75 * whole[name], rtol=0, atol=1e-6)


def test_a_share_of_a_base_that_knows_no_label_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"does not answer sentiment; leave it out, or give a base that"):
        train(_settings(base, data, base_share=0.5), tmp_path / "out", SILENT)


def test_a_share_of_a_base_without_a_head_is_refused_where_answers_have_no_labels_too(
    base: Path, tmp_path: Path
) -> None:
    rows = write_examples(tmp_path / "data", "sts")
    first = _settings(base, rows, task="sts", epochs=1)
    with pytest.raises(TrainingError, match=r"the head of .* does not answer sts; leave it out, or give a base that"):
        train(first.model_copy(update={"base_share": 0.5}), tmp_path / "refused", SILENT)
    train(first, tmp_path / "first", SILENT)
    train(_settings(tmp_path / "first", rows, task="sts", epochs=1, base_share=0.5), tmp_path / "second", SILENT)
    assert read_record(tmp_path / "second").kept_epoch == 1


def test_the_first_of_a_soup_is_a_training_as_any(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, epochs=1), tmp_path / "one", SILENT)

    def stop(step: int, *_: object) -> None:
        if step == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(
            _settings(base, data, epochs=1, learning_rate=(1e-3, 5e-4)),
            tmp_path / "soup",
            Watcher(say=ignore, advance=stop),
        )
    assert same_weights(tmp_path / "one", tmp_path / "soup.training" / "epoch-1")


def test_a_soup_goes_on_where_it_was(base: Path, data: Path, tmp_path: Path) -> None:
    settings = _settings(base, data, learning_rate=(1e-4, 2e-4), epochs=2)
    train(settings, tmp_path / "whole", SILENT)

    def stop(step: int, *_: object) -> None:
        if step in (8, 13):
            signal.raise_signal(signal.SIGINT)

    for _ in range(2):
        with pytest.raises(Interrupted):
            train(settings, tmp_path / "out", Watcher(say=ignore, advance=stop))
    train(settings, tmp_path / "out", Watcher(say=ignore, advance=stop))
    assert same_weights(tmp_path / "out", tmp_path / "whole")


def test_a_soup_takes_the_largest_seed(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, learning_rate=(1e-4, 1e-4), epochs=1, seed=2**32 - 1), tmp_path / "out", SILENT)
