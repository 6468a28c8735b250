"""The transposed products of a graph: how a gradient passes back through a multiplication by weights."""

import numpy as np
import onnx

from export.decomposition.tape import Tape, attribute

LEVELS = 127
"""Steps to each side of zero in which a gradient is quantised."""

SMALLEST = 1e-30
"""Least step, so that a row of zeros stays a row of zeros."""


def through_weights(tape: Tape, gradient: str, weights: str, *, stored_transposed: bool = False) -> str:
    """The gradient of x where y = x W, from that of y; with `stored_transposed` the graph holds W transposed.

    Weights that are stored in int8 are multiplied in int8, by the same numbers as in the forward pass.
    """
    maker = tape.makers.get(weights)
    if maker is not None and maker.op_type == "DequantizeLinear":
        axis = 0 if stored_transposed else 1
        scale = maker.input[1] if attribute(maker, "axis", 1) % 2 == axis else None
        if scale is not None:
            return through_int8(tape, gradient, maker.input[0], scale, stored_transposed=stored_transposed)
    return tape.emit("MatMul", gradient, weights if stored_transposed else tape.emit("Transpose", weights, perm=[1, 0]))


def through_int8(tape: Tape, gradient: str, weights: str, scale: str, *, stored_transposed: bool = False) -> str:
    """The same for int8 weights [in, out] with a scale for each output, or a single one.

    Each row of the gradient is rounded to 255 steps of its own, so a row's result does not depend on other rows.
    """
    width = tape.weights[weights].dims[0 if stored_transposed else 1]
    back = weights if stored_transposed else tape.emit("Transpose", weights, perm=[1, 0])
    rows = tape.emit("Reshape", tape.emit("Mul", gradient, scale), tape.integers(-1, width))
    largest = tape.emit("ReduceMax", tape.emit("Abs", rows), tape.integers(-1), keepdims=0)
    step = tape.emit("Max", tape.emit("Mul", largest, tape.floats(1 / LEVELS)), tape.floats(SMALLEST))
    middle = tape.emit("Expand", tape.constant(128, np.uint8), tape.emit("Shape", step))
    steps = tape.emit("QuantizeLinear", rows, step, middle, axis=0)
    product = tape.emit("MatMulInteger", steps, back, tape.constant(128, np.uint8))
    column = tape.emit("Unsqueeze", step, tape.integers(-1))
    result = tape.emit("Mul", tape.emit("Cast", product, to=onnx.TensorProto.FLOAT), column)
    lead = tape.emit("Shape", gradient, start=0, end=-1)
    return tape.emit("Reshape", result, tape.emit("Concat", lead, tape.integers(-1), axis=0))
