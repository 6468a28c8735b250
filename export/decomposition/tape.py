"""The nodes that are appended to a graph while it is read backwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Sizes = tuple[int | None, ...]
"""A tensor's shape; None for an axis whose size depends on the graph's inputs."""


_SHAPE_BYTES = 1024
"""Size of the largest constant that may be a shape, which tells the sizes of other tensors."""


_ON_SIZES: Mapping[str, Callable[..., npt.NDArray[Any]]] = {
    "Add": np.add,
    "Div": np.floor_divide,
    "Mul": np.multiply,
}
"""Operators by which graphs compute places from sizes, such as the start of the second half of an axis."""


@dataclass
class Tape:
    """A graph with its tensors' makers, to which nodes are appended. Tensors are known by name."""

    graph: onnx.GraphProto
    sizes: Mapping[str, Sizes]
    """The shape of each tensor, where ONNX knows its number of axes."""
    live: set[str]
    """The tensors that carry a part of the embeddings to the logits; all others are held fixed."""
    prefix: str
    """The beginning of each new tensor's name."""
    makers: dict[str, onnx.NodeProto] = field(init=False)
    weights: dict[str, onnx.TensorProto] = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.makers = {output: node for node in self.graph.node for output in node.output}
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output, and return the output."""
        output = self.new_name(op)
        self.graph.node.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def new_name(self, called: str) -> str:
        """A name that no other tensor has."""
        self._count += 1
        return f"{self.prefix}/{called}_{self._count}"

    def constant(self, value: Any, dtype: npt.DTypeLike) -> str:
        """A constant tensor; equal ones are kept once."""
        array = np.asarray(value, dtype=dtype)
        name = f"{self.prefix}/{array.dtype}{list(array.shape)}_{array.tobytes().hex()}"
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(array, name)
            self.graph.initializer.append(self.weights[name])
        return name

    def floats(self, *values: float) -> str:
        """A vector of float32 numbers, or a single number."""
        return self.constant(values[0] if len(values) == 1 else values, np.float32)

    def integers(self, *values: int) -> str:
        """A vector of int64 numbers."""
        return self.constant(values, np.int64)

    def value(self, name: str) -> npt.NDArray[Any] | None:
        """The value of a constant, or of what is computed from known sizes; None where it depends on the inputs."""
        if name in self.weights:
            return np.asarray(numpy_helper.to_array(self.weights[name]))
        maker = self.makers.get(name)
        if maker is None:
            return None
        if maker.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(maker.attribute[0].t))
        if maker.op_type == "Gather":
            return self._size(maker)
        compute = _ON_SIZES.get(maker.op_type)
        values = [self.value(one) for one in maker.input] if compute else [None]
        numbers = [one for one in values if one is not None and np.issubdtype(one.dtype, np.integer)]
        return compute(*numbers) if compute and len(numbers) == len(values) else None

    def _size(self, gather: onnx.NodeProto) -> npt.NDArray[np.int64] | None:
        """The size of an axis that a node picks out of a tensor's shape, if it is known."""
        shape = self.makers.get(gather.input[0])
        place = self.value(gather.input[1])
        if shape is None or shape.op_type != "Shape" or shape.attribute or place is None:
            return None
        sizes = self.sizes.get(shape.input[0], ())
        picked = [sizes[axis] for axis in place.flat if -len(sizes) <= axis < len(sizes)]
        found = [size for size in picked if size is not None]
        return np.array(found, np.int64).reshape(place.shape) if len(found) == place.size else None

    def slope_of_tanh(self, entering: str, leaving: str) -> str:
        """tanh(h) / h, which is 1 where h is 0."""
        is_zero = self.emit("Equal", entering, self.floats(0.0))
        # Where h is 0 the quotient is no number; it is computed but not chosen.
        return self.emit("Where", is_zero, self.floats(1.0), self.emit("Div", leaving, entering))

    def add(self, gradients: Sequence[str]) -> str:
        """The sum of tensors of one shape."""
        total, *others = gradients
        for other in others:
            total = self.emit("Add", total, other)
        return total


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose large constants have their sizes and no values, to infer shapes from."""
    copy = onnx.ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    graph = copy.graph
    for part in ("node", "input", "output", "value_info"):
        getattr(graph, part).extend(getattr(model.graph, part))
    graph.name = model.graph.name
    graph.initializer.extend(
        onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        if len(tensor.raw_data) > _SHAPE_BYTES
        else tensor
        for tensor in model.graph.initializer
    )
    return copy


def known_sizes(model: onnx.ModelProto) -> dict[str, Sizes]:
    """The shapes of the tensors inside a graph. ONNX knows those of its own operators only."""
    inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph.value_info
    types = {value.name: value.type.tensor_type for value in inferred}
    return {
        name: tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in one.shape.dim)
        for name, one in types.items()
        if one.HasField("shape")
    }


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default that ONNX gives it."""
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
