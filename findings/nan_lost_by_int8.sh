#!/bin/sh
# onnxruntime 1.31.1, onnx 1.23.2: a layer quantised to int8 answers a NaN with ordinary numbers, or with NaN for the whole
# batch, by the place where the NaN stands; and infinity always with NaN for the whole batch.
#
# Guess: a NaN in the input of a quantised layer spoils the outputs of its row, as in float32, or all of them, because the scale
# is made of the least and the largest value.
#
# Seen on an x86-64 CPU: in most places DynamicQuantizeLinear leaves a NaN out of the scale and writes 0 for it, which need not be
# the zero point: between -1 and 3 it is taken for -1. After quantize_dynamic a linear layer of such a row gives finite numbers.
# In some places the NaN takes part of the scale along, so that the answer of another row moves; in the last place of the batch
# all outputs of all rows are NaN. QuantizeLinear, of static models, writes the least integer. Infinity makes the scale
# infinite, and no output of any row is a number.
#
# Whom it hurts: who guards a served model by "are the logits finite?". The float model says which row was broken; its
# quantised copy hides it, or blames every row that shares the batch.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import logging
import sys
from collections import Counter
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
layers = {
    name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    for name in ("float", "int8")
}
clean = np.array([[1, 2, 3, -1], [1, 2, 3, -1]], np.float32)


def outcome(name, broken, place):
    """What becomes of the row with the broken value, and of the other."""
    batch = clean.copy()
    batch.flat[place] = broken
    row, other = divmod(place, 4)[0], 1 - divmod(place, 4)[0]
    (right,), (found,) = (layers[name].run(None, {"x": x}) for x in (clean, batch))
    kept = "not a number" if not np.isfinite(found[other]).any() else "moved"
    kept = "as it was" if np.allclose(found[other], right[other], atol=0.1) else kept
    return "finite" if np.isfinite(found[row]).all() else "not a number", kept


for broken in (np.nan, np.inf):
    for name in layers:
        found = Counter(outcome(name, broken, place) for place in range(clean.size))
        told = "; ".join(f"{times} x row {row}, other row {other}" for (row, other), times in found.items())
        print(f"{broken} in each of {clean.size} places, {name}: {told}")
        if name == "float":
            assert set(found) == {("not a number", "as it was")}
        elif broken == np.inf:
            assert set(found) == {("not a number", "not a number")}
        else:
            assert found["finite", "as it was"] > 1 and len(found) > 1
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder"
