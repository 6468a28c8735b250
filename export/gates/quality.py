"""Gate: a graph in int8 or fp16 may lose at most half a point of the task's metric."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.errors import TooCostly
from export.graphs.quantization import Calibration, quantize
from export.origin import Origin
from export.package import Precision, QualityReport
from models.data import Example
from models.evaluation import measure
from models.progress import Say
from models.tables import format_count
from models.text import Row

TOLERANCE = 0.005
"""Largest loss of the task's main metric: half a point."""

EXCLUDED_SHARES = (0.0, 0.1, 0.2)
"""Shares of the linear nodes to leave in fp32, tried in turn; the nodes that int8 hurts most are left first."""

SENSITIVITY_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class ChosenGraph:
    """The graph that was chosen, and the measurements that led to the choice."""

    graph: Path
    precision: Precision
    quality: QualityReport
    metrics: dict[str, float]


def keep_fp32(origin: Origin, fp32: Path, validation: Sequence[Example]) -> ChosenGraph:
    """Choose the fp32 graph, and measure it."""
    metrics = measure(origin.evaluated(fp32), validation)
    return _ship_float(origin, fp32, "fp32", metrics, len(validation))


def check_fp16(origin: Origin, fp32: Path, half: Path, validation: Sequence[Example]) -> ChosenGraph:
    """Choose the fp16 graph, after measuring it beside the fp32 one.

    Raises:
        TooCostly: it loses more than the tolerance.
    """
    metric = origin.task.main_metric
    reference, metrics = (measure(origin.evaluated(graph), validation) for graph in (fp32, half))
    if not metrics[metric] >= reference[metric] - TOLERANCE:
        raise TooCostly(
            f"fp16 gives {metric} {metrics[metric]:.4f} and fp32 {reference[metric]:.4f}, more than {TOLERANCE:g} "
            "apart: export with --precision fp32"
        )
    return _ship_float(origin, half, "fp16", metrics, len(validation), fp32=reference)


def choose_int8(
    origin: Origin,
    fp32: Path,
    calibration: Calibration,
    validation: Sequence[Example],
    say: Say,
) -> ChosenGraph:
    """Choose the most quantised graph that loses no more than the tolerance, or else the fp32 graph."""
    metric = origin.task.main_metric
    reference = measure(origin.evaluated(fp32), validation)
    reached: list[float] = []
    for excluded, graph in _attempts(origin, fp32, calibration, say):
        metrics = measure(origin.evaluated(graph), validation)
        reached.append(metrics[metric])
        variant = f"int8 with {format_count(len(excluded), 'product')} left in fp32" if excluded else "int8"
        say(f"{variant}: {metric} {reached[-1]:.4f}; fp32: {reference[metric]:.4f}")
        if reached[-1] >= reference[metric] - TOLERANCE:
            report = QualityReport(
                metric=metric,
                rows=len(validation),
                fp32=reference[metric],
                exported=reached[-1],
                tolerance=TOLERANCE,
                calibration_rows=len(calibration.rows),
                excluded_nodes=excluded,
            )
            return ChosenGraph(graph=graph, precision="int8", quality=report, metrics=metrics)
    say(f"int8 costs more than {TOLERANCE:g} of {metric} in every variant: the package is fp32")
    return _ship_float(origin, fp32, "fp32", reference, len(validation), best_int8=max(reached))


def rank_by_damage(origin: Origin, fp32: Path, calibration: Calibration) -> list[str]:
    """Linear nodes, most harmful first, ranked by how far the logits move when only that node is int8."""
    rows = calibration.rows[:SENSITIVITY_ROWS]
    exact = _all_logits(origin, fp32, rows)
    damage: dict[str, float] = {}
    graph = fp32.with_name("int8-one.onnx")
    for node in calibration.linears:
        quantize(calibration, [node], graph)
        damage[node] = float(np.square(_all_logits(origin, graph, rows) - exact).mean())
    return sorted(damage, key=damage.__getitem__, reverse=True)


def _all_logits(origin: Origin, graph: Path, rows: Sequence[Row]) -> npt.NDArray[np.float32]:
    return np.concatenate([logits.ravel() for logits in origin.evaluated(graph).run(rows)])


def _attempts(origin: Origin, fp32: Path, calibration: Calibration, say: Say) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Quantise with more and more nodes left in fp32; give the names of these nodes and the graph, one at a time."""
    ranked: list[str] = []
    for share in EXCLUDED_SHARES:
        if share and not ranked:
            say("looking for the products that int8 hurts most")
            ranked = rank_by_damage(origin, fp32, calibration)
        excluded = tuple(ranked[: round(share * len(ranked))])
        graph = fp32.with_name(f"int8-without-{len(excluded)}.onnx")
        quantize(calibration, [node for node in calibration.linears if node not in excluded], graph)
        yield excluded, graph


def _ship_float(
    origin: Origin,
    graph: Path,
    precision: Precision,
    metrics: dict[str, float],
    rows: int,
    *,
    fp32: dict[str, float] | None = None,
    best_int8: float | None = None,
) -> ChosenGraph:
    """Choose a graph in which nothing is quantised. `fp32` are the metrics it is compared with, by default its own."""
    metric = origin.task.main_metric
    report = QualityReport(
        metric=metric,
        rows=rows,
        fp32=(fp32 or metrics)[metric],
        exported=metrics[metric],
        tolerance=TOLERANCE,
        calibration_rows=0,
        excluded_nodes=(),
        best_int8=best_int8,
    )
    return ChosenGraph(graph=graph, precision=precision, quality=report, metrics=metrics)
