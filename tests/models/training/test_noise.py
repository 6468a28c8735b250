"""Whole trainings with noise beside the method: switched off, killed and started again, and for every task."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoint import read_record
from models.edits.noise import Noise
from models.networks.loading import load_tokenizer
from models.tasks import TASKS
from models.training.copying import CopyingError, CopyJob, CopyMaker, CopyProcesses, CopySettings, copy_item
from models.training.loop import train
from models.training.noise import copies_in
from models.training.settings import TextNoise, TrainingError, TrainingSettings, check_settings
from tests.models.runs import SILENT, same_weights
from tests.models.training.killed import train_until_killed
from tests.tiny import make_items, write_examples

TYPOS = {"families": ("typos",), "share": 0.4}


def _settings(base: Path, data: Path, noise: dict[str, Any] | None, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 2, "batch_size": 16,
        "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3, "noise": noise,
    }  # fmt: skip
    return check_settings(given | changed)


def _copy_settings(base: Path, task: str, seed: int = 1) -> CopySettings:
    tokenizer = load_tokenizer(base).backend_tokenizer.to_str()
    noise = Noise(families=("typos",), share=0.4)
    return CopySettings(task=task, tokenizer=tokenizer, max_tokens=32, pad_id=0, noise=noise, seed=seed)


def _maker(base: Path, task: str, seed: int = 1) -> CopyMaker:
    return CopyMaker(_copy_settings(base, task, seed))


def _job(task: str, indices: tuple[int, ...], epoch: int = 1) -> CopyJob:
    items = [TASKS[task].item.model_validate(item) for item in make_items(task, 8)]
    return CopyJob(items=[items[index] for index in indices], indices=indices, epoch=epoch, copies=2)


def test_without_strength_training_is_plain_bit_for_bit(base: Path, data: Path, tmp_path: Path) -> None:
    train(_settings(base, data, None), tmp_path / "plain", SILENT)
    train(_settings(base, data, {"families": (), "word_noise": 0.0}), tmp_path / "off", SILENT)
    assert same_weights(tmp_path / "off", tmp_path / "plain")
    # Else the model would be called one that was trained with noise.
    assert read_record(tmp_path / "off").noise is None
    assert read_record(tmp_path / "off").epochs == read_record(tmp_path / "plain").epochs


def test_a_copying_process_that_the_system_ends_is_told_in_a_sentence(base: Path) -> None:
    """As it is where memory runs out."""
    processes = CopyProcesses(_copy_settings(base, "sentiment"), 1)
    made = processes.make_all(_job("sentiment", (0, 1)) for _ in range(9))
    next(made)
    (process,) = multiprocessing.active_children()
    process.kill()
    with pytest.raises(CopyingError, match="was ended from outside, as the system does where memory runs out"):
        list(made)
    processes.close()


def test_killed_and_started_again_the_weights_are_those_of_an_uninterrupted_run(
    base: Path, data: Path, tmp_path: Path
) -> None:
    """After step 9, in the second epoch, which alone has two copies: it goes on from step 8."""
    noise = TYPOS | {"copies": 2, "worst_epochs": 1, "word_noise": 0.1}
    settings = _settings(base, data, noise)
    train(settings, tmp_path / "whole", SILENT)
    train_until_killed(settings, tmp_path / "killed", 9)
    train(settings, tmp_path / "killed", SILENT)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    record = read_record(tmp_path / "killed")
    assert record.epochs == read_record(tmp_path / "whole").epochs
    assert {"task", "copy", "copy_apart", "moved", "moved_apart"} == record.epochs[0].losses.keys()
    assert TextNoise.model_validate(record.settings["noise"]) == settings.noise


@pytest.mark.parametrize("task", [name for name in TASKS if name != "sentiment"])
def test_noise_goes_with_every_task(base: Path, tmp_path: Path, task: str) -> None:
    data = write_examples(tmp_path / "data", task)
    settings = _settings(
        base, data, TYPOS | {"copies": 2, "word_noise": 0.1}, task=task, epochs=1, accumulate=2, batch_size=8
    )
    losses = train(settings, tmp_path / "out", SILENT).epochs[0].losses
    assert {"copy", "copy_apart", "moved", "moved_apart"} < losses.keys()
    assert all(np.isfinite(list(losses.values())))


def test_a_copy_depends_on_its_example_epoch_and_seed_alone(base: Path) -> None:
    maker = _maker(base, "sentiment")
    first, second = maker.make(_job("sentiment", (1, 2))), maker.make(_job("sentiment", (2, 5)))
    width = min(rows.inputs["input_ids"].shape[2] for rows in (first, second))
    alone = first.inputs["input_ids"][:, 1, :width]
    assert np.array_equal(alone, second.inputs["input_ids"][:, 0, :width])
    for other in (
        maker.make(_job("sentiment", (1, 2), epoch=2)),
        _maker(base, "sentiment", 2).make(_job("sentiment", (1, 2))),
    ):
        assert not np.array_equal(other.inputs["input_ids"][..., :width], first.inputs["input_ids"][..., :width])


def test_the_copies_of_one_text_differ(base: Path) -> None:
    ids = _maker(base, "sentiment").make(_job("sentiment", (0, 1, 2))).inputs["input_ids"]
    assert not np.array_equal(ids[0], ids[1])


def test_the_second_text_of_a_pair_is_always_noisy_and_the_first_in_half_of_the_copies() -> None:
    given = {"premise": "something wonderful happened", "hypothesis": "nothing happened"}
    copies = [_copy("nli", given, number) for number in range(400)]
    assert all(copy["hypothesis"] != given["hypothesis"] for copy in copies)
    assert 150 < sum(copy["premise"] != given["premise"] for copy in copies) < 250


@pytest.mark.parametrize("number", range(20))
def test_a_name_is_exchanged_alike_in_both_texts(number: int) -> None:
    given = {"text_a": "Is London larger than Paris?", "text_b": "Is Paris smaller than London?"}
    copy = _copy("paraphrase", given, number, ("names",))
    one, other = copy["text_a"][3:-1].split(" larger than ")
    assert copy["text_b"] == f"Is {other} smaller than {one}?"
    assert one != other
    assert copy["text_a"] != given["text_a"]


def test_names_are_exchanged_in_half_of_the_copies_beside_other_noise() -> None:
    given = {"text_a": "Is London large?", "text_b": "Is London a noteworthy place?"}
    copies = [_copy("paraphrase", given, number, ("names", "typos"), share=0.05) for number in range(400)]
    assert 150 < sum(copy["text_a"][3] != "L" for copy in copies) < 250
    assert all(copy["text_b"] != given["text_b"] for copy in copies)


def test_words_with_labels_stay_one_word_each() -> None:
    given = {"tokens": ("Caroline", "of", "Birmingham", "spoke")}
    words = _copy("ner", given, 1)["tokens"]
    assert len(words) == 4
    assert words != given["tokens"]
    assert not any(set(" \t\n") & set(word) for word in words)


def _copy(
    task: str, given: dict[str, Any], number: int, families: tuple[str, ...] = ("typos",), share: float = 0.4
) -> dict[str, Any]:
    """The fields of one copy of an item of training data."""
    kind = TASKS[task].example or TASKS[task].item
    noise = Noise(families=families, share=share)
    return copy_item(kind.model_validate(given), TASKS[task], noise, random.Random(number)).model_dump()


def test_only_the_last_epochs_of_each_training_have_several_copies() -> None:
    noise = TextNoise(families=("typos",), copies=4, worst_epochs=1)
    assert [copies_in(noise, epoch, 3) for epoch in range(1, 7)] == [1, 1, 4, 1, 1, 4]
    assert copies_in(TextNoise(families=("typos",), copies=4), 1, 3) == 4


@pytest.mark.parametrize(
    ("task", "noise", "said"),
    [
        ("sentiment", {"families": ["typo"]}, "no noise 'typo'; choose from: typos"),
        ("sentiment", {"copies": 2}, "copies: there are no noisy copies; name families"),
        ("sentiment", {"consistency": 2.0}, "no noise to agree under"),
        ("sentiment", {"families": ["typos"], "worst_epochs": 1}, "of a single copy none is the worst"),
        ("ner", {"families": ["typos", "synonyms"]}, "synonyms would change what ner must answer; choose from: typos"),
        ("reading-comprehension", {"families": ["names"]}, "names would change what reading-comprehension must answer"),
        ("nli", {"contrast_pairs": 0.1}, "their copies that say the same need noise"),
        ("nli", {"contrast_pairs": 0.1, "families": ["names"]}, "name families of it beside names"),
        (
            "sts",
            {"families": ["typos"], "contrast_pairs": 0.1},
            "sts does not compare two texts by label; leave it out, or choose one of: nli, paraphrase",
        ),
        ("masked-words", {"word_noise": 0.1}, "masked-words has no right answers to hold on to"),
    ],
)
def test_noise_that_means_nothing_is_refused_before_data_are_read(
    base: Path, tmp_path: Path, task: str, noise: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        _settings(base, tmp_path / "no data", noise, task=task)
