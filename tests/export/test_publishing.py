"""The folder in which a package is made."""

import errno
import re
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from export.errors import ExportError
from export.package import GRAPH_FILE, open_package, write_manifest
from export.publishing import publish, workplace
from tests.export.conftest import copied
from tests.models.test_atomic import files_end_at


def test_a_full_disk_is_told_by_the_package_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "packages" / "mood"
    with files_end_at(4096), pytest.raises(OSError, match=re.escape(str(out))) as raised, workplace(out) as work:
        (work / "model.onnx").write_bytes(bytes(100_000))
    assert raised.value.errno == errno.EFBIG
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("is_gated", [True, False])
def test_a_package_that_answers_its_probes_otherwise_gets_no_name(
    package: Path, tmp_path: Path, is_gated: bool
) -> None:
    folder = copied(package, tmp_path / "work")
    model = onnx.load(folder / GRAPH_FILE)
    (norm,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("embeddings.LayerNorm.bias"))
    norm.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(norm) + 1, norm.name))
    onnx.save(model, folder / GRAPH_FILE)
    (folder / "package.json").unlink()
    write_manifest(folder, open_package(package).manifest)
    with pytest.raises(ExportError, match="the finished package does not verify: probes"):
        publish(folder, tmp_path / "out", lambda _: None, is_gated=is_gated)
    assert not (tmp_path / "out").exists()
