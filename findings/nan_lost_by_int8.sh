#!/bin/sh
# onnxruntime 1.31.1, onnx 1.23.2: a model quantised to int8 answers a NaN with ordinary numbers, and infinity with NaN.
#
# Guess: a NaN in the input of a quantised layer spoils all that it touches, as in float32, or spoils the whole tensor, because
# the scale is made of its least and largest value.
#
# Seen: DynamicQuantizeLinear leaves a NaN out of the scale and writes 0 for it, which need not be the zero point: with
# values from -1 to 3 a NaN is taken for -1, the least of them. QuantizeLinear writes the least integer, so that it comes
# out as the most negative number. After quantize_dynamic, a linear layer of a NaN gives finite numbers in all of its
# outputs. Infinity makes the scale infinite, and then every number of every other row of the batch is NaN too.
#
# Whom it hurts: who guards a served model by "are the logits finite?". The float model says that its input was broken, the
# quantised copy of it answers with confidence. One row that overflows takes the rest of its batch along.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

folder = Path(sys.argv[1])
# quantize_dynamic advises to simplify graphs first; this one is a single node.
logging.disable(logging.WARNING)


def session(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


info = helper.make_tensor_value_info
made = [("y", TensorProto.UINT8), ("scale", TensorProto.FLOAT), ("zero", TensorProto.UINT8)]
node = helper.make_node("DynamicQuantizeLinear", ["x"], [name for name, _ in made])
dynamic = session(
    helper.make_graph([node], "one", [info("x", TensorProto.FLOAT, [None])], [info(n, k, None) for n, k in made])
)
values, scale, zero = dynamic.run(None, {"x": np.array([-1, np.nan, 3], np.float32)})
read = scale * (values.astype(np.float32) - zero)
print("DynamicQuantizeLinear of -1 NaN 3:", *values, "which stands for", *read.round(2))
assert values[1] == 0 and zero > 0 and abs(read[1] + 1) < 0.02

steps = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")]
node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
static = session(
    helper.make_graph([node], "one", [info("x", TensorProto.FLOAT, [None])], [info("y", TensorProto.INT8, [None])], steps)
)
(values,) = static.run(None, {"x": np.array([-1, np.nan, 3], np.float32)})
print("QuantizeLinear of -1 NaN 3:", *values)
assert values.tolist() == [-10, -128, 30]

weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
node = helper.make_node("MatMul", ["x", "w"], ["y"])
rows = [info(name, TensorProto.FLOAT, ["rows", None]) for name in ("x", "y")]
graph = helper.make_graph([node], "one", rows[:1], rows[1:], [numpy_helper.from_array(weight, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.save(model, folder / "float.onnx")
quantize_dynamic(folder / "float.onnx", folder / "int8.onnx")
finite = {}
for broken in (np.nan, np.inf):
    batch = np.array([[1, 2, broken, -1], [1, 2, 3, -1]], np.float32)
    for name in ("float", "int8"):
        layer = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        (found,) = layer.run(None, {"x": batch})
        finite[broken, name] = np.isfinite(found).all(1).tolist()
        print(f"{broken} in the first of two rows, {name}: {found[0].round(2)} and {found[1].round(2)}")
assert finite[np.nan, "float"] == finite[np.inf, "float"] == [False, True]
assert finite[np.nan, "int8"] == [True, True]
assert finite[np.inf, "int8"] == [False, False]
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder"
