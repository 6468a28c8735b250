"""How a gradient passes back through an LSTM: step by step, with its gates held fixed.

With the gates i, o and f, and the slopes tanh(a)/a of the candidates and tanh(c)/c of the cells held fixed,

    c_t = f_t c_{t-1} + i_t tanh(a_t),    a_t = W x_t + R h_{t-1} + b,    h_t = o_t tanh(c_t)

is linear in x. ONNX's LSTM gives the states h alone, so the gates are computed again, from x and the states, for all
steps at once; only the cells, and the gradient, take a loop over the steps.
"""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from export.decomposition.tape import Tape, attribute


def through_lstm(tape: Tape, node: onnx.NodeProto, gradients: Sequence[str | None]) -> list[tuple[str, str]]:
    """The gradient of the input [steps, batch, in] from that of the states [steps, directions, batch, width]."""
    entering, weights, recurrent, biases, lengths, *_ = node.input
    (states_gradient, *others) = gradients
    assert states_gradient is not None, "a node is read backwards when one of its outputs has a gradient"
    assert not any(others), "no model reads the last states on their own"
    width = int(attribute(node, "hidden_size", 0))
    directions = 2 if attribute(node, "direction", b"forward") == b"bidirectional" else 1
    is_real = _real_steps(tape, entering, lengths)
    found = []
    for direction in range(directions):
        lstm = _Direction(tape, width, is_backward=direction == 1)
        parts = [_pick(tape, name, direction, 0) for name in (weights, recurrent, biases)]
        states = _pick(tape, node.output[0], direction, 1)
        gates = lstm.gates(entering, states, *parts)
        found.append((entering, lstm.pass_back(_pick(tape, states_gradient, direction, 1), gates, is_real, *parts[:2])))
    return found


def _real_steps(tape: Tape, entering: str, lengths: str) -> str:
    """1 at the steps before each row's end and 0 after it, as [steps, batch, 1]."""
    count = tape.emit("Squeeze", tape.emit("Shape", entering, start=0, end=1))
    places = tape.emit("Range", tape.constant(0, "int64"), count, tape.constant(1, "int64"))
    ends = tape.emit("Cast", lengths, to=TensorProto.INT64)
    is_real = tape.emit("Less", tape.emit("Unsqueeze", places, tape.integers(1)), ends)
    return tape.emit("Unsqueeze", tape.emit("Cast", is_real, to=TensorProto.FLOAT), tape.integers(-1))


def _pick(tape: Tape, name: str, place: int, axis: int) -> str:
    return tape.emit("Gather", name, tape.constant(place, "int64"), axis=axis)


