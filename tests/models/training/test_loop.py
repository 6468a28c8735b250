"""The training loop, on a tiny encoder and real files."""

import gzip
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from export.package import read_manifest
from models.checkpoint import CheckpointError, DataSource, read_record
from models.data import load_validation
from models.errors import UserError
from models.evaluation import measure
from models.files.parts import DataError
from models.folders import AlreadyThere, InUse
from models.methods import METHODS, UnknownMethod
from models.networks.batches import plan_batches
from models.networks.encoder import EncoderError
from models.networks.loading import open_trained_model
from models.tasks import TASKS, UnknownTask
from models.training.interruption import Interrupted
from models.training.loop import train
from models.training.run import Watcher
from models.training.saving import STATE_FILE, check_claim, claimed_folder
from models.training.settings import TrainingError, TrainingSettings, check_settings, read_toml
from models.training.step import clip_groups, learning_rate_factor
from tests.models.runs import SILENT, ignore, same_weights
from tests.models.training.killed import train_until_killed
from tests.tiny import METHOD_SETTINGS, make_base, write_examples, write_sentiment


def _settings(base: Path, data: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 2, "batch_size": 16,
        "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def _stopping() -> Watcher:
    return Watcher(say=ignore, advance=lambda *_: signal.raise_signal(signal.SIGINT))


@pytest.fixture(scope="module")
def asa_checkpoint(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_sentiment(tmp_path_factory.mktemp("more-data"), train=256)
    out = tmp_path_factory.mktemp("asa") / "checkpoint"
    train(_settings(base, data, method="asa", epochs=12, learning_rate=3e-3), out, SILENT)
    return out


@pytest.fixture(scope="module")
def plain_checkpoint(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "checkpoint"
    train(_settings(base, data), out, SILENT)
    return out


def test_training_learns_the_words_that_decide(asa_checkpoint: Path) -> None:
    assert read_record(asa_checkpoint).metrics["accuracy"] > 0.9


def test_the_checkpoint_loads_into_a_stock_model_with_nothing_missing_or_unexpected(asa_checkpoint: Path) -> None:
    _, report = AutoModelForSequenceClassification.from_pretrained(asa_checkpoint, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]


def test_the_stock_model_gives_the_same_logits_bit_for_bit(asa_checkpoint: Path) -> None:
    stock = AutoModelForSequenceClassification.from_pretrained(asa_checkpoint, attn_implementation="eager").eval()
    evaluated = open_trained_model(asa_checkpoint)
    encoded = evaluated.reader.read("the plot was lovely")
    tokens = AutoTokenizer.from_pretrained(asa_checkpoint)("the plot was lovely", return_tensors="pt")
    with torch.inference_mode():
        expected = stock(**tokens).logits[0]
    assert torch.equal(torch.from_numpy(evaluated.run(encoded.rows)[0]), expected)


def test_a_checkpoint_is_measured_where_models_are_measured(
    asa_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.networks.loading.measuring_device", lambda: torch.device("meta"))
    evaluated = open_trained_model(asa_checkpoint)
    # Nothing can be read off what has no storage: so it was moved there.
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        evaluated.run(evaluated.reader.read("good").rows)


def test_the_record_says_how_the_weights_came_to_be(asa_checkpoint: Path) -> None:
    record = read_record(asa_checkpoint)
    assert record.method.name == "asa"
    assert record.method.settings["tau"] == 0.5
    assert [(file.part, file.name, file.rows) for file in record.data] == [
        ("train", "train", 256),
        ("validation", "validation", 40),
    ]
    assert all(len(file.sha256 or "") == 64 for file in record.data)
    assert [epoch.epoch for epoch in record.epochs] == list(range(1, 13))
    assert record.steps == 12 * 16
    assert record.cpu_s > 0
    assert record.metrics["accuracy"] == max(epoch.metrics["accuracy"] for epoch in record.epochs)


def test_the_metrics_in_the_record_are_those_of_the_kept_weights(asa_checkpoint: Path) -> None:
    record, evaluated = read_record(asa_checkpoint), open_trained_model(asa_checkpoint)
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert measure(evaluated, rows.examples) == record.metrics


def test_the_tokenizer_no_longer_pads_every_text(asa_checkpoint: Path) -> None:
    tokenizer = json.loads((asa_checkpoint / "tokenizer.json").read_text())
    assert tokenizer["padding"] is None
    assert tokenizer["truncation"] is None


def test_the_adversarys_weights_lie_beside_the_models_not_in_them(asa_checkpoint: Path) -> None:
    assert not any("scorers" in name for name in load_file(asa_checkpoint / "model.safetensors"))
    assert len(load_file(asa_checkpoint / "method.safetensors")) == 2 * 4


def test_nothing_is_left_beside_the_checkpoint(asa_checkpoint: Path) -> None:
    assert list(asa_checkpoint.parent.iterdir()) == [asa_checkpoint]


def test_asa_switched_off_is_plain_training_bit_for_bit(
    base: Path, data: Path, plain_checkpoint: Path, tmp_path: Path
) -> None:
    off = {"tau": 0.0, "divergence_weight": 0.0}
    train(_settings(base, data, method="asa", method_settings=off), tmp_path / "off", SILENT)
    assert same_weights(tmp_path / "off", plain_checkpoint)
    assert read_record(tmp_path / "off").epochs == read_record(plain_checkpoint).epochs


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    base: Path, data: Path, plain_checkpoint: Path, tmp_path: Path
) -> None:
    for name, seed in {"again": 3, "other": 4}.items():
        train(_settings(base, data, seed=seed), tmp_path / name, SILENT)
    assert same_weights(tmp_path / "again", plain_checkpoint)
    assert not same_weights(tmp_path / "other", plain_checkpoint)


@pytest.mark.parametrize(("method", "at"), [("asa", 2), *((method, 9) for method in METHODS)])
def test_killed_and_started_again_the_weights_are_those_of_an_uninterrupted_run(
    base: Path, data: Path, tmp_path: Path, method: str, at: int
) -> None:
    """Before the first saved state, which are 4 steps apart; and in the second of two epochs of 6 steps, after one."""
    settings = _settings(base, data, method=method, method_settings=METHOD_SETTINGS.get(method, {}))
    train(settings, tmp_path / "whole", SILENT)
    train_until_killed(settings, tmp_path / "killed", at)
    train(settings, tmp_path / "killed", SILENT)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    assert read_record(tmp_path / "killed").epochs == read_record(tmp_path / "whole").epochs


def test_asked_to_stop_it_saves_the_last_step_and_goes_on_from_there(base: Path, data: Path, tmp_path: Path) -> None:
    settings = _settings(base, data, save_every=1000)
    train(settings, tmp_path / "whole", SILENT)
    taken: list[int] = []

    def stop(step: int, *_: object) -> None:
        taken.append(step)
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped after step 5 of 12; the same command goes on"):
        train(settings, tmp_path / "out", Watcher(say=ignore, advance=stop))
    train(settings, tmp_path / "out", Watcher(say=ignore, advance=stop))
    assert taken == list(range(1, 13))
    assert same_weights(tmp_path / "out", tmp_path / "whole")


def test_accumulated_gradients_equal_those_of_the_big_batch(tmp_path: Path, data: Path) -> None:
    calm = make_base(tmp_path / "base", dropout=0.0)
    big = _settings(calm, data, batch_size=96, epochs=1)
    small = _settings(calm, data, batch_size=16, accumulate=6, epochs=1)
    for name, settings in {"big": big, "small": small}.items():
        train(settings, tmp_path / name, SILENT)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("big", "small"))
    for name in a:
        # AdamW's first step has the size of the learning rate whatever the gradient's: where the true gradient is 0 (a
        # key's bias), rounding alone decides the step, so those few parameters are left out.
        if not name.endswith("attention.self.key.bias"):
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-4)


def test_the_adversary_is_clipped_on_its_own() -> None:
    encoder, adversary = nn.Parameter(torch.zeros(4, 4)), nn.Parameter(torch.zeros(4, 4))
    optimizer = torch.optim.AdamW(
        [{"params": [encoder], "clip_group": "encoder"}, {"params": [adversary], "clip_group": "adversary"}]
    )
    encoder.grad, adversary.grad = torch.full((4, 4), 0.1), torch.full((4, 4), 900.0)
    clip_groups(optimizer, 1.0)
    assert torch.equal(encoder.grad, torch.full((4, 4), 0.1))
    assert torch.linalg.vector_norm(adversary.grad).item() == pytest.approx(1.0, rel=1e-5)


def test_the_learning_rate_rises_then_falls_in_straight_lines() -> None:
    factors = [learning_rate_factor(step, 10, 0.2) for step in range(11)]
    assert factors == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]


