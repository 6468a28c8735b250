"""Writes a graph that computes in float16, for GPUs; attention, rollout and nodes that need range stay in float32."""

from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from export.decomposition.tape import without_weights
from export.graphs.branches import branch_explanations
from export.graphs.finishing import add_contributions
from export.graphs.pruning import drop_unused, makers_of, needed_for
from export.graphs.storage import is_large, save_graph

EXACT = ("LayerNormalization", "Softmax")
"""Nodes that sum many small numbers, which float16 would round."""


def write_half(traced: Path, half: Path, *, portable: bool = False) -> None:
    """Write a traced graph in the form in which it is served, computing the logits in float16.

    Inputs and outputs keep their types. The weights take half the space. A CPU has no kernels for float16: it converts
    at every step and is slower than with fp32.
    """
    model = onnx.load(traced)
    add_contributions(model, portable=portable)
    needed = needed_for({"logits"}, model.graph.node)
    explains = [node.name for node in model.graph.node if node.output[0] not in needed]
    large = is_large(model)
    if large:
        # What the converter does itself, where a message of protobuf can hold the graph.
        model.graph.value_info.extend(onnx.shape_inference.infer_shapes(without_weights(model)).graph.value_info)
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=large,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *EXACT],
        node_block_list=explains,
    )
    _without_round_trips(converted.graph)
    # The converter appends its nodes at the end.
    OnnxModel(converted).topological_sort()
    branch_explanations(converted)
    drop_unused(converted)
    save_graph(converted, half)
    onnx.checker.check_model(half)


def _without_round_trips(graph: GraphProto) -> None:
    """Connect nodes in float32 directly, in place.

    The converter puts a conversion to float16 and back between them, which rounds the numbers. Where several nodes read
    one output, it also writes the same conversion several times.
    """
    makers = makers_of(graph)
    nodes = list({node.output[0]: NodeProto.FromString(node.SerializeToString()) for node in graph.node}.values())
    direct = {
        node.output[0]: makers[node.input[0]].input[0]
        for node in nodes
        if _converts(node, TensorProto.FLOAT)
        and _converts(makers.get(node.input[0]), TensorProto.FLOAT16)
        # The model has conversions of its own, which start from other types and stay.
        and makers[node.input[0]].name.endswith("_cast_to_fp16_node")
    }
    outputs = {output.name for output in graph.output}
    for node in nodes:
        if node.output[0] in direct and node.output[0] in outputs:
            node.CopyFrom(onnx.helper.make_node("Identity", [direct[node.output[0]]], node.output, node.name))
        for place, name in enumerate(node.input):
            node.input[place] = direct.get(name, name)
    read = outputs | {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(node for node in nodes if read.intersection(node.output))


def _converts(node: NodeProto | None, to: int) -> bool:
    return node is not None and node.op_type == "Cast" and node.attribute[0].i == to
