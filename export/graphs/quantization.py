"""Static int8 in ONNX's QDQ form: weights per channel, activations by ranges seen on training texts.

Products with weights are int8. Attention, softmax, LayerNorm, GELU and the residual stream stay fp32.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.external_data import data_file
from export.graphs import storage
from export.graphs.embeddings import quantize_tables
from export.graphs.finishing import finish
from export.graphs.pruning import makers_of
from models.text import Row, pad

LINEAR_OPS = ("MatMul", "Gemm")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A graph ready to be quantised, and the training rows that set its activation ranges."""

    graph: Path
    ranges: Path
    """File of the activation ranges; it is written when the graph is first quantised and read from then on."""
    linears: tuple[str, ...]
    """Nodes that multiply by weights, in the order of the graph."""
    inputs: tuple[str, ...]
    rows: Sequence[Row]
    portable: bool = False
    """Whether the int8 graph holds standard operators only."""


def prepare(traced: Path, rows: Sequence[Row], scratch: Path, *, portable: bool = False) -> Calibration:
    """Fold constants and infer shapes as ONNX Runtime recommends before quantising; files go to `scratch`."""
    graph = scratch / "prepared.onnx"
    large = sum(file.stat().st_size for file in traced.parent.glob(f"{traced.name}*")) > storage.LARGEST_FILE
    # Symbolic shape inference adds nothing for products with weights, and where it fails it leaves files behind.
    quant_pre_process(
        str(traced),
        str(graph),
        skip_symbolic_shape=True,
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        external_data_location=data_file(graph).name,
    )
    content = onnx.load(graph, load_external_data=False).graph
    weights = {tensor.name for tensor in content.initializer}
    return Calibration(
        graph=graph,
        ranges=scratch / "ranges.json",
        linears=tuple(node.name for node in content.node if node.op_type in LINEAR_OPS and node.input[1] in weights),
        inputs=tuple(value.name for value in content.input),
        rows=rows,
        portable=portable,
    )


def quantize(calibration: Calibration, nodes: Collection[str], out: Path) -> None:
    """Write the graph with these of its linear nodes, and its embedding tables, in int8."""
    quantize_static(
        str(calibration.graph),
        str(out),
        _Feeds(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(LINEAR_OPS),
        nodes_to_quantize=list(nodes),
        per_channel=True,
        # On x86 only unsigned by signed has a kernel; signed activations were seven times slower.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # 7 bits: x86 without VNNI adds pairs of products in 16 bits, which two products of 8 by 8 bits overflow.
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        # The node after a product computes in fp32, so the product stays fp32 instead of being rounded once more.
        extra_options={"OpTypesToExcludeOutputQuantization": list(LINEAR_OPS)},
        calibration_cache_path=calibration.ranges,
        use_external_data_format=storage.is_large(calibration.graph),
    )
    model = onnx.load(out)
    _read_floats_where_computed_in_floats(model)
    quantize_tables(model)
    finish(model, portable=calibration.portable)
    storage.save_graph(model, out)


def _read_floats_where_computed_in_floats(model: onnx.ModelProto) -> None:
    """Let nodes that compute in floats read the original floats, in place.

    ONNX Runtime quantises a tensor for one reader and then has every reader take it back from int8, the residual sums
    too.
    """
    made_by = makers_of(model.graph)
    for node in model.graph.node:
        if node.op_type in LINEAR_OPS:
            continue
        for position, name in enumerate(node.input):
            dequantize = made_by.get(name)
            if dequantize is None or dequantize.op_type != "DequantizeLinear":
                continue
            quantize_node = made_by.get(dequantize.input[0])
            if quantize_node is not None:  # else a weight
                node.input[position] = quantize_node.input[0]


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives ONNX Runtime one row at a time, so that no range is measured on padding."""

    def __init__(self, calibration: Calibration) -> None:
        self._rows = iter(calibration.rows)
        self._inputs = calibration.inputs

    def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
        row = next(self._rows, None)
        if row is None:
            return None
        padded = pad([row], 0)
        return {name: padded[name] for name in self._inputs}