def test_every_row_is_used_once_an_epoch_and_epochs_differ() -> None:
    lengths = [(7 * number) % 23 + 1 for number in range(101)]
    plans = [plan_batches(lengths, 8, seed=1, epoch=epoch) for epoch in (1, 2)]
    for plan in plans:
        assert sorted(index for batch in plan for index in batch) == list(range(101))
    assert plans[0] != plans[1]
    assert plan_batches(lengths, 8, seed=1, epoch=1) == plans[0]


def test_rows_alike_in_length_go_together() -> None:
    lengths = [(7 * number) % 100 + 1 for number in range(800)]
    padding = sum(
        max(lengths[index] for index in batch) * len(batch) - sum(lengths[index] for index in batch)
        for batch in plan_batches(lengths, 16, seed=1, epoch=1)
    )
    assert padding / sum(lengths) < 0.05


def test_an_existing_checkpoint_is_not_overwritten(base: Path, data: Path, plain_checkpoint: Path) -> None:
    with pytest.raises(AlreadyThere, match="exists already; choose another name or remove it"):
        train(_settings(base, data), plain_checkpoint, SILENT)


def test_an_existing_checkpoint_is_refused_before_labels_are_read_from_data(tmp_path: Path) -> None:
    # It holds no part, which is an error too.
    (tmp_path / "data").mkdir()
    given = {"task": "text-classification", "base": "bilstm", "source": {"data": str(tmp_path / "data")}}
    with pytest.raises(AlreadyThere, match="exists already"):
        train(check_settings(given), tmp_path, SILENT)


