#!/bin/sh
# onnxruntime 1.31.1, onnx 1.23.2: loading a graph of dynamic sizes takes time by the square of its nodes.
#
# Guess: creating a session costs about the same for each node, so four times the nodes load in four times the time.
#
# Seen: sixteen times. As it loads, onnxruntime looks, for each tensor, through all the buffers that earlier tensors have
# left, for one of the same size. Where sizes are known it soon finds one. Where each depends on an input, no two can be
# shown to be equal, nothing is ever taken, and the list grows with the graph. It is not graph optimisation, which is off
# below. `enable_mem_reuse = False` leaves the search out: loading is linear, and the answers have the same bits.
#
# Whom it hurts: who serves graphs of many small nodes with dynamic axes (gradients in the graph, unrolled recurrences,
# beam search, decomposed operators), scales to zero, or starts many workers. It looks like slow disks or slow optimisers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SMALL, LARGE = 500, 2000


def chain(length, dynamic):
    """`length` slices that keep everything; their sizes are known only if the slice's end is in the graph."""
    nodes = [helper.make_node("Slice", [f"t{i}", "start", "end"], [f"t{i + 1}"]) for i in range(length)]
    inputs = [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [2, 4])]
    known = [numpy_helper.from_array(np.array([0, 0]), "start")]
    if dynamic:
        inputs.append(helper.make_tensor_value_info("end", TensorProto.INT64, [2]))
    else:
        known.append(numpy_helper.from_array(np.array([2, 4]), "end"))
    result = helper.make_tensor_value_info(f"t{length}", TensorProto.FLOAT, ["rows", "columns"])
    graph = helper.make_graph(nodes, "chain", inputs, [result], known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def load(model, reuse):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_reuse = reuse
    options.log_severity_level = 3
    start = time.process_time()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session, time.process_time() - start


def growth(dynamic, reuse):
    """How many times the CPU time of SMALL nodes LARGE nodes take, the best of three each."""
    seconds = [min(load(chain(length, dynamic), reuse)[1] for _ in range(3)) for length in (SMALL, LARGE)]
    ratio = seconds[1] / seconds[0]
    sizes = "dynamic" if dynamic else "known"
    print(f"{sizes} sizes, reuse {reuse}: {SMALL} nodes {seconds[0]:.3f} s, {LARGE} nodes {seconds[1]:.3f} s, x {ratio:.1f}")
    return ratio


assert growth(dynamic=True, reuse=True) > 10
assert growth(dynamic=True, reuse=False) < 8
assert growth(dynamic=False, reuse=True) < 8

feed = {"t0": np.random.default_rng(0).random((2, 4), dtype=np.float32), "end": np.array([2, 4])}
answers = [load(chain(SMALL, dynamic=True), reuse)[0].run(None, feed)[0] for reuse in (True, False)]
assert answers[0].tobytes() == answers[1].tobytes() == feed["t0"].tobytes()
print("answers with and without reuse: same bits")
PYTHON
