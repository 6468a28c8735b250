"""Adds outputs to a graph that take a sum of logits apart into a contribution of each token, such as `decomposition`.

A decomposition follows DecompX (Modarressi et al. 2023, "DecompX: Explaining Transformers Decisions by Propagating
Token Decomposition"). With attention's probabilities, the scales of LayerNormalization and the slopes of the activation
functions held fixed, the network is linear in its embeddings. One pass backwards through it, over the weights and
activations that the graph has already, gives the gradient of `y = sum(logits * target)`; a token's share is the product
of its embedding with it. The shares of all tokens, special ones included, and a part that the biases bring add up to
`y`.

DecompX carries every token's share forward through all layers and decomposes the biases too. The backward pass gives
the same shares for one `target` at the cost of one pass, and leaves the biases together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.decomposition.contributions import RECIPES, Recipe
from export.decomposition.rules import NoRule
from export.decomposition.tape import Sizes, Tape
from export.session import TARGET_INPUT

SOURCE = "embeddings"
"""The output of the graph with the embeddings [batch, sequence, width]; it is given up for the new ones."""


def graft_contributions(model: onnx.ModelProto, sizes: Mapping[str, Sizes]) -> None:
    """Replace, in place, the output `embeddings` by each contribution, and add the input `target` if there is one.

    `sizes` are the shapes of the graph's tensors as `known_sizes` gives them.
    A contribution whose rules do not reach from the logits to the embeddings is left out.
    """
    graph = model.graph
    nodes = list(graph.node)
    outputs = {output.name: output for output in graph.output}
    logits = [axis.dim_param or axis.dim_value for axis in outputs["logits"].type.tensor_type.shape.dim]
    axes = [axis.dim_param for axis in outputs[SOURCE].type.tensor_type.shape.dim][:2]
    graph.output.remove(outputs[SOURCE])
    for name, recipe in RECIPES.items():
        before = len(graph.node)
        tape = Tape(graph, sizes=sizes, live=_live(nodes, recipe), prefix=name)
        try:
            total = _add_up(tape, nodes, logits, recipe)
        except NoRule:
            del graph.node[before:]
            continue
        graph.node.append(helper.make_node("Identity", [total], [name], f"{name}/output"))
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, axes))
    if len(graph.output) >= len(outputs):
        _take_target(graph, logits)


def _add_up(tape: Tape, nodes: Sequence[onnx.NodeProto], logits: Sequence[str | int], recipe: Recipe) -> str:
    """The product of each token's embedding with the gradient of the target by it [batch, sequence]; raises NoRule."""
    gradients: dict[str, list[str]] = {"logits": [_target(tape, logits)]}
    for node in reversed(nodes):
        found = [tape.add(gradients[name]) if name in gradients else None for name in node.output]
        if not any(found) or SOURCE in node.output:
            continue
        rule = recipe.rules.get(node.op_type)
        if rule is None:
            raise NoRule(f"{node.name}: {node.op_type} has no rule")
        for name, gradient in rule(tape, node, found):
            gradients.setdefault(name, []).append(gradient)
    return tape.emit("ReduceSum", tape.emit("Mul", SOURCE, tape.add(gradients[SOURCE])), tape.integers(-1), keepdims=0)


def _live(nodes: Sequence[onnx.NodeProto], recipe: Recipe) -> set[str]:
    """The tensors that depend on the embeddings other than through what is held fixed."""
    live = {SOURCE}
    for node in nodes:
        if node.op_type not in recipe.fixed and live.intersection(node.input):
            live.update(node.output)
    return live


def _take_target(graph: onnx.GraphProto, sizes: Sequence[str | int]) -> None:
    """Add the input `target`, with a default, so that programs that know nothing of explanations need not give it."""
    sizes = ["explained", *sizes[1:]]
    graph.input.append(helper.make_tensor_value_info(TARGET_INPUT, onnx.TensorProto.FLOAT, sizes))
    nothing = np.zeros([0 if isinstance(size, str) else size for size in sizes], np.float32)
    graph.initializer.append(numpy_helper.from_array(nothing, TARGET_INPUT))


def _target(tape: Tape, sizes: Sequence[str | int]) -> str:
    """The gradient of y by the logits: the input `target`, or the predicted label against the others where that is 0.

    Only a head with one row of logits for each text has a predicted label.
    """
    if len(sizes) > 2:
        return TARGET_INPUT
    labels = int(sizes[-1])
    others = 1 / max(labels - 1, 1)
    highest = tape.emit("ArgMax", "logits", axis=-1, keepdims=0)
    values = tape.constant([-others if labels > 1 else 0.0, 1.0], np.float32)
    predicted = tape.emit("OneHot", highest, tape.integers(labels), values, axis=-1)
    largest = tape.emit("ReduceMax", tape.emit("Abs", TARGET_INPUT), tape.integers(-1), keepdims=1)
    is_asked = tape.emit("Greater", largest, tape.floats(0.0))
    return tape.emit("Where", is_asked, TARGET_INPUT, predicted)
