"""Graphs of one operator, and the gradient that its rule passes back through it under ONNX Runtime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from export.decomposition.rules import RULES
from export.decomposition.tape import Tape
from export.graphs.fusion import CONTRIBUTED

Array = npt.NDArray[Any]

LIVE = "live"
"""The input of the operator that carries the embeddings."""


def pass_back(
    op: str,
    inputs: Sequence[str],
    live: Array,
    gradients: Sequence[Array],
    *,
    constants: Mapping[str, Array],
    knows_sizes: bool = True,
    domain: str = "",
    **attributes: Any,
) -> npt.NDArray[np.float32]:
    """The gradient of the input `live` of an operator, from those of its outputs; `constants` are its other inputs.

    `knows_sizes` says whether the rule is told how many axes each tensor has, and how long its last one is.
    """
    made = [f"made{number}" for number in range(len(gradients))]
    of_made = [f"gradient{number}" for number in range(len(gradients))]
    given = {LIVE: live} | dict(zip(of_made, gradients, strict=True))
    graph = helper.make_graph(
        [helper.make_node(op, inputs, made, "one", domain=domain, **attributes)],
        "single",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{name}{axis}" for axis in range(array.ndim)]
            )
            for name, array in given.items()
        ],
        [helper.make_tensor_value_info("back", TensorProto.FLOAT, [None] * live.ndim)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    known = given | dict(constants) if knows_sizes else {}
    sizes = {name: (*[None] * (array.ndim - 1), array.shape[-1]) for name, array in known.items() if array.ndim}
    tape = Tape(graph, sizes=sizes, live={LIVE, *made}, prefix="new")
    found = RULES[op](tape, graph.node[0], of_made)
    assert {name for name, _ in found} == {LIVE}
    graph.node.append(helper.make_node("Identity", [tape.add([gradient for _, gradient in found])], ["back"]))
    versions = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIBUTED, 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = {value.name for value in session.get_inputs()}
    (back,) = session.run(["back"], {name: array for name, array in given.items() if name in names})
    result: npt.NDArray[np.float32] = back
    return result
