"""The gate that explanations are shares of the row's real tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.errors import NotAnExplanation
from export.gates.consistency import check_shares
from export.session import Session
from models.text import Row


def test_the_exported_graph_shares_out_one_among_real_tokens(package: Path, rows: list[Row]) -> None:
    assert check_shares(Session(package / "model.onnx", pad_id=0), rows) < 1e-5


def _broken(package: Path, into: Path, nodes: Sequence[onnx.NodeProto]) -> Session:
    """The package's graph with `nodes` between what was its rollout, now called `true`, and the output."""
    model = onnx.load(package / "model.onnx")
    for node in model.graph.node:
        node.output[:] = ["true" if name == "rollout" else name for name in node.output]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.01), "hundredth"))
    onnx.save(model, into / "broken.onnx")
    return Session(into / "broken.onnx", pad_id=0)


BREAKAGES = {
    "on a padding token": [helper.make_node("Add", ["true", "hundredth"], ["rollout"])],
    "a share is negative": [helper.make_node("Neg", ["true"], ["rollout"])],
    "miss 1 by 0.99": [helper.make_node("Mul", ["true", "hundredth"], ["rollout"])],
    "no number": [
        helper.make_node("Sub", ["true", "true"], ["nothing"]),
        helper.make_node("Div", ["nothing", "nothing"], ["rollout"]),
    ],
}


@pytest.mark.parametrize("message", BREAKAGES)
def test_a_graph_whose_rollout_is_no_distribution_is_refused(
    message: str, package: Path, rows: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(NotAnExplanation, match=f"rollout: .*{message}"):
        check_shares(_broken(package, tmp_path, BREAKAGES[message]), rows)
