"""Packages that benchmarks make with today's graph, and their controls."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.remade import remake, write_without
from export.package import Package, open_package
from export.session import Session
from export.verification import verify_package


@pytest.fixture(scope="module")
def remade(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Package:
    return remake(open_package(made("sentiment") / "package"), kept=tmp_path_factory.mktemp("kept"))


def test_it_verifies_and_is_made_once(made: Callable[[str], Path], remade: Package) -> None:
    assert all(check.passed for check in verify_package(remade.folder).checks)
    written = remade.graph.stat().st_mtime_ns
    again = remake(open_package(made("sentiment") / "package"), kept=remade.folder.parent)
    assert again.folder == remade.folder
    assert again.graph.stat().st_mtime_ns == written


def test_without_its_explanations_it_has_the_same_logits(remade: Package, tmp_path: Path) -> None:
    write_without(remade.graph, ("attention", "rollout", "decomposition"), tmp_path / "bare.onnx")
    whole, bare = (Session(graph, pad_id=0) for graph in (remade.graph, tmp_path / "bare.onnx"))
    assert bare.outputs == ("logits",)
    assert not any(node.op_type == "If" for node in onnx.load(tmp_path / "bare.onnx").graph.node)
    rows = [remade.reader().read(text).rows[0] for text in ("fine", "not so good , and much too long")]
    for found, expected in zip(bare.run(rows, ("logits",)), whole.run(rows, ("logits",)), strict=True):
        assert np.array_equal(found["logits"], expected["logits"])
