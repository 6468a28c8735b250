"""Computes a model's metrics, whether its logits come from torch (a checkpoint) or from ONNX Runtime (a package)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.data import Example
from models.tasks.task import AnyTask, Logits, Outputs, Prediction
from models.text import Encoded, Reader, Row

RowRunner = Callable[[Sequence[Row]], Sequence[Logits]]
"""Takes rows and returns the logits of each, in the same order."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A model to be measured: a checkpoint under torch, or a package under ONNX Runtime."""

    task: AnyTask
    outputs: Outputs
    reader: Reader
    run: RowRunner


def measure(model: EvaluatedModel, examples: Sequence[Example]) -> dict[str, float]:
    """The task's metrics on `examples`."""
    predictions = predict_all(model, [example.encoded for example in examples])
    outcomes = [prediction.outcome for prediction in predictions]
    return model.task.measure([example.target for example in examples], outcomes, model.outputs)


def predict_all(model: EvaluatedModel, items: Sequence[Encoded]) -> list[Prediction[Any]]:
    """The prediction for each item; the rows of all items are given to `run` in one call."""
    logits = iter(model.run([row for item in items for row in item.rows]))
    return [model.task.decode([next(logits) for _ in item.rows], item, model.outputs) for item in items]


def by_length(rows: Sequence[Row], run: RowRunner, batch_size: int) -> list[Logits]:
    """The logits of each row in the order given, computed by `run` in batches of rows of similar length."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    results: list[Logits | None] = [None] * len(rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        for index, logits in zip(chosen, run([rows[index] for index in chosen]), strict=True):
            results[index] = logits
    return [result for result in results if result is not None]
