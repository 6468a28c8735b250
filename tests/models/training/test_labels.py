"""The labels of a task that has none of its own: those of the training data, in an order that reproduces."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from models.checkpoint import read_record
from models.files.parts import class_names
from models.tasks.task import Outputs
from models.tasks.text_classification import TEXT_CLASSIFICATION
from models.text import Encoded
from models.training.labels import with_labels
from models.training.loop import train
from models.training.run import Watcher
from models.training.saving import STATE_FILE
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.tiny import TOPICS, write_examples

NOTHING = Encoded(rows=(), texts={}, truncated=False, windows=0)
QUIET = Watcher(say=lambda _: None, advance=lambda *_: None)


def write_part(folder: Path, name: str, labels: Sequence[Any]) -> None:
    folder.mkdir(exist_ok=True)
    rows = (json.dumps({"text": f"text {number}", "label": label}) for number, label in enumerate(labels))
    (folder / f"{name}.jsonl").write_text("".join(row + "\n" for row in rows))


def settings(data: Path, **changed: Any) -> TrainingSettings:
    given = {"task": "text-classification", "base": "bilstm", "source": {"data": str(data)}}
    return check_settings(given | changed)


def labels_of(folder: Path, found: Sequence[Any], **changed: Any) -> tuple[str, ...] | None:
    write_part(folder, "train", found)
    return with_labels(settings(folder, **changed)).labels


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["sport", "arts", "sport", "money"], ("arts", "money", "sport")),
        (["sport", " arts ", None, "", {"a": 1}], ("arts", "sport")),
        ([10, 9, 2, 10], ("2", "9", "10")),
        (["10", 9, 2.0, "9.0"], ("2", "9", "10")),
        ([1, 0, -1], ("-1", "0", "1")),
        (["10", -1, 9, -2], ("-2", "-1", "9", "10")),
        (["2", "1" * 5_000], ("2", "1" * 5_000)),
        ([True, False], ("False", "True")),
        (["b", 10, 9], ("10", "9", "b")),
    ],
)
def test_labels_are_those_of_the_data_in_the_order_of_names_or_of_numbers(
    given: list[Any], expected: tuple[str, ...], tmp_path: Path
) -> None:
    assert labels_of(tmp_path, given) == expected
    assert labels_of(tmp_path, given[::-1]) == expected


def test_classes_of_a_hubs_data_set_have_their_names() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["World", "Sports"]), "n": Value("int8")})
    found = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0], "n": [1, 2]}, features=features)
    assert class_names(found.features, "label") == ("World", "Sports")
    assert class_names(found.features, "n") is class_names(found.features, None) is None
    # As records they are numbers, which are places among the names.
    target = TEXT_CLASSIFICATION.read_target(found[0]["label"], NOTHING, Outputs(("World", "Sports")))
    assert target == 1


@pytest.mark.parametrize("names", [["1", "0"], ["1", "2", "3"], ["0", "-1"]])
def test_classes_that_are_called_by_numbers_of_others_are_refused(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="which reads as another number; give all classes names with --labels"):
        labels_of_hub(names, monkeypatch)


def test_a_single_class_of_a_hubs_data_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="two labels or more are needed, and the labels are: 'a'"):
        labels_of_hub(["a"], monkeypatch)


def test_classes_of_a_hubs_data_set_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert labels_of_hub(["World", "Arts"], monkeypatch) == ("World", "Arts")
    assert labels_of_hub(["0", "1", "many"], monkeypatch) == ("0", "1", "many")


def test_classes_that_a_label_map_makes_one_are_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"data": "owner/topics", "label_map": {"World": "news", "Politics": "news"}}
    assert labels_of_hub(["World", "Arts", "Politics"], monkeypatch, source=source) == ("news", "Arts")


def labels_of_hub(names: list[str], monkeypatch: pytest.MonkeyPatch, **changed: Any) -> tuple[str, ...] | None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    found = Dataset.from_dict({"text": ["a"], "label": [0]}, features=features)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: found)
    return with_labels(settings(Path("owner/topics"), **changed)).labels


def test_the_label_of_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    rows = [{"text": f"text {label}", "label": label} for label in "ab"] + [{"text": 7, "label": "c"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert with_labels(settings(tmp_path)).labels == ("a", "b")


def test_labels_of_all_training_parts_count_and_those_of_validation_do_not(tmp_path: Path) -> None:
    write_part(tmp_path, "one", ["b", "c"])
    write_part(tmp_path, "two", ["a", "b"])
    write_part(tmp_path, "validation", ["d"])
    source = {"data": str(tmp_path), "train": ["one", "two"]}
    assert with_labels(settings(tmp_path, source=source, rows=1)).labels == ("a", "b", "c")


def test_labels_that_are_given_and_those_of_a_task_stay(tmp_path: Path) -> None:
    assert labels_of(tmp_path, ["a", "b"], labels=["b", "a", "c"]) == ("b", "a", "c")
    assert labels_of(tmp_path, ["a", "b"], task="sentiment") is None


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "a"], "train: two labels or more are needed, and the labels are: 'a'"),
        ([None, [1]], "train: two labels or more are needed, and the labels are: none"),
        (["Sport", "arts", "sport"], "train: the labels 'Sport' and 'sport' differ in nothing but case or signs"),
        (list(range(1_001)), "train: more than 1,000 different labels, such as '1000'; is that column the right one"),
    ],
)
def test_labels_that_can_hardly_be_meant_are_refused(labels: list[Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"^{sentence}"):
        labels_of(tmp_path, labels)


def test_a_single_label_in_the_settings_is_refused_before_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="settings: labels: two labels or more are needed"):
        settings(tmp_path, labels=["a"])


def test_a_checkpoint_keeps_the_labels_that_it_was_trained_with(tmp_path: Path) -> None:
    data = write_examples(tmp_path / "data", "text-classification", train=24, validation=8)
    bilstm = {"word_width": 8, "state_width": 4}
    chosen = settings(data, bilstm=bilstm, epochs=1, precision="fp32")
    record = train(chosen, tmp_path / "out", QUIET)
    assert record.labels == read_record(tmp_path / "out").labels == tuple(TOPICS)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [config["id2label"][str(number)] for number in range(len(TOPICS))] == list(TOPICS)
    assert set(record.metrics) == {"accuracy", "f1"}


def test_a_run_does_not_go_on_with_the_labels_of_other_data(tmp_path: Path) -> None:
    write_part(tmp_path / "data", "train", ["a", "b"])
    chosen = settings(tmp_path / "data")
    begun = with_labels(chosen)
    work = tmp_path / "out.training"
    work.mkdir()
    (work / "settings.json").write_text(begun.model_dump_json())
    (work / STATE_FILE).touch()
    write_part(tmp_path / "data", "train", ["a", "b", "c"])
    with pytest.raises(TrainingError, match="holds an unfinished run with another labels"):
        train(chosen, tmp_path / "out", QUIET)


def test_an_unfinished_run_with_other_settings_is_refused_before_labels_are_read_from_data(tmp_path: Path) -> None:
    write_part(tmp_path / "data", "train", ["a", "b"])
    begun = with_labels(settings(tmp_path / "data"))
    work = tmp_path / "out.training"
    work.mkdir()
    (work / "settings.json").write_text(begun.model_dump_json())
    (work / STATE_FILE).touch()
    (tmp_path / "data" / "train.jsonl").unlink()
    with pytest.raises(TrainingError, match=r"holds an unfinished run with another seed \(42 there, 9 now\);"):
        train(settings(tmp_path / "data", seed=9), tmp_path / "out", QUIET)
