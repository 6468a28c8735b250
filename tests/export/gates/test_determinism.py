"""The gate against answers that depend on what is computed beside them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.errors import NotDeterministic
from export.gates.determinism import check_determinism
from export.graphs.tracing import trace
from export.session import Session
from models.networks.loading import load_trained
from models.text import Row


def test_the_exported_int8_graph_gives_each_row_the_same_bits_beside_any_others(package: Path, rows: list[Row]) -> None:
    report = check_determinism(Session(package / "model.onnx", pad_id=0), rows)
    assert (report.bit_equal, report.rows) == (True, len(rows))


def test_the_fp32_graph_gives_each_row_the_same_bits_beside_any_others(graph: Path, rows: list[Row]) -> None:
    assert check_determinism(Session(graph, pad_id=0), rows).bit_equal


def test_rows_are_computed_alone_thrice_among_others_and_once_beside_the_longest(graph: Path, rows: list[Row]) -> None:
    session = RecordingSession(graph, pad_id=0)
    check_determinism(session, rows)
    longest = max(rows, key=len)
    batches = [batch for batch in session.batches if len(batch) > 1]
    counts = Counter(id(row) for batch in batches for row in batch if row is not longest)
    assert counts == {id(row): 4 for row in rows if row is not longest}
    assert {len(batch) for batch in batches} == {*range(2, 9)}
    assert Counter(len(batch) for batch in batches if batch[0] is longest)[2] >= 2
    assert sum(len(batch) == 1 for batch in session.batches) >= len(rows)


class RecordingSession(Session):
    """A session that remembers what it computed."""

    def run(self, rows: Sequence[Row], outputs: Sequence[str]) -> Any:
        """Compute as ever."""
        self.batches = [*getattr(self, "batches", []), list(rows)]
        return super().run(rows, outputs)


def test_a_dynamically_quantised_graph_is_refused(checkpoint: Path, rows: list[Row], tmp_path: Path) -> None:
    # Its activation scales come from the whole batch, padding included.
    graph = tmp_path / "traced.onnx"
    trace(load_trained(checkpoint, "sequence-classification"), "sequence-classification", graph)
    quantize_dynamic(graph, tmp_path / "dynamic.onnx", weight_type=QuantType.QInt8)
    with pytest.raises(NotDeterministic, match="rows get other logits beside other rows than alone"):
        check_determinism(Session(tmp_path / "dynamic.onnx", pad_id=0), rows)


def test_a_decomposition_that_depends_on_other_rows_is_refused(graph: Path, rows: list[Row], tmp_path: Path) -> None:
    mixed = _with_decomposition(graph, tmp_path / "mixed.onnx", "ReduceMean")
    with pytest.raises(NotDeterministic, match="a decomposition differs by"):
        check_determinism(Session(mixed, pad_id=0), rows)


def test_a_decomposition_that_is_no_number_is_refused(graph: Path, rows: list[Row], tmp_path: Path) -> None:
    # The logarithm of a negative number; the later rows of a batch have one too.
    broken = _with_decomposition(graph, tmp_path / "broken.onnx", "Log")
    with pytest.raises(NotDeterministic, match="a decomposition differs by nan"):
        check_determinism(Session(broken, pad_id=0), rows)


def _with_decomposition(graph: Path, out: Path, first: str) -> Path:
    """The graph with its decomposition added to what an operator makes of it."""
    model = onnx.load(graph)
    (branch,) = (node for node in model.graph.node if node.output[0] == "decomposition")
    then = next(one.g for one in branch.attribute if one.name == "then_branch")
    last = then.node[-1]
    keeping = {"keepdims": 1} if first == "ReduceMean" else {}
    made = onnx.helper.make_node(first, [last.input[0]], ["made"], **keeping)
    added = onnx.helper.make_node("Add", [last.input[0], "made"], list(last.output))
    then.node.remove(last)
    then.node.extend([made, added])
    onnx.save(model, out)
    return out
