"""An int8 graph: how its file stores weights, and what it computes from them."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graphs.embeddings import quantize_rows, quantize_tables
from export.session import Session
from models.text import Reader, Row, pad
from tests.tiny import make_tokenizer

VOCABULARY = len(make_tokenizer())


@pytest.fixture(scope="module")
def model(package: Path) -> onnx.ModelProto:
    return onnx.load(package / "model.onnx")


def test_the_embedding_tables_are_int8_in_the_file(model: onnx.ModelProto) -> None:
    tables = {
        tensor.name: tensor.data_type for tensor in model.graph.initializer if "_embeddings.weight" in tensor.name
    }
    assert {name: kind for name, kind in tables.items() if not name.endswith("_scale")} == {
        f"model.bert.embeddings.{table}_embeddings.weight_quantized": TensorProto.INT8
        for table in ("word", "position", "token_type")
    }


def test_no_float_matrix_is_left_in_the_file(model: onnx.ModelProto) -> None:
    matrices = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and min(tensor.dims) > 1
    ]
    assert matrices == []


def test_no_table_is_turned_into_floats_as_a_whole(package: Path, reader: Reader, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "run")
    session = onnxruntime.InferenceSession(str(package / "model.onnx"), options, providers=["CPUExecutionProvider"])
    asked = {"explain": np.ones(3, dtype=bool), "target": np.zeros((1, 2), dtype=np.float32)}
    feeds = {**pad(reader.read("a fine story").rows, 0), **asked}
    session.run(
        None,
        {
            tensor.name: feeds[tensor.name]
            for tensor in (*session.get_inputs(), *session.get_overridable_initializers())
        },
    )
    events = json.loads(Path(session.end_profiling()).read_text())
    made = [shape for event in events for shape in event["args"].get("output_type_shape", ()) if "float" in shape]
    assert made
    assert [shape for shape in made if VOCABULARY in shape["float"]] == []


def test_the_residual_stream_is_never_rounded(model: onnx.ModelProto) -> None:
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    readers = {node.op_type for node in model.graph.node if dequantized.intersection(node.input)}
    assert readers == {"Gemm"}  # other products take int8 as it is


def test_every_product_with_weights_is_int8(model: onnx.ModelProto) -> None:
    # Two layers of query, key, value, attention output, and two of the feed-forward part; then pooler and classifier.
    assert len(_weights_of_products(model)) == 14
    assert {weights.dtype for weights in _weights_of_products(model)} == {np.dtype(np.int8)}


def test_biases_are_added_by_the_products_that_they_belong_to(model: onnx.ModelProto) -> None:
    merged = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert [len(node.input) for node in merged] == 12 * [7]


def test_a_lookup_may_feed_a_product_with_nothing_between(tmp_path: Path) -> None:
    """As where embeddings have no LayerNorm: ONNX Runtime has named the scale of the activations by then."""
    draw = np.random.default_rng(0)
    table = draw.normal(size=(8, 16)).astype(np.float32)
    activations = ["embeddings_scale", "embeddings_zero_point"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embeddings"], "lookup"),
        helper.make_node("QuantizeLinear", ["embeddings", *activations], ["embeddings_quantized_activations"]),
        helper.make_node("DequantizeLinear", ["embeddings_quantized_activations", *activations], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["sequence", 16])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.float32(6 / 255), activations[0]),
            numpy_helper.from_array(np.uint8(128), activations[1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    quantize_tables(model)
    file = tmp_path / "int8.onnx"
    onnx.save(model, file)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input_ids": np.arange(8)})
    # A step of the activations is 0.024, and values beyond 3 are cut.
    np.testing.assert_allclose(logits, table.clip(-3, 2.98), atol=0.04)


def _weights_of_products(model: onnx.ModelProto) -> list[npt.NDArray[np.generic]]:
    """The weights of each product, as the file stores them."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    names = [node.input[1] for node in model.graph.node if node.op_type in ("MatMulIntegerToFloat", "MatMul", "Gemm")]
    origins = [made_by[name].input[0] if name in made_by and made_by[name].input else name for name in names]
    return [stored[name] for name in origins if name in stored]


def test_int8_takes_less_than_half_of_fp32(package: Path, graph: Path) -> None:
    def weight_bytes(path: Path) -> int:
        return sum(numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)

    # The scales weigh much beside rows of 16 numbers; in a MiniLM int8 is a quarter.
    assert weight_bytes(package / "model.onnx") < weight_bytes(graph) / 2


def test_int8_logits_stay_near_fp32(package: Path, graph: Path, rows: list[Row]) -> None:
    exact = Session(graph, pad_id=0).run_padded(rows, ("logits",))["logits"]
    rounded = Session(package / "model.onnx", pad_id=0).run_padded(rows, ("logits",))["logits"]
    # A step of int8 is 1/127 of the largest value; some dozen of them add up.
    assert np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_table_row_comes_back_within_half_a_step_of_its_own_scale(scale: float) -> None:
    table = (np.random.default_rng(0).normal(size=(50, 16)) * scale).astype(np.float32)
    table[::2] *= 100
    rows, scales = quantize_rows(table)
    # float32 itself is off by 1e-7 of the value
    assert (np.abs(rows * scales - table) <= scales / 2 * (1 + 1e-5)).all()


def test_the_largest_number_of_a_row_uses_the_whole_range() -> None:
    rows, _ = quantize_rows(np.array([[0.5, -2.0, 1.0]], dtype=np.float32))
    assert rows.tolist() == [[32, -127, 64]]


def test_a_row_of_zeros_stays_zeros() -> None:
    rows, scales = quantize_rows(np.zeros((1, 4), dtype=np.float32))
    assert not (rows * scales).any()


def test_no_sum_of_two_products_overflows_16_bits(model: onnx.ModelProto) -> None:
    largest = [int(np.abs(weights.astype(int)).max()) for weights in _weights_of_products(model)]
    assert len(largest) == 14
    assert 2 * 255 * max(largest) < 2**15