def test_an_unfinished_run_with_other_settings_is_not_mixed_in(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(_settings(base, data), tmp_path / "out", _stopping())
    other = _settings(base, data, seed=9, learning_rate=0.1, noise={"families": ["typos"]})
    with pytest.raises(
        TrainingError,
        match=r"another learning_rate \(0\.001 there, 0\.1 now\), noise\.consistency \(none there, 1\.0 now\), "
        ".* and 4 more; finish that one",
    ):
        train(other, tmp_path / "out", SILENT)


def test_an_unfinished_run_is_called_so_where_a_model_is_wanted(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(_settings(base, data, epochs=1), tmp_path / "out", _stopping())
    for read in (read_record, read_manifest):
        with pytest.raises(UserError, match=f"an unfinished training; .* leaves the checkpoint {tmp_path}/out$"):
            read(tmp_path / "out.training")


def test_a_run_that_saved_nothing_does_not_stand_in_the_way_of_another(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite"):
        train(_settings(base, data, learning_rate=1e30), tmp_path / "out", SILENT)
    assert (tmp_path / "out.training").is_dir()
    train(_settings(base, data, epochs=1), tmp_path / "out", SILENT)
    assert read_record(tmp_path / "out").kept_epoch == 1


def test_a_checkpoint_may_have_the_name_of_an_unfinished_run(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, epochs=1), tmp_path / "mine.training", SILENT)
    assert read_record(tmp_path / "mine.training").kept_epoch == 1


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {"noise": {"families": ["typos"]}}, r"noise\.families \(none there, \[\"typos\"\] now\)"),
        ({"method_settings": {"tau": 0.5}}, {}, r"method_settings\.tau \(0\.5 there, none now\)"),
        ({}, {"method_settings": {"tau": None}}, r"method_settings\.tau \(none there, none now\)"),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, r"labels \(\[\"a\", \"b\"\] there, \[\"b\", \"a\"\] now\)"),
        ({"base": "x" * 99 + "/one"}, {"base": "x" * 99 + "/two"}, r"base \(.*…x*/one\" there, .*…x*/two\" now\)"),
    ],
)
def test_every_setting_that_differs_is_told(
    data: Path, tmp_path: Path, before: dict[str, Any], now: dict[str, Any], told: str
) -> None:
    given = {"task": "text-classification", "base": "base", "source": {"data": str(data)}, "method": "asa"}
    first, second = (TrainingSettings.model_validate(given | changed) for changed in (before, now))
    with claimed_folder(first, tmp_path / "out.training"):
        (tmp_path / "out.training" / STATE_FILE).touch()
        check_claim(first, tmp_path / "out.training")
        with pytest.raises(TrainingError, match=f"another .*{told}"):
            check_claim(second, tmp_path / "out.training")


