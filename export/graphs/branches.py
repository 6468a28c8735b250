"""Moves what only an explanation needs into an `If`, so that a run that asks for none does not compute it.

ONNX Runtime computes every node of a graph, whichever outputs are wanted. `RunOptions.only_execute_path_to_fetches`
changes that in builds for training alone (onnxruntime 1.31.1).
"""

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from export.graphs.pruning import needed_for, rename_read
from export.session import EXPLAIN_INPUT


def branch_explanations(model: ModelProto) -> None:
    """Put each output but the logits behind its flag of a new input `explain`, in place; not asked for, it is empty."""
    graph = model.graph
    explanations = [output for output in graph.output if output.name != "logits"]
    nodes = list(graph.node)
    always = needed_for({"logits"}, nodes)
    kept = [node for node in nodes if node.output[0] in always]
    for number, output in enumerate(explanations):
        only_here = needed_for({output.name}, nodes) - always
        moved = [NodeProto.FromString(node.SerializeToString()) for node in nodes if node.output[0] in only_here]
        kept += _branch(output, number, moved)
    graph.input.append(helper.make_tensor_value_info(EXPLAIN_INPUT, TensorProto.BOOL, [len(explanations)]))
    # A default, so that programs that know nothing of explanations need not give it.
    nothing = helper.make_tensor(EXPLAIN_INPUT, TensorProto.BOOL, [len(explanations)], [False] * len(explanations))
    graph.initializer.append(nothing)
    del graph.node[:]
    graph.node.extend(kept)


def _branch(output: ValueInfoProto, number: int, nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes that give `output` if flag `number` is set, and else nothing."""
    name = output.name
    # Several explanations may need the same nodes, and no two tensors of a graph may have one name.
    # Those that were made for this output alone bear its name already.
    inside = {made: _within(name, made) for node in nodes for made in node.output if made}
    for node in nodes:
        rename_read(node, inside)
        node.output[:] = [inside.get(made, made) for made in node.output]
        node.name = _within(name, node.name)
    shape = [axis.dim_param for axis in output.type.tensor_type.shape.dim]
    asked = helper.make_tensor_value_info(inside[name], TensorProto.FLOAT, shape)
    empty = helper.make_tensor_value_info(f"{name}/empty", TensorProto.FLOAT, None)
    nothing = helper.make_tensor(f"{name}/nothing", TensorProto.FLOAT, [0] * len(shape), [])
    place = helper.make_tensor(f"{name}/place_value", TensorProto.INT64, [], [number])
    return [
        helper.make_node("Constant", [], [f"{name}/place"], f"{name}/place", value=place),
        helper.make_node("Gather", [EXPLAIN_INPUT, f"{name}/place"], [f"{name}/is_asked"], f"{name}/is_asked", axis=0),
        helper.make_node(
            "If",
            [f"{name}/is_asked"],
            [name],
            name,
            then_branch=helper.make_graph(nodes, f"{name}/then", [], [asked]),
            else_branch=helper.make_graph(
                [helper.make_node("Constant", [], [empty.name], empty.name, value=nothing)], f"{name}/else", [], [empty]
            ),
        ),
    ]


def _within(branch: str, name: str) -> str:
    return name if name.startswith(f"{branch}/") else f"{branch}/{name}"
