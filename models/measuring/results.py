"""Results of a comparison's runs: one `result.json` for each training method and seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.checkpoint import DataFile, EpochRecord
from models.errors import UserError
from models.measuring.robustness import MetricValues
from models.training.settings import TrainingSettings

RESULT_FILE = "result.json"

VARIED_SETTINGS = frozenset({"method", "method_settings", "noise", "seed"})
"""Settings in which the runs of a comparison may differ."""


class ComparisonError(UserError):
    """The comparison cannot be made, or not in this folder."""


class RunResult(BaseModel):
    """The measurements of one run: a training with one method, with or without noise, and one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    settings: TrainingSettings
    steps: int
    cpu_s: float = Field(description="CPU time of the training steps.")
    data: tuple[DataFile, ...]
    epochs: tuple[EpochRecord, ...]
    kept_epoch: int
    found: dict[str, MetricValues] = Field(description="Metrics and number of records, by part, noise or set.")
    agreement: dict[str, Any] | None = Field(
        description="How well attention agrees with gradients, as `agreement` has it; None where it cannot be measured."
    )
    left_out: dict[str, str] = Field(description="Names of what was not measured, each with the reason.")


def read_results(out: Path) -> list[RunResult]:
    """Read every result in `out`, sorted by name.

    Raises:
        ComparisonError: a result is damaged, or the results are not of the same data.
    """
    results: list[RunResult] = []
    for path in sorted(out.glob(f"*/{RESULT_FILE}")):
        try:
            results.append(RunResult.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ComparisonError(
                f"{path}: not a result of this version; remove it, and its run is made again"
            ) from error
        if results[-1].data != results[0].data:
            raise ComparisonError(f"{path}: trained on other data than the runs beside it; choose another folder")
    return results


def variants_of(results: Sequence[RunResult]) -> list[str]:
    """The methods that have results, with and without noise beside them: plain first, the others by name."""
    return sorted({result.settings.variant for result in results}, key=lambda name: (name != "plain", name))