def test_two_runs_do_not_work_in_one_folder(base: Path, data: Path, tmp_path: Path) -> None:
    settings = _settings(base, data)
    refused: list[bool] = []

    def begin_another(*_: object) -> None:
        if not refused:
            with pytest.raises(InUse, match=r"out\.training: another run is working in it"):
                train(settings, tmp_path / "out", SILENT)
            refused.append(True)

    train(settings, tmp_path / "out", replace(SILENT, advance=begin_another))
    assert refused
    assert (tmp_path / "out" / "training.json").is_file()


def test_a_damaged_state_is_refused_by_name(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(_settings(base, data), tmp_path / "out", _stopping())
    state = tmp_path / "out.training" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.safetensors: damaged .* delete its folder to start anew"):
        train(_settings(base, data), tmp_path / "out", SILENT)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "sentimnt"}, "no task 'sentimnt'; choose one of: sentiment"),
        ({"method": "asb"}, "no training method 'asb'; choose one of: plain, asa"),
        ({"epochs": 0}, "epochs: must be more than 0"),
        ({"learning_rate": -1}, "learning_rate: must be more than 0, or must be a list$"),
        ({"learning-rate": 1}, "settings: learning-rate: is not known here"),
        ({"epoch": 3}, "epoch: is not known here"),
        ({"method": "asa", "method_settings": {"tua": 1}}, "tua: is not known here"),
        ({"method": "plain", "method_settings": {"tau": 1}}, "tau: is not known here"),
        ({"labels": 3}, "labels: must be a list"),
        ({"labels": ["one"]}, "labels: two labels or more are needed"),
        ({"task": "ner", "labels": ["O", "S-x"]}, "labels: labels are 'O' and 'B-' or 'I-' with a kind"),
        ({"task": "sts", "labels": ["a", "b"]}, "labels: this task has no labels to choose"),
        ({"score_range": [0, 1]}, "score_range: sentiment gives no score"),
        ({"task": "sts", "score_range": [1, 0]}, "score_range: the first number must be the lower"),
        (
            {"task": "extractive-reading-comprehension", "method": "asa"},
            "method asa means nothing for extractive-reading-comprehension; choose one of: plain",
        ),
        ({"labels": ["a", "a"]}, "labels: .*a label stands there twice"),
        ({"labels": ["a", " ", "b"]}, "labels: .*a label has no name; look for a comma too many"),
        ({"seed": 2**32}, "seed: must be less than 4,294,967,296"),
    ],
)
def test_wrong_settings_are_refused_before_anything_starts(
    base: Path, data: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises((TrainingError, UnknownTask, UnknownMethod), match=message):
        _settings(base, data, **given)


def test_a_text_limit_beyond_the_encoders_positions_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"max_tokens 128: .* reads at most 64 tokens"):
        train(_settings(base, data, max_tokens=128), tmp_path / "out", SILENT)


def test_a_missing_part_lists_those_there_are(base: Path, data: Path, tmp_path: Path) -> None:
    source = {"data": str(data), "train": ["trian"]}
    with pytest.raises(DataError, match="no part 'trian'; there are: train, validation"):
        train(_settings(base, data, source=source), tmp_path / "out", SILENT)


def test_data_without_the_column_lists_those_there_are(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("words,label\ngood,1\n")
    with pytest.raises(DataError, match=r"no column 'text' or 'sentence'.*there are: 'words', 'label'"):
        train(_settings(base, folder), tmp_path / "out", SILENT)


def test_rows_with_unknown_labels_are_refused_with_the_labels_there_are(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "good", "label": 7}\n' * 3)
    with pytest.raises(DataError, match="3 of 3 records cannot be used; the first is record 1: label 7 is none of: 0"):
        train(_settings(base, folder), tmp_path / "out", SILENT)


def test_no_base_leaves_no_trace_of_a_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError):
        train(_settings(data, data), tmp_path / "out", SILENT)
    assert list(tmp_path.iterdir()) == []


