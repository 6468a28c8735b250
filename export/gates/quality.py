"""Gate: a graph in int8 or fp16 may lose at most half a point of the task's metric.

Without records that have right answers, it may change at most 2 % of the answers that fp32 gives to made-up texts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.errors import TooCostly
from export.graphs.quantization import Calibration, quantize
from export.origin import Origin
from export.package import Precision, QualityReport
from models.data import Example
from models.evaluation import measure, predict_all
from models.progress import Say
from models.tables import format_count
from models.tasks.task import TaskAnswer
from models.text import Encoded, Row

TOLERANCE = 0.005
"""Largest loss of the task's main metric: half a point."""

AGREEMENT_TOLERANCE = 0.02
"""Largest share of made-up texts that may be answered otherwise. It is larger, because in a metric answers that become
wrong and others that become right cancel out, and because made-up texts are closer calls than real ones."""

EXCLUDED_SHARES = (0.0, 0.1, 0.2)
"""Shares of the linear nodes to leave in fp32, tried in turn; the nodes that int8 hurts most are left first."""

SENSITIVITY_ROWS = 64

AGREEMENT = "agreement"
"""Share of the texts that a graph answers as the fp32 graph does."""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """The measure by which the graphs of one export are compared."""

    metric: str
    rows: int
    measure: Callable[[Path], dict[str, float]]
    """A graph -> its metrics, `metric` among them."""
    tolerance: float
    """Largest loss of `metric`."""
    is_quality: bool
    """False where there are no right answers, so that no metric says how good the answers are."""


def by_right_answers(origin: Origin, examples: Sequence[Example]) -> Yardstick:
    """The task's own metrics on records with right answers."""
    return Yardstick(
        metric=origin.task.main_metric,
        rows=len(examples),
        measure=lambda graph: measure(origin.evaluated(graph), examples),
        tolerance=TOLERANCE,
        is_quality=True,
    )


def by_agreement(origin: Origin, fp32: Path, items: Sequence[Encoded]) -> Yardstick:
    """The share of items that a graph answers as the fp32 graph does, as the task tells answers apart."""

    def answer(graph: Path) -> list[TaskAnswer]:
        return [prediction.answer for prediction in predict_all(origin.evaluated(graph), items)]

    expected = answer(fp32)
    changed = origin.task.changed

    def agree(graph: Path) -> dict[str, float]:
        found = expected if graph == fp32 else answer(graph)
        # Both ways: a further entity is no change from the first answer, but it is one from the second.
        same = [not changed(one, other) and not changed(other, one) for one, other in zip(expected, found, strict=True)]
        return {AGREEMENT: sum(same) / len(same)}

    return Yardstick(metric=AGREEMENT, rows=len(items), measure=agree, tolerance=AGREEMENT_TOLERANCE, is_quality=False)


@dataclass(frozen=True, kw_only=True)
class ChosenGraph:
    """The graph that was chosen, and the measurements that led to the choice."""

    graph: Path
    precision: Precision
    quality: QualityReport
    metrics: dict[str, float]
    """The yardstick's, of this graph."""


def keep_fp32(fp32: Path, yardstick: Yardstick) -> ChosenGraph:
    """Choose the fp32 graph, and measure it."""
    return _ship_float(fp32, "fp32", yardstick, yardstick.measure(fp32))


def check_fp16(fp32: Path, half: Path, yardstick: Yardstick) -> ChosenGraph:
    """Choose the fp16 graph, after measuring it beside the fp32 one.

    Raises:
        TooCostly: it loses more than the tolerance.
    """
    metric = yardstick.metric
    reference, metrics = map(yardstick.measure, (fp32, half))
    if not metrics[metric] >= reference[metric] - yardstick.tolerance:
        raise TooCostly(
            f"fp16 gives {metric} {metrics[metric]:.4f} and fp32 {reference[metric]:.4f}, more than "
            f"{yardstick.tolerance:g} apart: export with --precision fp32"
        )
    return _ship_float(half, "fp16", yardstick, metrics, fp32=reference)


def choose_int8(origin: Origin, fp32: Path, calibration: Calibration, yardstick: Yardstick, say: Say) -> ChosenGraph:
    """Choose the most quantised graph that loses no more than the tolerance, or else the fp32 graph."""
    metric = yardstick.metric
    reference = yardstick.measure(fp32)
    reached: list[float] = []
    for excluded, graph in _attempts(origin, fp32, calibration, say):
        metrics = yardstick.measure(graph)
        reached.append(metrics[metric])
        variant = f"int8 with {format_count(len(excluded), 'product')} left in fp32" if excluded else "int8"
        say(f"{variant}: {metric} {reached[-1]:.4f}; fp32: {reference[metric]:.4f}")
        if reached[-1] >= reference[metric] - yardstick.tolerance:
            report = QualityReport(
                metric=metric,
                rows=yardstick.rows,
                fp32=reference[metric],
                exported=reached[-1],
                tolerance=yardstick.tolerance,
                calibration_rows=len(calibration.rows),
                excluded_nodes=excluded,
                measured=yardstick.is_quality,
            )
            return ChosenGraph(graph=graph, precision="int8", quality=report, metrics=metrics)
    say(f"int8 costs more than {yardstick.tolerance:g} of {metric} in every variant: the package is fp32")
    return _ship_float(fp32, "fp32", yardstick, reference, best_int8=max(reached))


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
    graph: Path,
    precision: Precision,
    yardstick: Yardstick,
    metrics: dict[str, float],
    *,
    fp32: dict[str, float] | None = None,
    best_int8: float | None = None,
) -> ChosenGraph:
    """Choose a graph in which nothing is quantised. `fp32` are the metrics it is compared with, by default its own."""
    metric = yardstick.metric
    report = QualityReport(
        metric=metric,
        rows=yardstick.rows,
        fp32=(fp32 or metrics)[metric],
        exported=metrics[metric],
        tolerance=yardstick.tolerance,
        calibration_rows=0,
        excluded_nodes=(),
        best_int8=best_int8,
        measured=yardstick.is_quality,
    )
    return ChosenGraph(graph=graph, precision=precision, quality=report, metrics=metrics)
