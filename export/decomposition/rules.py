"""How a gradient passes back through each operator, with everything but the embeddings held fixed.

A function that bends (GELU, tanh, ReLU) counts as a multiplication by its slope f(h) / h, LayerNormalization as a
centring and a multiplication, and attention's probabilities as fixed weights.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from export.decomposition.products import through_int8, through_weights
from export.decomposition.recurrent import through_lstm
from export.decomposition.tape import Tape, attribute

Gradients = list[tuple[str, str]]
"""The inputs of a node that are live, each with its gradient; an input may come twice."""

Rule = Callable[[Tape, onnx.NodeProto, Sequence[str | None]], Gradients]
"""Takes the gradient of each output of a node, None where there is none."""


class NoRule(Exception):
    """The graph holds an operator that no gradient can be passed through."""


FIXED = frozenset(
    {"Softmax", "Shape", "Equal", "Greater", "GreaterOrEqual", "Less", "Not", "And", "ReduceMax", "ArgMax"}
)
"""Operators whose results are held fixed."""


ACTIVATIONS = frozenset({"FastGelu", "Gelu", "Relu", "Sigmoid", "Tanh"})
"""Operators that gate another tensor where they multiply it."""

ELEMENTWISE = ACTIVATIONS | {"Add", "Div", "Erf", "Mul", "Pow", "Softplus"}
"""Operators of which an activation may be written."""


def _through(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    del tape
    return [(node.input[0], _only(gradients))]


def _add(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    return [(name, _only(gradients)) for name in node.input if name in tape.live]


def _sub(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    gradient = _only(gradients)
    left, right = node.input
    found = [(left, gradient)] if left in tape.live else []
    return [*found, (right, tape.emit("Neg", gradient))] if right in tape.live else found


def _mul(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    live, fixed = _scaled(tape, node) or _one_live(tape, node)
    return [(live, tape.emit("Mul", _only(gradients), fixed))]


def _div(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    live, fixed = _one_live(tape, node)
    if live != node.input[0]:
        raise NoRule(f"{node.name}: divides by a tensor that depends on the text")
    return [(live, tape.emit("Div", _only(gradients), fixed))]


def _matmul(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    gradient = _only(gradients)
    live, fixed = _one_live(tape, node)
    if live == node.input[1]:
        return [(live, _weighted_back(tape, gradient, fixed))]
    if _is_weight(tape, fixed):
        return [(live, through_weights(tape, gradient, fixed))]
    raise NoRule(f"{node.name}: multiplies by a matrix that depends on the text")


def _gemm(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    is_transposed = bool(attribute(node, "transB", 0))
    if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0:
        raise NoRule(f"{node.name}: Gemm with transA or alpha")
    gradient = through_weights(tape, _only(gradients), node.input[1], stored_transposed=is_transposed)
    return [(node.input[0], gradient)]


def _int8_product(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    return [(node.input[0], through_int8(tape, _only(gradients), node.input[1], node.input[3]))]


def _layer_norm(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """y = w (x - mean(x)) / deviation + b, with the deviation held fixed; the mean is linear in x."""
    if attribute(node, "axis", -1) != -1:
        raise NoRule(f"{node.name}: LayerNormalization over several axes")
    if len(node.output) == 1:
        node.output.extend([tape.new_name("Mean"), tape.new_name("InverseDeviation")])
    scaled = tape.emit("Mul", _only(gradients), node.input[1])
    mean = tape.emit("ReduceMean", scaled, tape.integers(-1), keepdims=1)
    return [(node.input[0], tape.emit("Mul", tape.emit("Sub", scaled, mean), node.output[2]))]


def _gelu(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """GELU(h) / h = (1 + erf(h / sqrt 2)) / 2."""
    if attribute(node, "approximate", b"none") == b"tanh":
        return _gelu_by_tanh(tape, node, gradients)
    (entering,) = node.input
    error = tape.emit("Erf", tape.emit("Mul", entering, tape.floats(math.sqrt(0.5))))
    slope = tape.emit("Add", tape.emit("Mul", error, tape.floats(0.5)), tape.floats(0.5))
    return [(entering, tape.emit("Mul", _only(gradients), slope))]


def _gelu_by_tanh(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """GELU(h) / h = (1 + tanh(sqrt(2 / pi) h (1 + 0.044715 h^2))) / 2."""
    (entering,) = node.input
    square = tape.emit("Mul", entering, entering)
    bent = tape.emit("Add", tape.emit("Mul", square, tape.floats(0.044715)), tape.floats(1.0))
    argument = tape.emit("Mul", tape.emit("Mul", entering, tape.floats(math.sqrt(2 / math.pi))), bent)
    slope = tape.emit("Add", tape.emit("Mul", tape.emit("Tanh", argument), tape.floats(0.5)), tape.floats(0.5))
    return [(entering, tape.emit("Mul", _only(gradients), slope))]


def _tanh(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    (entering,) = node.input
    return [(entering, tape.emit("Mul", _only(gradients), tape.slope_of_tanh(entering, node.output[0])))]


def _relu(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    is_passed = tape.emit("Greater", node.input[0], tape.floats(0.0))
    return [(node.input[0], tape.emit("Where", is_passed, _only(gradients), tape.floats(0.0)))]


def _transpose(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    order = attribute(node, "perm", None)
    back = [order.index(axis) for axis in range(len(order))]
    return [(node.input[0], tape.emit("Transpose", _only(gradients), perm=back))]


def _reshaped(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """For every operator that changes nothing but the shape."""
    entering = node.input[0]
    known = _known_shape(tape, node)
    shape = tape.integers(*known) if known else tape.emit("Shape", entering)
    return [(entering, tape.emit("Reshape", _only(gradients), shape))]


def _known_shape(tape: Tape, node: onnx.NodeProto) -> list[int] | None:
    """The shape that takes a reshaped tensor's gradient back, if it can stand in the graph as a constant.

    Else the tensor is kept until the gradient comes back, in runs that explain nothing too, for its shape alone.
    """
    sizes = tape.sizes.get(node.input[0])
    wanted = tape.value(node.input[1]) if node.op_type == "Reshape" else None
    if sizes is None or wanted is None or len(wanted) != len(sizes):
        return None
    # 0 keeps an axis as it is, forwards and backwards; -1 is the one axis that is left.
    back = [0 if kept == 0 else size or -1 for kept, size in zip(wanted, sizes, strict=True)]
    return back if back.count(-1) <= 1 else None


def _slice(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """The gradient with zeros where nothing was read."""
    starts, _, axes, steps = (tape.value(name) for name in (*node.input[1:], *[""] * (5 - len(node.input))))
    if starts is None or axes is None or len(axes) != 1 or starts[0] < 0 or (steps is not None and steps[0] != 1):
        raise NoRule(f"{node.name}: a slice that is not from a constant start along one axis")
    return [(node.input[0], _padded(tape, _only(gradients), node.input[0], int(starts[0]), int(axes[0])))]


def _gather(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    place = tape.value(node.input[1])
    axis = int(attribute(node, "axis", 0))
    if place is None and axis == 0:
        # Rows in another order, as an LSTM takes them.
        zeros = tape.emit("Mul", node.input[0], tape.floats(0.0))
        rows = tape.emit("Unsqueeze", node.input[1], tape.integers(-1))
        return [(node.input[0], tape.emit("ScatterND", zeros, rows, _only(gradients), reduction="add"))]
    if place is None or place.ndim or place < 0:
        raise NoRule(f"{node.name}: gathers more than one constant position")
    gradient = tape.emit("Unsqueeze", _only(gradients), tape.integers(axis))
    return [(node.input[0], _padded(tape, gradient, node.input[0], int(place), axis))]


def _gather_elements(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """Adds the gradient up at the places that were read; a place may be read several times."""
    axis = int(attribute(node, "axis", 0))
    zeros = tape.emit("Mul", node.input[0], tape.floats(0.0))
    found = tape.emit("ScatterElements", zeros, node.input[1], _only(gradients), axis=axis, reduction="add")
    return [(node.input[0], found)]


def _padded(tape: Tape, gradient: str, like: str, before: int, axis: int) -> str:
    """The gradient with zeros before and after it along an axis, as long as `like`."""
    whole, part = (tape.emit("Shape", name, start=axis, end=axis + 1 or None) for name in (like, gradient))
    first = tape.integers(before)
    after = tape.emit("Sub", tape.emit("Sub", whole, part), first)
    pads = tape.emit("Concat", first, after, axis=0)
    return tape.emit("Pad", gradient, pads, tape.floats(0.0), tape.integers(axis))


def _reduce_sum(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    """The gradient of a sum at each of its terms."""
    entering, axes = node.input
    gradient = _only(gradients)
    whole = gradient if attribute(node, "keepdims", 1) else tape.emit("Unsqueeze", gradient, axes)
    return [(entering, tape.emit("Expand", whole, tape.emit("Shape", entering)))]


def _concat(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    axis = int(attribute(node, "axis", 0))
    sizes = [tape.emit("Shape", name, start=axis, end=axis + 1 or None) for name in node.input]
    outputs = [tape.new_name("Split") for _ in node.input]
    split = tape.emit("Concat", *sizes, axis=0)
    tape.graph.node.append(onnx.helper.make_node("Split", [_only(gradients), split], outputs, outputs[0], axis=axis))
    return [(name, part) for name, part in zip(node.input, outputs, strict=True) if name in tape.live]


def _split(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    known = [
        gradient or tape.emit("Mul", output, tape.floats(0.0))
        for gradient, output in zip(gradients, node.output, strict=True)
    ]
    return [(node.input[0], tape.emit("Concat", *known, axis=int(attribute(node, "axis", 0))))]


def _where(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> Gradients:
    condition, chosen, other = node.input
    zero, gradient = tape.floats(0.0), _only(gradients)
    found = [(chosen, tape.emit("Where", condition, gradient, zero))] if chosen in tape.live else []
    return [*found, (other, tape.emit("Where", condition, zero, gradient))] if other in tape.live else found


def _one_live(tape: Tape, node: onnx.NodeProto) -> tuple[str, str]:
    """The live one of two inputs, and the one that is held fixed."""
    left, right = node.input
    if left in tape.live and right in tape.live:
        raise NoRule(f"{node.name}: multiplies two tensors that both depend on the text")
    return (left, right) if left in tape.live else (right, left)


def _scaled(tape: Tape, node: onnx.NodeProto) -> tuple[str, str] | None:
    """The factor of a product of two live ones that is passed through, and the one that is held fixed.

    Of h * f(h), which is how an activation may be written, f(h) is its slope. Of act(a) * b the activation is a gate.
    None where the product is neither.
    """
    if not all(name in tape.live for name in node.input):
        return None
    for passed, held in (tuple(node.input), tuple(reversed(node.input))):
        if _depends_on(tape, held, passed):
            return passed, held
    gates = [name for name in node.input if _is_activation(tape, name)]
    if len(gates) != 1:
        return None
    (passed,) = (name for name in node.input if name not in gates)
    return passed, gates[0]


def _is_activation(tape: Tape, name: str) -> bool:
    maker = tape.makers.get(name)
    if maker is None or maker.op_type != "Mul":
        return maker is not None and maker.op_type in ACTIVATIONS
    left, right = maker.input
    return _depends_on(tape, left, right) or _depends_on(tape, right, left)


def _depends_on(tape: Tape, name: str, other: str) -> bool:
    """Whether a tensor depends on the text by another tensor alone, and each number by the one at its place."""
    if name == other:
        return True
    maker = tape.makers.get(name)
    live = [one for one in maker.input if one in tape.live] if maker and maker.op_type in ELEMENTWISE else []
    return bool(live) and all(_depends_on(tape, one, other) for one in live)


def _is_weight(tape: Tape, name: str) -> bool:
    maker = tape.makers.get(name)
    return name in tape.weights or (
        maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in tape.weights
    )


def _weighted_back(tape: Tape, gradient: str, fixed: str) -> str:
    """The gradient of x where y = A x with A held fixed, as attention weighs its values."""
    sizes = tape.sizes.get(fixed)
    if sizes is None:
        return tape.emit("Einsum", fixed, gradient, equation="...ab,...ac->...bc")
    rank = len(sizes)
    swapped = tape.emit("Transpose", fixed, perm=[*range(rank - 2), rank - 1, rank - 2])
    return tape.emit("MatMul", swapped, gradient)


def _only(gradients: Sequence[str | None]) -> str:
    (gradient, *_) = gradients
    assert gradient is not None, "a node is read backwards when one of its outputs has a gradient"
    return gradient


RULES: Mapping[str, Rule] = {
    "Add": _add,
    "Cast": _through,
    "Concat": _concat,
    "DequantizeLinear": _through,
    "Div": _div,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": _gelu,
    "FastGelu": _gelu_by_tanh,
    "Gemm": _gemm,
    "Identity": _through,
    "LSTM": through_lstm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MatMulIntegerToFloat": _int8_product,
    "Mul": _mul,
    "QuantizeLinear": _through,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Reshape": _reshaped,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshaped,
    "Sub": _sub,
    "Tanh": _tanh,
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
    "Where": _where,
}
"""By operator."""
