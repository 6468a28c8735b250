"""The gate between torch and the graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.errors import NotTheSameModel
from export.gates.parity import TOLERANCE, check_parity, difference_of
from models.networks.loading import load_trained
from models.tasks.task import Head
from models.text import Row

HEAD: Head = "sequence-classification"


def _altered(graph: Path, into: Path, tensor_name: str, change: float) -> Path:
    """The graph with `change` added to one number of a weight."""
    model = onnx.load(graph)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith(tensor_name))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += change
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, into / "altered.onnx")
    return into / "altered.onnx"


def test_every_output_is_compared_on_padded_batches_of_five_shapes_or_more(
    graph: Path, checkpoint: Path, rows: list[Row]
) -> None:
    report = check_parity(load_trained(checkpoint, HEAD), HEAD, graph, rows, 0)
    assert set(report.largest_difference) == {"logits", "attention", "rollout", "decomposition"}
    assert sum(batch > 1 for batch, _ in report.shapes) >= 5
    assert max(report.largest_difference.values()) <= TOLERANCE


@pytest.mark.parametrize("tensor_name", ["classifier.bias", "layer.0.attention.self.query.bias"])
def test_a_graph_with_one_altered_weight_is_refused(
    graph: Path, checkpoint: Path, rows: list[Row], tmp_path: Path, tensor_name: str
) -> None:
    wrong = _altered(graph, tmp_path, tensor_name, 0.5)
    with pytest.raises(NotTheSameModel, match="the graph differs from torch: logits by"):
        check_parity(load_trained(checkpoint, HEAD), HEAD, wrong, rows, 0)


def test_a_graph_that_gives_no_numbers_is_refused(
    graph: Path, checkpoint: Path, rows: list[Row], tmp_path: Path
) -> None:
    wrong = _altered(graph, tmp_path, "classifier.bias", np.nan)
    with pytest.raises(NotTheSameModel, match="logits by nan"):
        check_parity(load_trained(checkpoint, HEAD), HEAD, wrong, rows, 0)


def test_a_difference_is_measured_by_the_largest_value_where_that_is_above_one() -> None:
    values = np.array([[0.5, -140.0]], np.float32)
    assert difference_of(values + np.array([[0, 4e-4]], np.float32), values) == pytest.approx(4e-4 / 140, rel=0.1)
    assert difference_of(values + 1, values) > TOLERANCE
    assert difference_of(np.array([0.5, 0.25]), np.array([0.5, 0.2])) == pytest.approx(0.05)
    for broken in (np.nan, np.inf):
        assert not difference_of(np.array([0.5, broken]), np.array([0.5, 0.2])) <= TOLERANCE
        assert not difference_of(np.array([0.5, 0.2]), np.array([0.5, broken])) <= TOLERANCE
