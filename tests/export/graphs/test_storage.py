"""Graphs too large for one ONNX file, tried with small ones and a low limit: their weights lie in a second file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export.build import PackageForm, export_checkpoint
from export.external_data import data_file
from export.graphs import storage
from export.graphs.finishing import write_graph
from export.package import FALLBACK_FILE, GRAPH_FILE, DamagedFile, Package, Precision, open_package
from export.prepacked import FOLDER
from export.session import OUTPUTS, Arrays, Session
from export.verification import verify_package
from models.networks.loading import load_trained
from steadfast import load

LIMIT = 10_000
"""Bytes of weights in one file; the tiny checkpoint has some 28,000 in fp32."""


@pytest.fixture(autouse=True, scope="module")
def low_limit() -> Iterator[None]:
    """Make every graph too large for one file; optimum writes two where this variable tells it to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "LARGEST_FILE", LIMIT)
        patch.setenv("FORCE_ONNX_EXTERNAL_DATA", "1")
        yield


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def large(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of each precision whose graphs are too large for one file."""
    precision: Precision = request.param
    out = tmp_path_factory.mktemp("large") / precision
    form = PackageForm(with_fp32=precision != "fp32")
    assert export_checkpoint(checkpoint, out, precision=precision, form=form).precision == precision
    return out


def computed(package: Package) -> list[Arrays]:
    rows = [row for text in ("a good film", "the plot was dull") for row in package.reader().read(text).rows]
    session = Session(package.graph, pad_id=package.manifest.pad_id)
    return session.run(rows, [name for name in OUTPUTS if name in session.outputs])


def test_its_files_are_listed_and_each_graph_has_its_weights_beside_it(large: Path) -> None:
    files = open_package(large).manifest.files
    names = [GRAPH_FILE, *([FALLBACK_FILE] if FALLBACK_FILE in files else [])]
    assert {path.name for path in large.iterdir()} == {"package.json", *files}
    for name in names:
        weights = data_file(large / name)
        assert weights.name in files
        assert weights.stat().st_size > storage.SMALLEST_BYTES
    card = (large / "README.md").read_text()
    assert f"{sum(path.stat().st_size for path in large.glob('model.onnx*')) / 1e6:.1f} MB" in card


def test_it_verifies_and_answers_from_another_folder_without_an_entry_in_the_cache(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(large, tmp_path / "copied")
    assert verify_package(folder).passed
    monkeypatch.setenv("STEADFAST_CACHE", str(tmp_path / "cache"))
    with load("sentiment", package=folder) as model:
        assert [result.label for result in model.score(["a good film", "a bad film"])] == ["positive", "negative"]
    assert not list((tmp_path / "cache").glob(f"{FOLDER}/*"))


def test_its_graphs_compute_what_graphs_of_one_file_do(
    large: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LARGEST_FILE", 2**31)
    monkeypatch.delenv("FORCE_ONNX_EXTERNAL_DATA")
    form = PackageForm(with_fp32=large.name != "fp32")
    export_checkpoint(checkpoint, tmp_path / "out", precision=open_package(large).manifest.precision, form=form)
    package = open_package(tmp_path / "out")
    assert not package.has_data_file
    for found, expected in zip(computed(open_package(large)), computed(package), strict=True):
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])


def test_changed_weights_are_refused(large: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(large, tmp_path / "changed")
    weights = data_file(folder / GRAPH_FILE)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"model\.onnx\.data: not the file the package was made with"):
        open_package(folder)


def test_a_graph_written_again_in_one_file_leaves_no_second_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_trained(checkpoint, "sequence-classification")
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    size = data_file(tmp_path / "graph.onnx").stat().st_size
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    assert data_file(tmp_path / "graph.onnx").stat().st_size == size
    monkeypatch.setattr(storage, "LARGEST_FILE", 2**31)
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    assert not data_file(tmp_path / "graph.onnx").exists()
