"""From a checkpoint to a package, or to nothing."""

import gzip
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.build import export_checkpoint
from export.errors import BadName, ExportError, IncompleteCheckpoint, PackageExists
from export.figures.requirements import FallsShort, read_requirement
from export.package import Faithfulness, Manifest, file_digest, open_package
from export.publishing import Measured
from export.session import Session, open_packaged_model
from models.checkpoint import CheckpointError
from models.data import load_part
from models.evaluation import measure
from models.files.parts import DataError
from models.networks.loading import open_trained_model
from models.training.settings import check_settings
from tests.export.conftest import MAX_TOKENS, copied
from tests.export.figures.test_requirements import PASSPORT

TEXT = "the story was lovely and the plot is fine"


def test_the_manifest_says_where_the_package_comes_from(package: Path, checkpoint: Path) -> None:
    manifest = open_package(package).manifest
    assert manifest.name == manifest.task == "sentiment"
    assert manifest.labels == ("negative", "positive")
    assert (manifest.base, manifest.method.name, manifest.max_tokens) == ("tiny", "plain", MAX_TOKENS)
    assert manifest.weights == file_digest(checkpoint / "model.safetensors")
    assert [file.name for file in manifest.data] == ["train", "validation"]
    assert {"torch", "onnxruntime", "optimum-onnx"} <= manifest.versions.keys()


def test_the_manifest_holds_the_report_of_every_gate(package: Path) -> None:
    manifest = open_package(package).manifest
    assert all(difference <= manifest.parity.tolerance for difference in manifest.parity.largest_difference.values())
    assert manifest.quality.exported >= manifest.quality.fp32 - manifest.quality.tolerance
    assert manifest.determinism.bit_equal


def test_the_metrics_are_those_of_the_exported_graph(package: Path, data: Path) -> None:
    manifest = open_package(package).manifest
    evaluated = open_packaged_model(package)
    part = load_part(str(data), "validation", "validation", evaluated.task, evaluated.outputs, evaluated.reader)
    assert manifest.metrics == {"validation": measure(evaluated, part.examples)}
    assert manifest.metrics["validation"]["accuracy"] > 0.9


