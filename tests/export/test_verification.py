"""`steadfast verify`: every check passes on a fresh package and fails on what it is there for."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from export.package import GRAPH_FILE, DamagedFile, open_package, write_manifest
from export.verification import VerificationReport, verify_package
from tests.export.conftest import copied


@pytest.fixture(scope="module")
def report(package: Path, checkpoint: Path, data: Path) -> VerificationReport:
    return verify_package(package, checkpoint=checkpoint, data=str(data))


def _failed(report: VerificationReport) -> list[str]:
    return [check.name for check in report.checks if not check.passed]


def test_a_fresh_package_passes_every_check(report: VerificationReport) -> None:
    assert [check.name for check in report.checks] == [
        "files", "probes", "determinism", "explanations", "quality", "weights", "parity",
    ]  # fmt: skip
    assert report.passed


def test_every_check_says_what_it_found(report: VerificationReport) -> None:
    found = {check.name: check.detail for check in report.checks}
    assert found["files"] == "5 files as the package was made with"
    assert found["probes"].startswith("11 probes: logits within 0, attention within")
    assert found["determinism"].startswith("0 of")


def test_without_data_and_checkpoint_the_package_alone_is_checked(package: Path) -> None:
    report = verify_package(package)
    assert [check.name for check in report.checks] == ["files", "probes", "determinism", "explanations"]


def test_a_damaged_file_is_refused_before_anything_is_run(package: Path, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    (folder / GRAPH_FILE).write_bytes(b"not a graph")
    with pytest.raises(DamagedFile, match=r"model\.onnx"):
        verify_package(folder)


def test_another_graph_under_the_same_manifest_fails_the_probes(package: Path, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    model = onnx.load(folder / GRAPH_FILE)
    (norm,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("embeddings.LayerNorm.bias"))
    norm.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(norm) + 1, norm.name))
    onnx.save(model, folder / GRAPH_FILE)
    manifest = open_package(package).manifest
    (folder / "package.json").unlink()
    write_manifest(folder, manifest)
    assert _failed(verify_package(folder)) == ["probes"]


@pytest.fixture
def other_checkpoint(checkpoint: Path, tmp_path: Path) -> Path:
    folder = copied(checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_checkpoint_that_the_package_was_not_made_from_is_noticed(package: Path, other_checkpoint: Path) -> None:
    assert _failed(verify_package(package, checkpoint=other_checkpoint)) == ["weights"]


def test_an_fp32_package_is_itself_compared_with_the_checkpoint(
    fp32_package: Path, checkpoint: Path, other_checkpoint: Path
) -> None:
    assert verify_package(fp32_package, checkpoint=checkpoint).passed
    assert _failed(verify_package(fp32_package, checkpoint=other_checkpoint)) == ["weights", "parity"]


def test_data_that_were_changed_fail_quality(package: Path, data: Path, tmp_path: Path) -> None:
    other = copied(data, tmp_path)
    (other / "validation.jsonl.gz").unlink()
    (other / "validation.jsonl").write_text('{"text": "good", "label": 1}\n')
    report = verify_package(package, data=str(other))
    assert _failed(report) == ["quality"]
    assert report.checks[-1].detail == "validation: not the file the package was measured on"


def test_a_package_is_verified_without_torch() -> None:
    program = "import sys, export.verification; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
