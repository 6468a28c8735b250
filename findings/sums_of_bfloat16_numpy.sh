#!/bin/sh
# ml_dtypes 0.6.0, numpy 2.4.6: the mean of ten thousand ones in bfloat16 is 0.0256, the deviation of ten thousand normal numbers
# half of what it is, and nothing is sorted across a NaN. Nothing is said.
#
# Guess: bfloat16 behaves as numpy's other short float does. The mean of ten thousand float16 ones is 1, for numpy adds them
# up in float32; sort puts a NaN last; and products of bfloat16 matrices are right here too.
#
# Seen: sum and cumsum add in bfloat16, one after another, and stop at 256, from where adding 1 changes nothing. mean divides
# that by the true count, so a mean of equal numbers shrinks as the array grows, and so does a mean over an axis. The deviation of
# normal numbers shrinks too: nearly right for a hundred, half for ten thousand. Products and linalg.norm are right, so a
# test by one of them passes. sort orders the numbers before a NaN and those behind it, each among themselves.
#
# Whom it hurts: who reads weights in bfloat16 without torch. onnx.numpy_helper gives such arrays for BFLOAT16 tensors. Averages
# of checkpoints, scales for quantisation, statistics of activations and thresholds by rank are made of these very functions.
# Convert by astype(float32) first, or pass dtype=float32 to sum and mean.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q ml_dtypes==0.6.0 numpy==2.4.6 onnx==1.23.2
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from ml_dtypes import bfloat16
from onnx import numpy_helper

COUNT = 10_000
ones = {kind: np.ones(COUNT, kind) for kind in (bfloat16, np.float16)}
normal = np.random.default_rng(0).normal(size=COUNT)
hole = [5, 4, np.nan, 2, 1]

read = numpy_helper.to_array(numpy_helper.from_array(ones[bfloat16]))
assert read.dtype == bfloat16, "so that is what is read from a file"
for kind, array in (("bfloat16", read), ("float16", ones[np.float16])):
    print(
        f"{kind}: sum {float(array.sum()):g}, mean {float(array.mean()):.4f}, product {float(array @ array):g}, "
        f"mean with dtype {float(array.mean(dtype=np.float32)):g}, "
        f"deviation of normal numbers {float(np.std(normal.astype(array.dtype))):.2f}, "
        f"5 4 NaN 2 1 sorted: {np.sort(np.array(hole, array.dtype)).astype(float).tolist()}"
    )
assert read.sum() == 256 and np.cumsum(read)[-1] == 256
assert abs(float(read.mean()) - 256 / COUNT) < 1e-4 and read.mean(dtype=np.float32) == 1
assert float(np.ones((1000, 2), bfloat16).mean(0)[0]) < 0.26
assert float(np.std(normal.astype(bfloat16))) < 0.6 and 0.98 < normal.std() < 1.02
assert np.ones((1, 1000), bfloat16) @ np.ones(1000, bfloat16) == 1000
assert 0.9 < float(np.std(normal[:100].astype(bfloat16))) / normal[:100].std() < 1.1
assert float(np.linalg.norm(read)) == 100 and read.sum(dtype=np.float32) == COUNT
assert np.sort(np.array(hole, bfloat16)).astype(float)[[0, 1, 3, 4]].tolist() == [4, 5, 1, 2]
assert ones[np.float16].mean() == 1 and np.sort(np.array(hole, np.float16)).astype(float).tolist()[:4] == [1, 2, 4, 5]
PYTHON