def test_the_package_answers_as_the_checkpoint_does(package: Path, checkpoint: Path) -> None:
    evaluated = open_packaged_model(package)
    rows = [evaluated.reader.read(text).rows[0] for text in (TEXT, "awful", "it is a dull , dull film")]
    expected, found = (np.stack(one.run(rows)) for one in (open_trained_model(checkpoint), evaluated))
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_the_tokenizer_of_the_package_neither_pads_nor_truncates(package: Path) -> None:
    tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_a_padding_tokenizer_in_the_checkpoint_does_not_reach_the_package(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(16)
    tokenizer.save(str(folder / "tokenizer.json"))
    export_checkpoint(folder, tmp_path / "package", precision="fp32")
    written = Tokenizer.from_file(str(tmp_path / "package" / "tokenizer.json"))
    assert (written.padding, written.truncation) == (None, None)


def test_optimum_loads_the_package_and_gets_the_same_logits(package: Path) -> None:
    model = ORTModelForSequenceClassification.from_pretrained(package)
    logits = model(**AutoTokenizer.from_pretrained(package)(TEXT, return_tensors="pt")).logits
    opened = open_package(package)
    (ours,) = Session(opened.graph, pad_id=0).run(opened.reader().read(TEXT).rows, ("logits",))
    # optimum lets ONNX Runtime fuse more, which rounds otherwise and can tip a value into the next int8 step.
    np.testing.assert_allclose(logits[0], ours["logits"], atol=0.05)
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_fp32_is_shipped_when_asked_for_under_the_name_asked_for(fp32_package: Path) -> None:
    manifest = open_package(fp32_package).manifest
    assert (manifest.name, manifest.precision, manifest.quality.calibration_rows) == ("my.model", "fp32", 0)


def test_the_manifest_that_export_returns_is_the_one_on_disk(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_checkpoint(checkpoint, tmp_path / "package", precision="fp32")
    assert manifest == open_package(tmp_path / "package").manifest


def test_a_target_that_exists_is_refused_and_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(PackageExists, match=r"taken: exists already; .* choose another name or remove it"):
        export_checkpoint(checkpoint, out)
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "mine"]


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        export_checkpoint(tmp_path, tmp_path / "package")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_checkpoint_without_one_of_its_files_is_refused_by_its_name(
    checkpoint: Path, tmp_path: Path, file: str
) -> None:
    folder = copied(checkpoint, tmp_path)
    (folder / file).unlink()
    with pytest.raises(IncompleteCheckpoint, match=f"{file}: missing"):
        export_checkpoint(folder, tmp_path / "package")


@pytest.mark.parametrize("name", ["", "Upper", "-dash", "a/b", "x" * 65])
def test_a_name_that_is_none_is_refused_before_anything_is_done(checkpoint: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadName, match="use at most 64 of a-z"):
        export_checkpoint(checkpoint, tmp_path / "package", name=name)


def test_a_refused_export_leaves_nothing_behind(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError):
        export_checkpoint(folder, tmp_path / "there" / "package")
    assert list((tmp_path / "there").iterdir()) == []


def test_data_that_moved_are_found_where_they_are_said_to_be(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    moved = copied(data, tmp_path)
    record = checkpoint / "training.json"
    folder = copied(checkpoint, tmp_path)
    (folder / "training.json").write_text(record.read_text().replace(str(data), "/gone"))
    with pytest.raises(DataError, match="/gone"):
        export_checkpoint(folder, tmp_path / "package", precision="fp32")
    assert export_checkpoint(folder, tmp_path / "package", precision="fp32", data=str(moved)).precision == "fp32"


def test_other_data_than_those_of_the_training_are_refused(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    other = copied(data, tmp_path)
    with gzip.open(other / "validation.jsonl.gz", "at") as file:
        file.write('{"text": "good", "label": 1}\n')
    with pytest.raises(IncompleteCheckpoint, match=r"validation part 'validation' is not the file .* was made with"):
        export_checkpoint(checkpoint, tmp_path / "package", data=str(other))


def test_a_killed_export_leaves_nothing_at_the_target(checkpoint: Path, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from export.build import export_checkpoint
        export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), say=lambda line: print(line, flush=True))
    """)
    out = tmp_path / "package"
    command = [sys.executable, "-c", program, str(checkpoint), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        # The graph is written by now; quantising it comes next.
        assert any(line.startswith("quantising") for line in process.stdout)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()


def test_the_card_says_what_the_package_is(package: Path) -> None:
    card = (package / "README.md").read_text()
    manifest = open_package(package).manifest
    for stated in (
        "trained by the method `plain`", "negative, positive", "| validation | 200 |", manifest.weights,
        f"{manifest.quality.exported:.4f}", "## Licences", "## Use and limits", "steadfast serve PACKAGE",
        "optimum.onnxruntime.ORTModelForSequenceClassification", f'Trained with torch "{torch.__version__}"',
        'device "cpu', "exported with numpy",
    ):  # fmt: skip
        assert stated in card


def test_the_card_does_not_say_where_the_data_lay(package: Path) -> None:
    assert 'data = "FOLDER"' in (package / "README.md").read_text()


def test_the_settings_in_the_card_are_settings_that_train_takes(package: Path) -> None:
    card = (package / "README.md").read_text()
    settings = check_settings(tomllib.loads(card.partition("```toml\n")[2].partition("```")[0]))
    assert (settings.epochs, settings.learning_rate, settings.seed, settings.max_tokens) == (4, 5e-3, 3, MAX_TOKENS)
    # The threshold came the whole way, from the settings of the training to the package that decides by it.
    assert settings.outside_threshold == open_package(package).manifest.meaning.outside_threshold == 0.25


FAITHFULNESS = Faithfulness(
    rows=3,
    comprehensiveness=0.4,
    comprehensiveness_interval=(0.3, 0.5),
    sufficiency=0.1,
    sufficiency_interval=(0.05, 0.2),
    random_comprehensiveness=0.2,
    random_sufficiency=0.25,
    cost=1.9,
)


def test_what_is_measured_on_the_package_is_stated_in_its_manifest_and_card(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[Manifest] = []

    def measure(folder: Path) -> Measured:
        seen.append(open_package(folder).manifest)
        return Measured(faithfulness={"attention": FAITHFULNESS}, passport=PASSPORT)

    out = tmp_path / "package"
    manifest = export_checkpoint(checkpoint, out, precision="fp32", measure=measure)
    assert manifest == open_package(out).manifest
    assert manifest.faithfulness == {"attention": FAITHFULNESS}
    assert manifest.passport == PASSPORT
    assert manifest.most_faithful == "attention"
    (measured,) = seen
    changed = {"faithfulness", "passport", "files", "digest"}
    assert manifest.model_dump(exclude=changed) == measured.model_dump(exclude=changed)
    assert manifest.digest != measured.digest
    card = (out / "README.md").read_text()
    assert "| attention | 0.400 [0.30, 0.50] | 0.100 [0.05, 0.20] | 1.90 |" in card
    assert "| words at random | 0.200 | 0.250 |  |" in card
    assert "Measured on 3 validation records" in card
    assert "| typos-1 | 0.7000 ± 0.0229 |" in card
    assert "that between Hindu and\nMuslim (religion)" in card


def test_a_package_that_falls_short_is_not_made(checkpoint: Path, tmp_path: Path) -> None:
    demands = [read_requirement("accuracy>=0.5"), read_requirement("typos-1>=0.71")]
    with pytest.raises(FallsShort, match=r"typos-1 is 0\.7;"):
        export_checkpoint(
            checkpoint,
            tmp_path / "package",
            precision="fp32",
            measure=lambda _: Measured(passport=PASSPORT),
            requirements=demands,
        )
    assert not list(tmp_path.iterdir())
    manifest = export_checkpoint(
        checkpoint,
        tmp_path / "package",
        precision="fp32",
        measure=lambda _: Measured(passport=PASSPORT),
        requirements=demands[:1],
    )
    assert manifest.passport == PASSPORT


def test_a_card_without_measured_explanations_has_no_table_of_them(package: Path) -> None:
    assert "## Explanations" not in (package / "README.md").read_text()
