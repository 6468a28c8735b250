"""The rule of each operator, against torch's gradient of the operator with its factors held fixed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from export.decomposition.rules import NoRule
from export.graphs.fusion import CONTRIBUTED
from tests.export.decomposition.single import LIVE, pass_back

Constants = Mapping[str, npt.NDArray[Any]]

WIDTHS = st.integers(1, 5).map(lambda half: 2 * half)
SHAPES = st.tuples(st.integers(1, 4), st.integers(2, 5), WIDTHS)
"""Batch, sequence and width. Some operators read the second position, or split the width in two."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An operator as it stands in a graph, and the same in torch with what is held fixed as a constant."""

    op: str
    inputs: tuple[str, ...]
    frozen: Callable[[Tensor, Mapping[str, Tensor]], Tensor | tuple[Tensor, ...]]
    constants: Callable[[tuple[int, int, int], np.random.Generator], Constants] = lambda *_: {}
    attributes: Mapping[str, Any] = field(default_factory=dict)
    knows_sizes: bool = True


def floats(draw: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    """Numbers away from 0, so that they can be divided by."""
    numbers: npt.NDArray[np.float64] = draw.uniform(0.5, 2, shape) * draw.choice([-1, 1], shape)
    return numbers.astype(np.float32)


def sloped(function: Callable[[Tensor], Tensor], at_zero: float) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
    """A function that counts as a multiplication by its slope f(h) / h."""

    def frozen(live: Tensor, _: Mapping[str, Tensor]) -> Tensor:
        held = live.detach()
        return live * torch.where(held == 0, torch.tensor(at_zero), function(held) / held)

    return frozen


def layer_norm(live: Tensor, constants: Mapping[str, Tensor]) -> Tensor:
    centred = live - live.mean(-1, keepdim=True)
    deviation = (centred.detach().square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * constants["scale"] + constants["bias"]


def indices(*numbers: int) -> npt.NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


GELU_BY_TANH = partial(F.gelu, approximate="tanh")

CASES = {
    "residual": Case(op="Add", inputs=(LIVE, LIVE), frozen=lambda live, _: live + live),
    "bias": Case(
        op="Add", inputs=(LIVE, "bias"), frozen=lambda live, one: live + one["bias"],
        constants=lambda shape, draw: {"bias": floats(draw, shape[2])},
    ),
    "subtracted": Case(
        op="Sub", inputs=("from", LIVE), frozen=lambda live, one: one["from"] - live,
        constants=lambda shape, draw: {"from": floats(draw, *shape)},
    ),
    "difference": Case(
        op="Sub", inputs=(LIVE, "taken"), frozen=lambda live, one: live - one["taken"],
        constants=lambda shape, draw: {"taken": floats(draw, *shape)},
    ),
    "product": Case(
        op="Mul", inputs=("factor", LIVE), frozen=lambda live, one: live * one["factor"],
        constants=lambda shape, draw: {"factor": floats(draw, *shape)},
    ),
    "quotient": Case(
        op="Div", inputs=(LIVE, "divisor"), frozen=lambda live, one: live / one["divisor"],
        constants=lambda shape, draw: {"divisor": floats(draw, *shape)},
    ),
    "weights": Case(
        op="MatMul", inputs=(LIVE, "weight"), frozen=lambda live, one: live @ one["weight"],
        constants=lambda shape, draw: {"weight": floats(draw, shape[2], 3)},
    ),
    "attention": Case(
        op="MatMul", inputs=("shares", LIVE), frozen=lambda live, one: one["shares"] @ live,
        constants=lambda shape, draw: {"shares": floats(draw, shape[0], 3, shape[1])},
    ),
    "attention of unknown rank": Case(
        op="MatMul", inputs=("shares", LIVE), frozen=lambda live, one: one["shares"] @ live, knows_sizes=False,
        constants=lambda shape, draw: {"shares": floats(draw, shape[0], 3, shape[1])},
    ),
    "normalised": Case(
        op="LayerNormalization", inputs=(LIVE, "scale", "bias"), frozen=layer_norm, attributes={"epsilon": 1e-5},
        constants=lambda shape, draw: {"scale": floats(draw, shape[2]), "bias": floats(draw, shape[2])},
    ),
    "GELU": Case(op="Gelu", inputs=(LIVE,), frozen=sloped(F.gelu, 0.5)),
    "GELU by tanh": Case(
        op="Gelu", inputs=(LIVE,), frozen=sloped(GELU_BY_TANH, 0.5), attributes={"approximate": "tanh"}
    ),
    "ONNX Runtime's GELU by tanh": Case(
        op="FastGelu", inputs=(LIVE,), frozen=sloped(GELU_BY_TANH, 0.5), attributes={"domain": CONTRIBUTED}
    ),
    "square": Case(op="Mul", inputs=(LIVE, LIVE), frozen=lambda live, _: live * live.detach()),
    "sum": Case(
        op="ReduceSum", inputs=(LIVE, "axis"), frozen=lambda live, _: live.sum(1),
        constants=lambda *_: {"axis": indices(1)}, attributes={"keepdims": 0},
    ),
    "sum that keeps its axis": Case(
        op="ReduceSum", inputs=(LIVE, "axis"), frozen=lambda live, _: live.sum(1, keepdim=True),
        constants=lambda *_: {"axis": indices(1)},
    ),
    "tanh": Case(op="Tanh", inputs=(LIVE,), frozen=sloped(torch.tanh, 1.0)),
    "ReLU": Case(op="Relu", inputs=(LIVE,), frozen=sloped(torch.relu, 0.0)),
    "turned": Case(
        op="Transpose", inputs=(LIVE,), frozen=lambda live, _: live.permute(2, 0, 1), attributes={"perm": [2, 0, 1]}
    ),
    "heads": Case(
        op="Reshape", inputs=(LIVE, "shape"), frozen=lambda live, _: live.reshape(live.shape[0], -1, 2),
        constants=lambda *_: {"shape": indices(0, -1, 2)},
    ),
    "heads of unknown width": Case(
        op="Reshape", inputs=(LIVE, "shape"), frozen=lambda live, _: live.reshape(live.shape[0], -1, 2),
        constants=lambda *_: {"shape": indices(0, -1, 2)}, knows_sizes=False,
    ),
    "flat": Case(
        op="Reshape", inputs=(LIVE, "shape"), frozen=lambda live, _: live.flatten(),
        constants=lambda *_: {"shape": indices(-1)},
    ),
    "two axes left open": Case(
        op="Reshape", inputs=(LIVE, "shape"), frozen=lambda live, _: live.reshape(1, -1, 2),
        constants=lambda *_: {"shape": indices(1, -1, 2)},
    ),
    "one more axis": Case(
        op="Unsqueeze", inputs=(LIVE, "axis"), frozen=lambda live, _: live[:, None],
        constants=lambda *_: {"axis": indices(1)},
    ),
    "start": Case(
        op="Slice", inputs=(LIVE, "from", "to", "axis"), frozen=lambda live, _: live[:, 1:2],
        constants=lambda *_: {"from": indices(1), "to": indices(2), "axis": indices(1)},
    ),
    "second position": Case(
        op="Gather", inputs=(LIVE, "place"), frozen=lambda live, _: live[:, 1], attributes={"axis": 1},
        constants=lambda *_: {"place": np.array(1)},
    ),
    "places": Case(
        op="GatherElements", inputs=(LIVE, "places"), attributes={"axis": 1},
        frozen=lambda live, one: live.gather(1, one["places"]),
        constants=lambda shape, draw: {"places": draw.integers(0, shape[1], (shape[0], 7, shape[2]))},
    ),
    "joined": Case(
        op="Concat", inputs=("before", LIVE), frozen=lambda live, one: torch.cat([one["before"], live], dim=1),
        constants=lambda shape, draw: {"before": floats(draw, shape[0], 2, shape[2])}, attributes={"axis": 1},
    ),
    "halves": Case(
        op="Split", inputs=(LIVE,), frozen=lambda live, _: live.chunk(2, dim=2),
        attributes={"axis": 2, "num_outputs": 2},
    ),
    "chosen": Case(
        op="Where", inputs=("choice", LIVE, "other"),
        frozen=lambda live, one: torch.where(one["choice"], live, one["other"]),
        constants=lambda shape, draw: {"choice": draw.random(shape) < 0.5, "other": floats(draw, *shape)},
    ),
    "left over": Case(
        op="Where", inputs=("choice", "other", LIVE),
        frozen=lambda live, one: torch.where(one["choice"], one["other"], live),
        constants=lambda shape, draw: {"choice": draw.random(shape) < 0.5, "other": floats(draw, *shape)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=6, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_a_rule_gives_the_gradient_of_the_frozen_operator(name: str, shape: tuple[int, int, int], seed: int) -> None:
    case, draw = CASES[name], np.random.default_rng(seed)
    constants = case.constants(shape, draw)
    live = draw.standard_normal(shape).astype(np.float32)
    live.flat[0] = 0.0  # where slopes are limits
    tensor = torch.from_numpy(live).requires_grad_()
    made = case.frozen(tensor, {key: torch.from_numpy(array) for key, array in constants.items()})
    outputs = made if isinstance(made, tuple) else (made,)
    gradients = [draw.standard_normal(output.shape).astype(np.float32) for output in outputs]
    (expected,) = torch.autograd.grad(outputs, tensor, [torch.from_numpy(one) for one in gradients])
    found = pass_back(
        case.op, case.inputs, live, gradients, constants=constants, knows_sizes=case.knows_sizes, **case.attributes
    )
    # Sums of up to 20 products of numbers of about 1 and, behind a LayerNorm of two alike numbers, of about 100.
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, outputs=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_an_int8_product_is_within_half_a_step_of_each_row_s_gradient(
    shape: tuple[int, int, int], outputs: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    weights = draw.integers(-63, 64, (shape[2], outputs)).astype(np.int8)
    scales = draw.uniform(0.01, 0.1, outputs).astype(np.float32)
    gradient = floats(draw, *shape[:2], outputs)
    gradient[0, 0] = 0.0
    found = _int8(gradient, weights, scales)
    assert not found[0, 0].any()
    scaled = gradient * scales
    steps = np.abs(scaled).max(axis=-1, keepdims=True) / 127
    furthest = steps / 2 * np.abs(weights.astype(np.float32)).sum(axis=1)
    # A thousandth more for what fp32 rounds.
    assert (np.abs(found - scaled @ weights.T.astype(np.float32)) <= 1.001 * furthest + 1e-5).all()


def test_rows_of_an_int8_product_do_not_depend_on_each_other() -> None:
    draw = np.random.default_rng(0)
    weights, scales = draw.integers(-63, 64, (8, 6)).astype(np.int8), floats(draw, 6)
    small, large = floats(draw, 1, 3, 6), 1000 * floats(draw, 1, 3, 6)
    together = _int8(np.concatenate([small, large]), weights, scales)
    assert np.array_equal(together[:1], _int8(small, weights, scales))
    assert np.array_equal(together[1:], _int8(large, weights, scales))


def _int8(
    gradient: npt.NDArray[np.float32], weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Back through a product of activations in steps of 0.1 around 128 with int8 weights."""
    return pass_back(
        "MatMulIntegerToFloat",
        (LIVE, "weights", "step", "scales", "middle"),
        np.zeros((*gradient.shape[:2], len(weights)), np.uint8),
        [gradient],
        constants={
            "weights": weights,
            "step": np.array(0.1, np.float32),
            "scales": scales,
            "middle": np.array(128, np.uint8),
        },
        domain=CONTRIBUTED,
    )


@pytest.mark.parametrize(
    ("op", "inputs", "constants", "attributes", "message"),
    [
        ("Div", ("one", LIVE), {"one": np.ones((1, 2, 4), np.float32)}, {}, "divides by a tensor"),
        ("Gather", (LIVE, "places"), {"places": indices(0, 1)}, {"axis": 1}, "more than one constant position"),
        (
            "Slice", (LIVE, "from", "to", "axis"),
            {"from": indices(-1), "to": indices(2), "axis": indices(1)}, {}, "not from a constant start",
        ),
        (
            "LayerNormalization", (LIVE, "scale"), {"scale": np.ones((2, 4), np.float32)}, {"axis": 1},
            "over several axes",
        ),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_refused(
    op: str, inputs: tuple[str, ...], constants: Constants, attributes: Mapping[str, Any], message: str
) -> None:
    live = np.ones((1, 2, 4), np.float32)
    with pytest.raises(NoRule, match=f"^one: .*{message}"):
        pass_back(op, inputs, live, [live], constants=constants, **attributes)
