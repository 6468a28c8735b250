"""Training methods side by side: each trained with several seeds on the same rows and measured on the same sets.

Every run has a folder `OUT/METHOD-SEED/`: its settings, its checkpoint until it is measured, then `result.json`. The
table, `comparison.md` and `comparison.json`, is made of all results in `OUT`. Stopped at any moment, the same command
goes on; what has a result is not trained again.
"""

import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.atomic import atomic_write_text
from models.checkpoint import DataFile, EpochRecord, read_record
from models.data import draw_rows, load_validation
from models.errors import UserError
from models.evaluation import EvaluatedModel
from models.measuring.agreement import Agreement, NothingToCompare, attention_gradient_agreement
from models.measuring.robustness import Metrics, measure_robustness
from models.networks.encoder import Encoder
from models.networks.gate import find_special_ids
from models.networks.loading import load_tokenizer, load_trained, measuring_device, open_trained_model
from models.progress import ReportProgress
from models.tables import format_cell, markdown_table
from models.tasks import find_task
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingSettings

SETTINGS_FILE = "settings.json"
RESULT_FILE = "result.json"

STEP_COST = "step cost, CPU time over plain's"

AGREEMENT = {
    "pearson_detached": "attention-gradient correlation, attention detached",
    "pearson": "attention-gradient correlation",
}
AGREEMENT_ROWS = 500
"""Most validation rows that it is measured on: two gradients for each label."""

OWN = frozenset({"method", "method_settings", "seed"})
"""Settings in which the runs of a comparison may differ."""


class ComparisonError(UserError):
    """A comparison that cannot be made, or not in this folder."""


class Measured(BaseModel):
    """What was found of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    settings: TrainingSettings
    steps: int
    cpu_s: float = Field(description="CPU time of the training steps.")
    data: tuple[DataFile, ...]
    epochs: tuple[EpochRecord, ...]
    kept_epoch: int
    found: dict[str, Metrics] = Field(description="By what was measured, the metrics and the rows.")
    agreement: dict[str, Any] | None = Field(
        description="How well attention agrees with gradients, as `agreement` has it; None where it has nothing."
    )
    left_out: dict[str, str] = Field(description="What was not measured, and why.")


class Figure(BaseModel):
    """A number of one method over its seeds."""

    model_config = ConfigDict(frozen=True)

    mean: float
    spread: float | None = Field(description="Sample standard deviation; None for a single seed.")
    values: dict[int, float] = Field(description="By seed.")


class Gain(BaseModel):
    """How far a method is from plain training, over the seeds that both have."""

    model_config = ConfigDict(frozen=True)

    mean: float = Field(description="Of the differences between runs with the same seed.")
    standard_error: float | None = Field(description="Of that mean; None for a single seed.")


class Comparison(BaseModel):
    """`comparison.json`: the table, and what it was made of."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    command: str
    settings: dict[str, Any] = Field(description="Those that all runs share.")
    method_settings: dict[str, dict[str, Any]]
    seeds: dict[str, tuple[int, ...]]
    rows: dict[str, int] = Field(description="How many rows each figure is of, where it is of rows.")
    figures: dict[str, dict[str, Figure]] = Field(description="By name, then by method.")
    gains: dict[str, dict[str, Gain]] = Field(
        description="The same without plain and step cost: runs with one seed start from the same draws, so that much "
        "of what the seed does falls out."
    )
    left_out: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be compared, and where."""

    runs: tuple[TrainingSettings, ...]
    """In the order in which they are made; they differ in `OWN` alone."""
    out: Path
    measured_rows: int | None = None
    """Most rows of each set that are measured, after every epoch too."""
    keeps_checkpoints: bool = False
    command: str = ""
    """The command line, for the table to say."""


def plan_runs(
    settings: TrainingSettings, method_settings: Mapping[str, Mapping[str, Any]], seeds: int
) -> tuple[TrainingSettings, ...]:
    """A run for each method and seed, all methods with one seed before the next, so that tables are even early on.

    `method_settings` names the methods; the seeds count up from the settings' own. Nothing is checked here.
    """
    return tuple(
        settings.model_copy(update={"method": name, "method_settings": dict(own), "seed": settings.seed + number})
        for number in range(seeds)
        for name, own in method_settings.items()
    )


def compare(plan: Plan, watcher: Watcher, progress: ReportProgress) -> Comparison:
    """Make every run that has no result yet, and the table, anew after each run.

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
            atomic_write_text(folder / SETTINGS_FILE, json.dumps(_claim(plan, settings), indent=1))
            result = _measure(settings, folder / "checkpoint", plan.measured_rows, watcher, progress)
            atomic_write_text(folder / RESULT_FILE, result.model_dump_json(indent=1))
        if not plan.keeps_checkpoints:
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        table = tabulate(read_results(plan.out), plan.command)
        atomic_write_text(plan.out / "comparison.json", table.model_dump_json(indent=1))
        atomic_write_text(plan.out / "comparison.md", write_markdown(table))
    return table


