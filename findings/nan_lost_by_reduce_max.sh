#!/bin/sh
# onnxruntime 1.31.1, onnx 1.23.2: beside a NaN, ReduceMax gives NaN, the largest number or the second largest, by the NaN's place.
#
# Guess: one rule for all places. numpy and torch give NaN wherever one stands, and so a check of the largest logit finds it;
# fmax leaves NaN out, wherever it stands.
#
# Seen on an x86-64 CPU: only a NaN in the first place of a row comes out. In most others it is dropped without a trace. In a
# few it takes the largest number along with it: of 0 NaN 2 3 4 5 6 7 the largest is 6. ArgMax points at the 7 there, so that
# the value at the place of the maximum is not the maximum. float64 does the same.
#
# Whom it hurts: who guards a graph by the largest of its values, as quantisers, samplers and tests do ("is the maximum
# finite?"). The guard finds one NaN in 128 places. Ask IsNaN, or multiply by 0 and add up.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTHS = (8, 128)


def session(op, kind):
    axes = [numpy_helper.from_array(np.array([-1]), "axes")] if op == "ReduceMax" else []
    node = helper.make_node(op, ["x", "axes"] if axes else ["x"], ["y"], keepdims=0, **({} if axes else {"axis": -1}))
    info, made = helper.make_tensor_value_info, kind if axes else TensorProto.INT64
    graph = helper.make_graph([node], "one", [info("x", kind, ["rows", "width"])], [info("y", made, ["rows"])], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


for kind, dtype in ((TensorProto.FLOAT, np.float32), (TensorProto.DOUBLE, np.float64)):
    largest, place = session("ReduceMax", kind), session("ArgMax", kind)
    for width in WIDTHS:
        rows = np.tile(np.arange(width, dtype=dtype), (width, 1))
        np.fill_diagonal(rows, np.nan)
        assert np.isnan(rows.max(1)).all()
        # Row by row, so that no row can touch another.
        found = np.array([largest.run(None, {"x": row[None]})[0][0] for row in rows])
        pointed = np.array([row[place.run(None, {"x": row[None]})[0][0]] for row in rows])
        kept, right = np.isnan(found), found == np.nanmax(rows, 1)
        lost = ~kept & ~right
        print(
            f"{np.dtype(dtype)}, a NaN in each of {width} places: NaN {kept.sum()}, largest number {right.sum()}, "
            f"a smaller one {lost.sum()} (NaN in place {', '.join(map(str, np.flatnonzero(lost)))}: "
            f"{', '.join(map(str, found[lost]))}, and ArgMax points at {', '.join(map(str, pointed[lost]))})"
        )
        assert kept.tolist() == [True] + [False] * (width - 1)
        assert lost.any() and (pointed[lost] == width - 1).all()
PYTHON
