"""Packages of checkpoints from elsewhere, and what they say of themselves."""

import re
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import onnx
import pytest
from transformers import pipeline

from export.build import PackageForm
from export.errors import BadName, PackageExists
from export.importing.build import ImportData, import_checkpoint
from export.package import GRAPH_FILE, Manifest, open_package
from export.session import open_packaged_model
from export.verification import verify_package
from models.evaluation import predict_all
from models.files.parts import DataError
from models.networks.batches import torch_runner
from models.networks.encoder import Encoder
from models.networks.loading import load_stock, load_tokenizer
from models.tasks import find_task
from service.cli.commands import app
from tests.export.importing.test_stock import settings
from tests.foreign import TEXTS, make_foreign


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_foreign(tmp_path_factory.mktemp("foreign") / "one", "sequence-classification", ["POS", "NEG"])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, foreign: Path) -> Path:
    """A package that was made without data."""
    out = tmp_path_factory.mktemp("packages") / "unmeasured"
    import_checkpoint(settings(foreign, "sentiment"), out, precision="fp32")
    return out


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, data: Path) -> tuple[Path, Manifest]:
    """An int8 package of a trained model, as if it came from elsewhere, measured on data."""
    out = tmp_path_factory.mktemp("packages") / "measured"
    chosen = settings(checkpoint, "sentiment", max_tokens=32)
    manifest = import_checkpoint(
        chosen, out, form=PackageForm(with_fp32=True), name="mine", data=ImportData(data=str(data))
    )
    return out, manifest


def test_a_package_answers_as_the_stock_pipeline_does(package: Path, foreign: Path) -> None:
    model = open_packaged_model(package)
    task = find_task("sentiment")
    encoded = [task.encode(task.item.model_validate({"text": text}), model.reader, "right") for text in TEXTS]
    found = [prediction.answer.label for prediction in predict_all(model, encoded)]
    stock = [answer["label"] for answer in pipeline("text-classification", model=str(foreign))(TEXTS)]
    assert found == [{"POS": "positive", "NEG": "negative"}[label] for label in stock]
    assert len(set(found)) == 2


def test_in_fp16_a_package_passes_the_same_gates_and_answers_as_the_stock_model(package: Path, foreign: Path) -> None:
    out = package.parent / "half"
    manifest = import_checkpoint(settings(foreign, "sentiment"), out, precision="fp16")
    assert (manifest.precision, manifest.quality.metric, manifest.quality.fp32) == ("fp16", "agreement", 1.0)
    assert manifest.quality.exported >= 1 - manifest.quality.tolerance
    assert verify_package(out).passed
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in onnx.load(out / GRAPH_FILE).graph.initializer}
    stock = [answer["score"] for answer in pipeline("text-classification", model=str(foreign))(TEXTS)]
    model, task = open_packaged_model(out), find_task("sentiment")
    encoded = [task.encode(task.item.model_validate({"text": text}), model.reader, "right") for text in TEXTS]
    found = [prediction.answer.scores[0].score for prediction in predict_all(model, encoded)]
    assert found == pytest.approx(stock, abs=0.01)


def test_a_package_without_data_says_that_its_quality_was_not_measured(package: Path) -> None:
    manifest = open_package(package).manifest
    assert (manifest.metrics, manifest.data, manifest.quality.measured) == ({}, (), False)
    assert (manifest.quality.metric, manifest.quality.exported, manifest.quality.rows) == ("agreement", 1.0, 512)
    assert "Quality was not measured: there were no records" in (package / "README.md").read_text()
    told = {check.name: check for check in verify_package(package).checks}
    assert told["quality"].passed
    assert told["quality"].detail.startswith("not measured, no records were given when it was made; 1.0000 of 512")


def test_a_package_names_the_checkpoint_and_its_labels(package: Path) -> None:
    manifest = open_package(package).manifest
    assert (manifest.base, manifest.method.name, manifest.method.settings) == (
        "one",
        "imported",
        {"labels": ["POS", "NEG"]},
    )
    assert manifest.labels == ("negative", "positive")


def test_the_card_says_how_to_make_the_package_again(package: Path) -> None:
    card = (package / "README.md").read_text()
    assert "A model for the task sentiment: the checkpoint `one`, trained elsewhere, imported" in card
    assert "\nsteadfast import BASE --task sentiment --out PACKAGE --max-tokens 64 --precision fp32\n" in card
    assert "steadfast train" not in card


@pytest.mark.parametrize(
    ("task", "count", "further"),
    [
        ("sentiment", 3, {"labels": ("so so", "positive", "negative"), "max_tokens": 16}),
        ("sts", 1, {"score_range": (-1.0, 5.5)}),
        ("multi-label-classification", 3, {"labels": ("late", "broken", "rude"), "label_threshold": 0.2}),
    ],
)
def test_the_command_on_the_card_makes_the_same_graph(
    tmp_path: Path, task: str, count: int, further: dict[str, Any]
) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", None, count, reads_pairs=task == "sts")
    chosen, form = settings(foreign, task, **further), PackageForm(portable=True)
    made = import_checkpoint(chosen, tmp_path / "made", precision="fp32", form=form)
    (command,) = re.findall("^steadfast (import .*)$", (tmp_path / "made" / "README.md").read_text(), re.MULTILINE)
    places = {"BASE": str(foreign), "PACKAGE": str(tmp_path / "again")}
    app([places.get(word, word) for word in shlex.split(command)], standalone_mode=False)
    again = open_package(tmp_path / "again").manifest
    for name in ("labels", "score_range", "label_threshold", "max_tokens", "precision", "portable"):
        assert getattr(again, name) == getattr(made, name)
    assert again.files[GRAPH_FILE] == made.files[GRAPH_FILE]