def run_name(settings: TrainingSettings) -> str:
    """The folder of a run."""
    return f"{settings.method}-{settings.seed}"


def read_results(out: Path) -> list[Measured]:
    """Every result in `out`, by name.

    Raises:
        ComparisonError: one is damaged, or they are not of the same data.
    """
    results = []
    for path in sorted(out.glob(f"*/{RESULT_FILE}")):
        try:
            results.append(Measured.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ComparisonError(
                f"{path}: not a result of this version; remove it and its run is made again"
            ) from error
        if results[-1].data != results[0].data:
            raise ComparisonError(f"{path}: trained on other data than the runs beside it; choose another folder")
    return results


def tabulate(results: Sequence[Measured], command: str) -> Comparison:
    """The table of some runs. Plain comes first, the other methods by name."""
    methods = sorted({result.settings.method for result in results}, key=lambda name: (name != "plain", name))
    by_method = {name: [result for result in results if result.settings.method == name] for name in methods}
    names = dict.fromkeys(name for result in results for name, _ in _figures(result, results))
    values = {
        name: {
            method: {
                result.settings.seed: value
                for result in runs
                for figure, value in _figures(result, results)
                if figure == name
            }
            for method, runs in by_method.items()
        }
        for name in names
    }
    figures = {
        name: {method: _figure(found) for method, found in per_method.items() if found}
        for name, per_method in values.items()
    }
    return Comparison(
        command=command,
        settings=results[0].settings.model_dump(mode="json", exclude=set(OWN)),
        method_settings={name: runs[0].settings.method_settings for name, runs in by_method.items()},
        seeds={name: tuple(sorted(run.settings.seed for run in runs)) for name, runs in by_method.items()},
        rows={
            name: int(result.found[measured]["rows"])
            for name in names
            for result in results
            if (measured := name.rpartition(": ")[0]) in result.found
        },
        figures=figures,
        gains={name: found for name in figures if name != STEP_COST and (found := _gains(figures[name]))},
        left_out={name: reason for result in results for name, reason in result.left_out.items()},
    )


def write_markdown(table: Comparison) -> str:
    """The table for people: a line for each figure, a column for each method."""
    methods = list(table.seeds)
    settings = table.settings
    lines = [
        f"# {settings['task']}: {', '.join(methods)}",
        "",
        f"Made by `{table.command}`.",
        "",
        f"- base: {settings['base_name'] or settings['base']}",
        f"- trained on: {', '.join(settings['source']['train'])}"
        + (f"; {settings['rows']} rows drawn from them, the same for all" if settings["rows"] else ""),
        f"- epochs: {settings['epochs']}, rows a batch: {settings['batch_size']}, learning rate: "
        f"{settings['learning_rate']}",
        *(f"- {name}: seeds {', '.join(map(str, seeds))}{_shown(table, name)}" for name, seeds in table.seeds.items()),
        "",
        "Mean over the seeds ± sample standard deviation. Failure rates and step cost are better low, the rest high. "
        "Correlations of attention and gradient are Pearson's, over the tokens of a text, between the attention that "
        "the head reads and the gradient times the word vector; detached, the gradient does not pass through it. "
        "Step cost is CPU time of training, work between epochs included, for each step.",
        "",
        markdown_table(
            ("figure", "rows", *methods),
            (
                (name, str(table.rows.get(name, "")), *(_figure_cell(figures.get(method)) for method in methods))
                for name, figures in table.figures.items()
            ),
        ),
    ]
    if table.gains:
        others = [name for name in methods if name != "plain"]
        lines += [
            "",
            "Against plain with the same seed: mean of the differences ± its standard error.",
            "",
            markdown_table(
                ("figure", *others),
                ((name, *(_gain_cell(gains.get(method)) for method in others)) for name, gains in table.gains.items()),
            ),
        ]
    if table.left_out:
        lines += ["", "Left out:", "", *(f"- {name}: {reason}" for name, reason in table.left_out.items())]
    return "\n".join(lines) + "\n"


def _check_folder(plan: Plan) -> None:
    by_method = {settings.method: _claim(plan, settings) for settings in reversed(plan.runs)}
    anyone = {key: value for key, value in _claim(plan, plan.runs[0]).items() if key not in OWN}
    for path in sorted(plan.out.glob(f"*/{SETTINGS_FILE}")):
        found = json.loads(path.read_text(encoding="utf-8"))
        wanted = by_method.get(found["method"], anyone)
        differing = sorted(key for key in wanted if key != "seed" and found.get(key) != wanted[key])
        if differing:
            raise ComparisonError(
                f"{path.parent}: a run with another {', '.join(differing)}; choose another folder, or remove that run"
            )


def _claim(plan: Plan, settings: TrainingSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json") | {"measured_rows": plan.measured_rows}


def _measure(
    settings: TrainingSettings, checkpoint: Path, most_rows: int | None, watcher: Watcher, progress: ReportProgress
) -> Measured:
    record = read_record(checkpoint) if checkpoint.is_dir() else train(settings, checkpoint, watcher, most_rows)
    model = open_trained_model(checkpoint)
    report = measure_robustness(model, settings.source.data, [settings.source.validation], progress, most_rows)
    progress(AGREEMENT["pearson"], 0, 0)
    agreement = _measure_agreement(settings, checkpoint, model)
    return Measured(
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
    """On rows drawn from the validation part; None where the head is none for sequences, or no text can be measured."""
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


def _figures(result: Measured, results: Sequence[Measured]) -> Iterator[tuple[str, float]]:
    shown = (find_task(result.settings.task).main_metric, "consistency", "failure_rate")
    for name, metrics in result.found.items():
        for metric in shown:
            if metric in metrics:
                yield f"{name}: {metric}", metrics[metric]
    if result.agreement is not None:
        for name, figure in AGREEMENT.items():
            yield figure, result.agreement[name]["mean"]
    seed = result.settings.seed
    for plain in results:
        if plain.settings.method == "plain" and plain.settings.seed == seed and plain.cpu_s > 0:
            yield STEP_COST, (result.cpu_s / result.steps) / (plain.cpu_s / plain.steps)


def _figure(values: Mapping[int, float]) -> Figure:
    found = list(values.values())
    spread = statistics.stdev(found) if len(found) > 1 else None
    return Figure(mean=statistics.fmean(found), spread=spread, values=dict(values))


def _gains(by_method: Mapping[str, Figure]) -> dict[str, Gain]:
    if "plain" not in by_method:
        return {}
    plain = by_method["plain"].values
    differences = {
        method: [figure.values[seed] - plain[seed] for seed in plain if seed in figure.values]
        for method, figure in by_method.items()
        if method != "plain"
    }
    return {
        method: Gain(
            mean=statistics.fmean(found),
            standard_error=statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else None,
        )
        for method, found in differences.items()
        if found
    }


def _shown(table: Comparison, method: str) -> str:
    given = ", ".join(f"{name} {value}" for name, value in table.method_settings[method].items())
    return f"; {given}" if given else ""


def _figure_cell(figure: Figure | None) -> str:
    return "" if figure is None else format_cell(figure.mean, figure.spread)


def _gain_cell(gain: Gain | None) -> str:
    return "" if gain is None else format_cell(gain.mean, gain.standard_error, signed=True)
