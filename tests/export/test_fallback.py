"""The fp32 graph that may come along with an int8 one."""

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from export.build import PackageForm, export_checkpoint
from export.package import FALLBACK_FILE, GRAPH_FILE, Package, WrongFormat, file_digest, open_package, write_manifest
from export.session import Session
from export.verification import verify_package
from tests.export.conftest import copied


def test_a_package_comes_without_unless_asked_for(package: Path) -> None:
    assert not (package / FALLBACK_FILE).exists()
    assert open_package(package).fallback is None


def test_the_fallback_is_the_graph_of_the_fp32_package(package_with_fp32: Path, fp32_package: Path) -> None:
    assert file_digest(package_with_fp32 / FALLBACK_FILE) == file_digest(fp32_package / GRAPH_FILE)
    opened = open_package(package_with_fp32)
    assert (opened.precision, opened.graph.name) == ("int8", GRAPH_FILE)
    fallback = opened.fallback
    assert fallback is not None
    assert (fallback.precision, fallback.graph.name) == ("fp32", FALLBACK_FILE)
    assert fallback.probes == open_package(fp32_package).probes
    assert fallback.fallback is None


def test_an_fp32_package_needs_no_other(checkpoint: Path, tmp_path: Path) -> None:
    export_checkpoint(checkpoint, tmp_path / "out", precision="fp32", form=PackageForm(with_fp32=True))
    assert open_package(tmp_path / "out").fallback is None


def test_the_card_says_that_it_is_there(package: Path, package_with_fp32: Path) -> None:
    assert FALLBACK_FILE in (package_with_fp32 / "README.md").read_text()
    assert FALLBACK_FILE not in (package / "README.md").read_text()


def test_the_card_says_by_which_options_the_package_is_made_again(
    package: Path, package_with_fp32: Path, fp32_package: Path
) -> None:
    for folder, options in ((package, ""), (package_with_fp32, " --with-fp32"), (fp32_package, " --precision fp32")):
        assert f"\nsteadfast export CHECKPOINT --out PACKAGE{options}\n" in (folder / "README.md").read_text()


def test_both_graphs_are_verified(package_with_fp32: Path, checkpoint: Path) -> None:
    report = verify_package(package_with_fp32, checkpoint=checkpoint)
    assert report.passed
    assert [check.name for check in report.checks if check.name.startswith("fallback")] == [
        "fallback probes",
        "fallback determinism",
        "fallback explanations",
    ]


def test_what_an_export_has_gated_is_asked_its_probes_alone_and_its_fallback_all(package_with_fp32: Path) -> None:
    names = [check.name for check in verify_package(package_with_fp32, is_gated=True).checks]
    assert names[:2] == ["files", "probes"]
    assert not {"determinism", "explanations"} & {*names}
    assert names[-3:] == ["fallback probes", "fallback determinism", "fallback explanations"]


def test_another_fallback_under_the_same_manifest_fails_its_probes(package_with_fp32: Path, tmp_path: Path) -> None:
    folder = copied(package_with_fp32, tmp_path)
    model = onnx.load(folder / FALLBACK_FILE)
    (norm,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("embeddings.LayerNorm.bias"))
    norm.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(norm) + 1, norm.name))
    onnx.save(model, folder / FALLBACK_FILE)
    _seal(folder, open_package(package_with_fp32))
    failed = [check.name for check in verify_package(folder).checks if not check.passed]
    assert failed == ["fallback probes"]


def test_a_fallback_without_probes_is_no_package(package: Path, fp32_package: Path, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    shutil.copyfile(fp32_package / GRAPH_FILE, folder / FALLBACK_FILE)
    _seal(folder, open_package(package))
    with pytest.raises(WrongFormat, match="and its probes come together or not at all"):
        open_package(folder)


def test_the_two_graphs_answer_alike(package_with_fp32: Path) -> None:
    opened = open_package(package_with_fp32)
    assert opened.fallback is not None
    rows = opened.reader().read("a very good film").rows
    int8, fp32 = (
        Session(each.graph, pad_id=each.manifest.pad_id).run(rows, ("logits",))[0]["logits"]
        for each in (opened, opened.fallback)
    )
    assert int8.argmax() == fp32.argmax()


def _seal(folder: Path, package: Package) -> None:
    (folder / "package.json").unlink()
    write_manifest(folder, package.manifest)
