"""Writes a graph that computes in float16, for GPUs; attention, rollout and nodes that need range stay in float32."""

from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from export.decomposition.tape import without_weights
from export.graphs.branches import branch_explanations
from export.graphs.finishing import add_contributions
from export.graphs.pruning import drop_unused, makers_of, names_read, needed_for, rename_read, sort_nodes
from export.graphs.storage import save_graph

EXACT = ("LayerNormalization", "Softmax")
"""Nodes that sum many small numbers, which float16 would round."""


def write_half(traced: Path, half: Path, *, portable: bool = False) -> None:
    """Write a traced graph in the form in which it is served, computing the logits in float16.

    Inputs and outputs keep their types. The weights take half the space. A CPU has no kernels for float16: it converts
    at every step and is slower than with fp32.
    """
    model = onnx.load(traced)
    # The converter needs the type of every tensor, and ONNX knows none behind an operator of ONNX Runtime's own.
    _note_types(model)
    add_contributions(model, portable=portable)
    _note_types(model)
    needed = needed_for({"logits"}, model.graph.node)
    explains = [node.name for node in model.graph.node if node.output[0] not in needed]
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        # It would write the whole graph into one message of protobuf, which holds 2 GB.
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *EXACT],
        node_block_list=explains,
    )
    _without_round_trips(converted.graph)
    # The converter appends its nodes at the end.
    sort_nodes(converted.graph)
    branch_explanations(converted)
    drop_unused(converted)
    save_graph(converted, half)
    onnx.checker.check_model(half)


def _note_types(model: ModelProto) -> None:
    """Write the types of the tensors inside a graph beside it, in place, as far as ONNX can tell them."""
    known = onnx.shape_inference.infer_shapes(without_weights(model)).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)


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
        rename_read(node, direct)
    read = outputs | {name for node in nodes for name in names_read(node)}
    del graph.node[:]
    graph.node.extend(node for node in nodes if read.intersection(node.output))


def _converts(node: NodeProto | None, to: int) -> bool:
    return node is not None and node.op_type == "Cast" and node.attribute[0].i == to