def test_with_data_it_has_the_metrics_and_the_precision_of_an_export(
    measured: tuple[Path, Manifest], package_with_fp32: Path
) -> None:
    exported, (folder, manifest) = open_package(package_with_fp32).manifest, measured
    assert (manifest.precision, manifest.name) == ("int8", "mine")
    assert manifest.quality.measured
    assert manifest.metrics["validation"]["accuracy"] == pytest.approx(
        exported.metrics["validation"]["accuracy"], abs=0.01
    )
    assert [(file.part, file.rows) for file in manifest.data] == [("validation", 200), ("calibration", 512)]
    assert verify_package(folder).passed
    options = "--max-tokens 32 --data FOLDER --train train --validation validation --with-fp32"
    assert f"\nsteadfast import BASE --task sentiment --out PACKAGE {options}\n" in (folder / "README.md").read_text()


def test_a_measured_package_is_measured_again(measured: tuple[Path, Manifest], data: Path) -> None:
    told = {check.name: check for check in verify_package(measured[0], data=str(data)).checks}
    assert told["quality"].passed
    assert told["quality"].detail.startswith("accuracy")


def test_without_a_part_to_calibrate_on_the_validation_part_is_taken(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "validation.jsonl.gz").symlink_to(data / "validation.jsonl.gz")
    chosen = settings(checkpoint, "sentiment", max_tokens=32)
    manifest = import_checkpoint(chosen, tmp_path / "out", data=ImportData(data=str(tmp_path / "data")))
    assert [(file.part, file.rows) for file in manifest.data] == [("validation", 200)]
    assert manifest.quality.calibration_rows == 200


def test_what_fails_leaves_nothing_behind(foreign: Path, data: Path, tmp_path: Path) -> None:
    wrong = ImportData(data=str(data), validation="test")
    with pytest.raises(DataError, match="no part 'test'"):
        import_checkpoint(settings(foreign, "sentiment"), tmp_path / "out", data=wrong)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_read_for_a_place_or_a_name_that_no_package_can_have(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    said: list[str] = []
    with pytest.raises(PackageExists, match="out: exists already"):
        import_checkpoint(settings(foreign, "sentiment"), tmp_path / "out", say=said.append)
    with pytest.raises(BadName, match="package name 'No Name'"):
        import_checkpoint(settings(foreign, "sentiment"), tmp_path / "other", name="No Name", say=said.append)
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_import_leaves_nothing_behind(foreign: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from service.cli.commands import app
        import export.importing.build as build
        from models.progress import Say

        make = build.make_package
        def interrupt(*given, say, **named):
            def speak(text):
                say(text)
                if text.startswith("quantising"):
                    os.kill(os.getpid(), signal.SIGINT)
            return make(*given, say=speak, **named)
        build.make_package = interrupt
        signal.signal(signal.SIGINT, signal.default_int_handler)
        app(sys.argv[1:])
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "import", str(foreign), "--task", "sentiment", "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (130, -signal.SIGINT), ran.stderr
    assert "quantising" in ran.stdout + ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task_name", "labels", "count", "further"),
    [
        ("sts", None, 1, {"score_range": (0.0, 5.0)}),
        ("reading-comprehension", None, 2, {}),
        ("extractive-reading-comprehension", None, 2, {}),
        ("ner", ["B-person", "O", "I-person"], 3, {}),
    ],
)
def test_heads_of_scores_choices_spans_and_tags_answer_as_the_stock_model_does(
    tmp_path: Path, task_name: str, labels: list[str] | None, count: int, further: dict[str, Any]
) -> None:
    task = find_task(task_name)
    foreign = make_foreign(
        tmp_path / "foreign", task.head, labels, count, reads_pairs=task_name != "ner", positions=256
    )
    import_checkpoint(settings(foreign, task_name, **further), tmp_path / "out", precision="fp32")
    model = open_packaged_model(tmp_path / "out")
    stock = torch_runner(Encoder(load_stock(str(foreign), task.head)), task.head, load_tokenizer(str(foreign)))
    encoded = [task.encode(task.item.model_validate(item), model.reader, "right") for item in task.probe_items[:6]]
    found = [prediction.answer for prediction in predict_all(model, encoded)]
    wanted = [task.decode(stock(one.rows), one, model.outputs).answer for one in encoded]
    for one, other in zip(found, wanted, strict=True):
        assert numbers(one.model_dump()) == pytest.approx(numbers(other.model_dump()), abs=1e-4)
        assert texts(one.model_dump()) == texts(other.model_dump())
    assert len({str(one) for one in found}) > 1


def numbers(answer: Any) -> list[float]:
    """All numbers of an answer, in order."""
    if isinstance(answer, dict | list | tuple):
        return [
            number for part in (answer.values() if isinstance(answer, dict) else answer) for number in numbers(part)
        ]
    return [float(answer)] if isinstance(answer, int | float) else []


def texts(answer: Any) -> list[str]:
    """All texts of an answer, in order."""
    if isinstance(answer, dict | list | tuple):
        return [text for part in (answer.values() if isinstance(answer, dict) else answer) for text in texts(part)]
    return [answer] if isinstance(answer, str) else []


def test_an_imported_package_is_attacked_evaluated_and_explained(package: Path, data: Path) -> None:
    for command in (
        ["evaluate", str(package), "--data", str(data), "--part", "validation", "--json"],
        ["attack", str(package), "--data", str(data), "--part", "validation", "--rows", "4", "--words", "1"],
        ["explain", "sentiment", "a fine film", "--package", str(package), "--method", "attention"],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "service.cli", *command], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout
