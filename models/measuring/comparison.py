"""Compares training methods: trains each with several seeds on the same records, and measures all on the same sets.

Every run has a folder `OUT/METHOD-SEED/`, or `OUT/METHOD+noise-SEED/`, with its settings, its checkpoint until it is
measured, and `result.json`. The table, `comparison.md` and `comparison.json`, is made of all results in `OUT`. A
comparison can be stopped at any moment: the same command continues it and does not train again what has a result.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.atomic import atomic_write_text
from models.checkpoint import read_record
from models.data import draw_rows, load_validation
from models.errors import first_mistake
from models.evaluation import EvaluatedModel
from models.measuring.agreement import Agreement, NothingToCompare, attention_gradient_agreement
from models.measuring.comparison_table import AGREEMENT, ComparisonTable, tabulate, write_markdown
from models.measuring.results import RESULT_FILE, VARIED_SETTINGS, ComparisonError, RunResult, read_results
from models.measuring.robustness import measure_robustness
from models.networks.encoder import Encoder
from models.networks.gate import find_special_ids
from models.networks.loading import load_tokenizer, load_trained, measuring_device, open_trained_model
from models.progress import ReportProgress
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingSettings

SETTINGS_FILE = "settings.json"

AGREEMENT_ROWS = 500
"""Most validation examples on which the agreement of attention with gradients is measured; each costs two gradients for
every label."""


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """The runs to make and compare, and the folder of the results."""

    runs: tuple[TrainingSettings, ...]
    """The runs in the order in which they are made; they differ in `VARIED_SETTINGS` only."""
    out: Path
    measured_rows: int | None = None
    """Most records of each set that are measured, also after every epoch."""
    keeps_checkpoints: bool = False
    command: str = ""
    """The command line, which the table quotes."""


def plan_runs(variants: Sequence[TrainingSettings], seeds: int) -> tuple[TrainingSettings, ...]:
    """Plan a run for each variant and seed: all with one seed, then all with the next, so that early tables are even.

    The seeds of a variant count up from its own.
    """
    return tuple(
        settings.model_copy(update={"seed": settings.seed + number}) for number in range(seeds) for settings in variants
    )


def compare(plan: ComparisonPlan, watcher: Watcher, progress: ReportProgress) -> ComparisonTable:
    """Make every run that has no result yet, and write the table again after each run.

    Raises:
        ComparisonError: the folder holds runs with other settings, or a damaged result.
        TrainingError, DataError: a run cannot be made.
        Interrupted: on SIGINT or SIGTERM while training, after saving the state.
    """
    _check_folder(plan)
    for number, settings in enumerate(plan.runs, start=1):
        folder = plan.out / run_name(settings)
        if not (folder / RESULT_FILE).is_file():
            watcher.say(f"{folder.name}: run {number} of {len(plan.runs)}")
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write_text(folder / SETTINGS_FILE, json.dumps(_run_settings(plan, settings), indent=1))
            result = _measure(settings, folder / "checkpoint", plan.measured_rows, watcher, progress)
            atomic_write_text(folder / RESULT_FILE, result.model_dump_json(indent=1))
        if not plan.keeps_checkpoints:
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        table = tabulate(read_results(plan.out), plan.command)
        atomic_write_text(plan.out / "comparison.json", table.model_dump_json(indent=1))
        atomic_write_text(plan.out / "comparison.md", write_markdown(table))
    return table


def run_name(settings: TrainingSettings) -> str:
    """The name of a run's folder."""
    return f"{settings.variant}-{settings.seed}"


def _check_folder(plan: ComparisonPlan) -> None:
    by_variant = {settings.variant: _run_settings(plan, settings) for settings in reversed(plan.runs)}
    anyone = {key: value for key, value in _run_settings(plan, plan.runs[0]).items() if key not in VARIED_SETTINGS}
    noisy = next((one["noise"] for one in by_variant.values() if one["noise"] is not None), None)
    for path in sorted(plan.out.glob(f"*/{SETTINGS_FILE}")):
        found, variant = _read_settings(path)
        # The table names one noise for all.
        noise = {} if None in (noisy, found["noise"]) else {"noise": noisy}
        wanted = by_variant.get(variant, anyone | noise)
        differing = sorted(key for key in wanted if key != "seed" and found.get(key) != wanted[key])
        if differing:
            raise ComparisonError(
                f"{path.parent}: a run with another {', '.join(differing)}; choose another folder, or remove that run"
            )


def _read_settings(path: Path) -> tuple[dict[str, Any], str]:
    """The settings of a run as `_run_settings` gives them, and its variant; those that it does not name are the usual.

    Raises:
        ComparisonError: the file is damaged, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        measured_rows = found.pop("measured_rows", None)
        settings = TrainingSettings.model_validate(found)
    except ValidationError as error:
        raise ComparisonError(f"{path}: {first_mistake(error)}; choose another folder, or remove that run") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ComparisonError(f"{path}: is damaged; choose another folder, or remove that run") from error
    return settings.model_dump(mode="json") | {"measured_rows": measured_rows}, settings.variant


def _run_settings(plan: ComparisonPlan, settings: TrainingSettings) -> dict[str, Any]:
    """The settings of a run as its folder records them."""
    return settings.model_dump(mode="json") | {"measured_rows": plan.measured_rows}


def _measure(
    settings: TrainingSettings, checkpoint: Path, most_rows: int | None, watcher: Watcher, progress: ReportProgress
) -> RunResult:
    record = read_record(checkpoint) if checkpoint.is_dir() else train(settings, checkpoint, watcher, most_rows)
    model = open_trained_model(checkpoint)
    source = settings.source
    report = measure_robustness(model, source.data, [source.validation], progress, most_rows, source.layout)
    progress(AGREEMENT["pearson"], 0, 0)
    agreement = _measure_agreement(settings, checkpoint, model)
    return RunResult(
        settings=settings,
        steps=record.steps,
        cpu_s=record.cpu_s,
        data=record.data,
        epochs=record.epochs,
        kept_epoch=record.kept_epoch,
        found=report.found,
        agreement=None if agreement is None else asdict(agreement),
        left_out=report.left_out,
    )


def _measure_agreement(settings: TrainingSettings, checkpoint: Path, model: EvaluatedModel) -> Agreement | None:
    """Measure on drawn validation examples; None unless a text has one answer, or if no text can be used."""
    if model.task.head != "sequence-classification":
        return None
    part = load_validation(settings.source, model.task, model.outputs, model.reader)
    tokenizer = load_tokenizer(checkpoint)
    encoder = Encoder(load_trained(checkpoint, model.task.head)).to(measuring_device())
    rows = draw_rows(part.examples, AGREEMENT_ROWS)
    try:
        return attention_gradient_agreement(encoder, rows, int(tokenizer.pad_token_id), find_special_ids(tokenizer))
    except NothingToCompare:
        return None