class _Direction:
    """One direction of an LSTM; ONNX's order of the gates is i, o, f and the candidates."""

    def __init__(self, tape: Tape, width: int, *, is_backward: bool) -> None:
        self._tape = tape
        self._width = width
        self._is_backward = is_backward

    def gates(self, entering: str, states: str, weights: str, recurrent: str, biases: str) -> list[str]:
        """The gates i, o, f before their sigmoids and the candidates before their tanh, [steps, batch, width] each."""
        tape = self._tape
        before = self._states_before(states)
        inputs = tape.emit("MatMul", entering, tape.emit("Transpose", weights, perm=[1, 0]))
        memory = tape.emit("MatMul", before, tape.emit("Transpose", recurrent, perm=[1, 0]))
        of_inputs, of_states = self._split(biases, 2 * [4 * self._width], 0)
        bias = tape.emit("Add", of_inputs, of_states)
        return self._split(tape.emit("Add", tape.emit("Add", inputs, memory), bias), 4 * [self._width], -1)

    def pass_back(self, gradient: str, gates: list[str], is_real: str, weights: str, recurrent: str) -> str:
        """The gradient of the inputs [steps, batch, in], which is 0 after each row's end."""
        tape = self._tape
        *sigmoids, candidate = gates
        opens, shows, keeps = (tape.emit("Mul", tape.emit("Sigmoid", gate), is_real) for gate in sigmoids)
        leaving = tape.emit("Tanh", candidate)
        cells = self._cells(keeps, tape.emit("Mul", opens, leaving))
        of_cell = tape.emit("Mul", shows, tape.slope_of_tanh(cells, tape.emit("Tanh", cells)))
        of_candidate = tape.emit("Mul", opens, tape.slope_of_tanh(candidate, leaving))
        from_states = self._split(recurrent, 4 * [self._width], 0)[3]
        candidates = self._loop_back(gradient, of_cell, keeps, of_candidate, from_states)
        return tape.emit("MatMul", candidates, self._split(weights, 4 * [self._width], 0)[3])

    def _states_before(self, states: str) -> str:
        """The state that each step starts from; ONNX gives 0 after a row's end, where a backward LSTM starts."""
        tape = self._tape
        pads = tape.integers(0, 1) if self._is_backward else tape.integers(1, 0)
        padded = tape.emit("Pad", states, pads, tape.floats(0.0), tape.integers(0))
        start, end = (1, 2**31) if self._is_backward else (0, -1)
        return tape.emit("Slice", padded, tape.integers(start), tape.integers(end), tape.integers(0))

    def _cells(self, keeps: str, adds: str) -> str:
        """c_t = f_t c_{t-1} + i_t tanh(a_t)."""
        body = [
            helper.make_node("Mul", ["cell", "keep"], ["kept"]),
            helper.make_node("Add", ["kept", "add"], ["cell_out"]),
            helper.make_node("Identity", ["cell_out"], ["cells"]),
        ]
        return self._scan(
            body, {"cell": "cell_out"}, {"keep": keeps, "add": adds}, "cells", goes_back=self._is_backward
        )

    def _loop_back(self, gradient: str, of_cell: str, keeps: str, of_candidate: str, from_states: str) -> str:
        """The gradient of the candidates, from the last step that the LSTM took to its first."""
        body = [
            helper.make_node("Add", ["gradient", "state"], ["state_in"]),
            helper.make_node("Mul", ["state_in", "of_cell"], ["shown"]),
            helper.make_node("Add", ["shown", "cell"], ["cell_in"]),
            helper.make_node("Mul", ["cell_in", "of_candidate"], ["candidates"]),
            helper.make_node("MatMul", ["candidates", from_states], ["state_out"]),
            helper.make_node("Mul", ["cell_in", "keep"], ["cell_out"]),
        ]
        steps = {"gradient": gradient, "of_cell": of_cell, "keep": keeps, "of_candidate": of_candidate}
        carried = {"state": "state_out", "cell": "cell_out"}
        return self._scan(body, carried, steps, "candidates", goes_back=not self._is_backward)

    def _scan(
        self,
        body: list[onnx.NodeProto],
        carried: dict[str, str],
        steps: dict[str, str],
        result: str,
        *,
        goes_back: bool,
    ) -> str:
        """A loop over steps [steps, batch, width] that starts from zeros; gives `result` of every step."""
        tape = self._tape
        zeros = tape.emit("Mul", _pick(tape, next(iter(steps.values())), 0, 0), tape.floats(0.0))
        inputs, outputs = (
            [_matrix(name) for name in names] for names in ((*carried, *steps), (*carried.values(), result))
        )
        turned = int(goes_back)
        made = [tape.new_name(name) for name in (*carried, result)]
        node = helper.make_node(
            "Scan",
            [*[zeros] * len(carried), *steps.values()],
            made,
            made[-1],
            num_scan_inputs=len(steps),
            scan_input_directions=[turned] * len(steps),
            scan_output_directions=[turned],
            body=helper.make_graph(body, "steps", inputs, outputs),
        )
        tape.graph.node.append(node)
        return made[-1]

    def _split(self, name: str, sizes: list[int], axis: int) -> list[str]:
        tape = self._tape
        parts = [tape.new_name("Split") for _ in sizes]
        tape.graph.node.append(helper.make_node("Split", [name, tape.integers(*sizes)], parts, parts[0], axis=axis))
        return parts


def _matrix(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
