"""The gate against answers that depend on what is computed beside them."""

from pathlib import Path

import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.errors import NotDeterministic
from export.gates.determinism import check_determinism
from export.session import Session
from models.text import Row


def test_the_exported_int8_graph_gives_each_row_the_same_bits_beside_any_others(package: Path, rows: list[Row]) -> None:
    report = check_determinism(Session(package / "model.onnx", pad_id=0), rows)
    assert (report.bit_equal, report.rows) == (True, len(rows))


def test_the_fp32_graph_gives_each_row_the_same_bits_beside_any_others(graph: Path, rows: list[Row]) -> None:
    assert check_determinism(Session(graph, pad_id=0), rows).bit_equal


def test_a_dynamically_quantised_graph_is_refused(graph: Path, rows: list[Row], tmp_path: Path) -> None:
    # Its activation scales come from the whole batch, padding included.
    quantize_dynamic(graph, tmp_path / "dynamic.onnx", weight_type=QuantType.QInt8)
    with pytest.raises(NotDeterministic, match="rows get other logits beside other rows than alone"):
        check_determinism(Session(tmp_path / "dynamic.onnx", pad_id=0), rows)
