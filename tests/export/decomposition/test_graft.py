"""The decomposition of whole graphs: without biases, the shares of the tokens add up to what is explained."""

import numpy as np
import onnx
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.decomposition.graft import graft_contributions
from export.decomposition.tape import known_sizes
from tests.export.decomposition.single import Array

WIDTH = 6
LABELS = 3
LAYERS = ("Gelu", "Tanh", "Relu", "LayerNormalization", "MatMul", "residual", "attention", "gate")
"""Layers that have a rule."""


def make_graph(layers: list[str], draw: np.random.Generator) -> onnx.ModelProto:
    """A graph from `states` to the `logits` of the first token over these layers, none of which has a bias."""
    constants: dict[str, Array] = {"first": np.array(0), "scale": draw.uniform(0.5, 2, WIDTH).astype(np.float32)}
    constants |= {"start": np.array([0]), "last": np.array([2])}
    nodes = [helper.make_node("Identity", ["states"], ["embeddings"], "embeddings")]
    state = "embeddings"
    for number, layer in enumerate(layers):
        made, weight = f"state{number}", f"weight{number}"
        if layer in ("MatMul", "attention"):
            constants[weight] = (draw.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
        if layer == "residual":
            nodes.append(helper.make_node("Add", [state, "embeddings"], [made], made))
        elif layer == "LayerNormalization":
            nodes.append(helper.make_node(layer, [state, "scale"], [made], made))
        elif layer == "MatMul":
            nodes.append(helper.make_node(layer, [state, weight], [made], made))
        elif layer == "attention":
            nodes += [
                helper.make_node("MatMul", [state, weight], [f"{made}q"], f"{made}q"),
                helper.make_node("Transpose", [state], [f"{made}k"], f"{made}k", perm=[0, 2, 1]),
                helper.make_node("MatMul", [f"{made}q", f"{made}k"], [f"{made}s"], f"{made}s"),
                helper.make_node("Softmax", [f"{made}s"], [f"{made}a"], f"{made}a", axis=-1),
                helper.make_node("MatMul", [f"{made}a", state], [made], made),
            ]
        elif layer == "gate":
            constants[weight] = (draw.standard_normal((WIDTH, 2 * WIDTH)) / WIDTH**0.5).astype(np.float32)
            nodes += _gated(state, weight, made)
        elif layer == "product":
            constants[weight] = np.eye(WIDTH, dtype=np.float32)
            nodes.append(helper.make_node("MatMul", [state, weight], [f"{made}m"], f"{made}m"))
            nodes.append(helper.make_node("Mul", [state, f"{made}m"], [made], made))
        else:
            nodes.append(helper.make_node(layer, [state], [made], made))
        state = made
    constants["head"] = draw.standard_normal((WIDTH, LABELS)).astype(np.float32)
    nodes += [
        helper.make_node("Gather", [state, "first"], ["pooled"], "pooled", axis=1),
        helper.make_node("MatMul", ["pooled", "head"], ["logits"], "logits"),
    ]
    info, axes = helper.make_tensor_value_info, ["batch", "sequence", WIDTH]
    graph = helper.make_graph(
        nodes, "whole", [info("states", TensorProto.FLOAT, axes)],
        [info("logits", TensorProto.FLOAT, ["batch", LABELS]), info("embeddings", TensorProto.FLOAT, axes)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _gated(state: str, weight: str, made: str) -> list[onnx.NodeProto]:
    """GELU of one half of a product times the other, with bounds that are computed, as torch writes them."""
    steps = [
        ("MatMul", [state, weight], "m"),
        ("Shape", [f"{made}m"], "shape"),
        ("Gather", [f"{made}shape", "last"], "width"),
        ("Div", [f"{made}width", "last"], "half"),
        ("Mul", [f"{made}half", "last"], "end"),
        ("Slice", [f"{made}m", "start", f"{made}half", "last"], "opened"),
        ("Slice", [f"{made}m", f"{made}half", f"{made}end", "last"], "passing"),
        ("Gelu", [f"{made}opened"], "gate"),
        ("Mul", [f"{made}gate", f"{made}passing"], ""),
    ]
    return [helper.make_node(operator, inputs, [made + name], made + name) for operator, inputs, name in steps]


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(st.sampled_from(LAYERS), max_size=8),
    rows=st.integers(1, 3),
    tokens=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_without_biases_the_shares_of_a_row_add_up_to_the_sum_of_logits(
    layers: list[str], rows: int, tokens: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    model = make_graph(layers, draw)
    graft_contributions(model, known_sizes(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    states = draw.standard_normal((rows, tokens, WIDTH)).astype(np.float32)
    target = draw.standard_normal((rows, LABELS)).astype(np.float32)
    logits, shares = session.run(["logits", "decomposition"], {"states": states, "target": target})
    assert shares.shape == (rows, tokens)
    # A thousand roundings of 1e-7, of shares that may be far larger than their sum.
    tolerance = 1e-4 * (1 + np.abs(shares).sum(axis=1) + np.abs(logits * target).sum(axis=1))
    assert (np.abs(shares.sum(axis=1) - (logits * target).sum(axis=1)) <= tolerance).all()


def test_a_product_of_two_states_leaves_the_graph_as_it_was() -> None:
    model = make_graph(["Tanh", "MatMul", "product", "Gelu"], np.random.default_rng(0))
    names = [node.name for node in model.graph.node]
    graft_contributions(model, known_sizes(model))
    assert [node.name for node in model.graph.node] == names
    assert [output.name for output in model.graph.output] == ["logits"]
    onnx.checker.check_model(model)