def test_after_a_mistake_the_corrected_command_goes_through(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError):
        train(_settings(data, data), tmp_path / "out", SILENT)
    train(_settings(base, data, epochs=1), tmp_path / "out", SILENT)
    assert read_record(tmp_path / "out").kept_epoch == 1


def test_a_run_is_not_continued_on_data_that_have_changed(base: Path, tmp_path: Path) -> None:
    data = write_sentiment(tmp_path / "data")
    with pytest.raises(Interrupted):
        train(_settings(base, data), tmp_path / "out", _stopping())
    # The other part stays as it is, to the bit: its file holds the time at which it was written.
    with gzip.open(data / "train.jsonl.gz", "at") as file:
        file.write('{"text": "good film", "label": "positive"}\n')
    with pytest.raises(TrainingError, match=r"begun with other data \(train\); go on with the same"):
        train(_settings(base, data), tmp_path / "out", SILENT)


def test_a_run_is_not_continued_in_another_precision(base: Path, data: Path, tmp_path: Path) -> None:
    """`auto` may be bf16 on one machine and float32 on the next."""
    with pytest.raises(Interrupted):
        train(_settings(base, data, precision="bf16"), tmp_path / "out", _stopping())
    claim = tmp_path / "out.training" / "settings.json"
    claim.write_text(claim.read_text().replace('"bf16"', '"fp32"'))
    with pytest.raises(TrainingError, match="begun on a machine that computes in bf16; go on with the same, or"):
        train(_settings(base, data), tmp_path / "out", SILENT)


def test_records_that_are_not_used_are_counted_before_the_first_step(base: Path, tmp_path: Path) -> None:
    data = write_sentiment(tmp_path / "data", train=200)
    with gzip.open(data / "train.jsonl.gz", "at") as file:
        file.write("{broken\n")
    said: list[str] = []
    watcher = replace(_stopping(), say=said.append)
    with pytest.raises(Interrupted):
        train(_settings(base, data), tmp_path / "out", watcher)
    assert "train: 1 of 201 records cannot be used; `steadfast data check` shows them" in said


def test_bf16_trains_in_bf16_and_measures_in_float32(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, precision="bf16", method="asa"), tmp_path / "out", SILENT)
    record, evaluated = read_record(tmp_path / "out"), open_trained_model(tmp_path / "out")
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert record.settings["bf16"] is True
    assert measure(evaluated, rows.examples) == record.metrics


def test_csv_labels_train_like_numbers(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "validation"):
        (folder / f"{name}.csv").write_text("text,label\n" + "good film,1\nbad plot,0\n" * 4)
    train(_settings(base, folder, epochs=1), tmp_path / "out", SILENT)
    assert [file.rows for file in read_record(tmp_path / "out").data] == [8, 8]


def test_a_loss_that_explodes_stops_the_run(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"gradient is not finite .*; lower the learning rate, and remove .*out\.training",
    ):
        train(_settings(base, data, learning_rate=1e30, epochs=5), tmp_path / "out", SILENT)


def test_settings_read_from_toml_are_the_same_settings(base: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f'task = "sentiment"\nmethod = "asa"\nbase = "{base}"\nepochs = 7\n'
        f'[source]\ndata = "{data}"\n[method_settings]\ntau = 0.3\n'
    )
    settings = check_settings(read_toml(path))
    assert (settings.epochs, settings.method_settings, settings.source) == (7, {"tau": 0.3}, DataSource(data=str(data)))


def test_broken_toml_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("task = ")
    with pytest.raises(TrainingError, match=r"run\.toml: not TOML"):
        read_toml(path)


def test_a_folder_that_is_no_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a checkpoint, it has no training\.json"):
        open_trained_model(tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_measured_again_as_its_record_says(base: Path, tmp_path: Path, task: str) -> None:
    data = write_examples(tmp_path / "data", task)
    record = train(_settings(base, data, task=task, epochs=1, max_tokens=64), tmp_path / "out", SILENT)
    evaluated = open_trained_model(tmp_path / "out")
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert measure(evaluated, rows.examples) == record.metrics
