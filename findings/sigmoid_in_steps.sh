#!/bin/sh
# onnxruntime 1.31.1, onnx 1.23.2: Sigmoid of a negative logit has no small values, only multiples of 2^-25.
#
# Guess: float32 sigmoid is right to a few units in the last place. float32 reaches down to 1e-38, exp and Softmax of the
# same library are right there, so sigmoid(-16) = 1.125e-07 keeps six digits or so.
#
# Seen: the CPU kernel computes sigmoid(x) - 1/2 by a ratio of polynomials and adds the half back, so whatever is smaller
# than the spacing of floats near one half is lost. At -16 the answer is off by tens of percent, below -17 it lies
# anywhere from zero to three times the truth, in places it falls where it should rise, and below -18 it stays the same.
# Softmax of the logits [x, 0], the same function on paper, is right to six digits throughout.
#
# Whom it hurts: who exports a model with a sigmoid on its end (multi-label, rare classes, binary with one logit) and takes
# logarithms, thresholds of 1e-6, odds, products over labels, or a ranking from what comes out. torch and numpy have
# the small values, and a parity check with an absolute tolerance of 1e-5 passes. Export the logits, or LogSoftmax, instead.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper


def run(operator, values):
    shape = [None] * values.ndim
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "one", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0]


x = np.arange(-24, 0, 0.25, dtype=np.float32)
truth = 1 / (1 + np.exp(-x.astype(np.float64)))
sigmoid = run("Sigmoid", x)
softmax = run("Softmax", np.stack([x, np.zeros_like(x)], axis=1))[:, 0]

print("     x       truth     Sigmoid  Softmax([x, 0])")
for at in (-20, -18, -17, -16, -14, -12, -8):
    row = int(np.flatnonzero(x == at)[0])
    print(f"{at:6} {truth[row]:11.4e} {sigmoid[row]:11.4e} {softmax[row]:11.4e}")

steps = sigmoid.astype(np.float64) * 2**25
assert np.array_equal(steps, np.round(steps)), "some answer is no multiple of 2^-25"
wrong = abs(sigmoid / truth - 1)
assert wrong[x == -20] > 0.4 and wrong[x <= -16].max() > 0.4 and wrong[x <= -12].max() > 0.01
assert len(set(sigmoid[x < -18].tolist())) == 1
assert (np.diff(run("Sigmoid", np.arange(-18, -8, 0.001, dtype=np.float32))) < 0).sum() > 100
assert abs(softmax / truth - 1).max() < 1e-6
print(f"every Sigmoid is a multiple of 2^-25; largest relative error: Sigmoid {wrong.max():.2f},", end=" ")
print(f"Softmax {abs(softmax / truth - 1).max():.0e}")
PYTHON
