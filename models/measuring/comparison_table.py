"""The table of a comparison: a line for each figure and a column for each training method."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.measuring.results import VARIED_SETTINGS, RunResult, variants_of
from models.tables import format_cell, markdown_table
from models.tasks import find_task

STEP_COST = "step cost, CPU time over plain's"

AGREEMENT = {
    "pearson_detached": "attention-gradient correlation, attention detached",
    "pearson": "attention-gradient correlation",
}
"""Correlations of the table by their names in `agreement`."""


class Figure(BaseModel):
    """One figure of one method, over its seeds."""

    model_config = ConfigDict(frozen=True)

    mean: float
    spread: float | None = Field(description="Sample standard deviation; None for a single seed.")
    values: dict[int, float] = Field(description="The figure by seed.")


class Gain(BaseModel):
    """The difference between a method and plain training, over the seeds that both have."""

    model_config = ConfigDict(frozen=True)

    mean: float = Field(description="Mean of the differences between runs with the same seed.")
    standard_error: float | None = Field(description="Standard error of that mean; None for a single seed.")


class ComparisonTable(BaseModel):
    """`comparison.json`: the table, and the settings of the runs in it."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    command: str
    settings: dict[str, Any] = Field(description="Settings that all runs share.")
    method_settings: dict[str, dict[str, Any]]
    noise: dict[str, Any] | None = Field(default=None, description="Settings of the noise of every `METHOD+noise`.")
    seeds: dict[str, tuple[int, ...]]
    rows: dict[str, int] = Field(
        description="By figure, the number of records it was measured on, if it was measured on records."
    )
    figures: dict[str, dict[str, Figure]] = Field(description="Figures by name, then by method.")
    gains: dict[str, dict[str, Gain]] = Field(
        description="Gains over plain by figure, then by method; step cost has none. Runs with one seed start from the "
        "same draws, so most of the seed's effect cancels out."
    )
    left_out: dict[str, str]


def tabulate(results: Sequence[RunResult], command: str) -> ComparisonTable:
    """Make the table of some runs. Plain comes first, then the other methods by name."""
    methods = variants_of(results)
    by_method = {name: [result for result in results if result.settings.variant == name] for name in methods}
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
    return ComparisonTable(
        command=command,
        settings=results[0].settings.model_dump(mode="json", exclude=set(VARIED_SETTINGS)),
        method_settings={name: runs[0].settings.method_settings for name, runs in by_method.items()},
        noise=_noise(results),
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


def write_markdown(table: ComparisonTable) -> str:
    """Write the table in Markdown, with a line for each figure and a column for each method."""
    methods = list(table.seeds)
    settings = table.settings
    lines = [
        f"# {settings['task']}: {', '.join(methods)}",
        "",
        f"Made by `{table.command}`.",
        "",
        f"- base: {settings['base_name'] or settings['base']}",
        f"- trained on: {', '.join(settings['source']['train'])}"
        + (f"; {settings['rows']} records drawn from them, the same for all" if settings["rows"] else ""),
        f"- epochs: {settings['epochs']}, batch size: {settings['batch_size']}, learning rate: "
        f"{settings['learning_rate']}",
        *(f"- {name}: seeds {', '.join(map(str, seeds))}{_shown(table, name)}" for name, seeds in table.seeds.items()),
        *([f"- noise: {_listed(table.noise)}"] if table.noise else []),
        "",
        "Mean over the seeds ± sample standard deviation. Lower is better for failure rates and step cost, higher for "
        "the rest. Attention-gradient correlation is Pearson's over the tokens of a text, between the attention that "
        "the head reads and the gradient times the word vector; detached, no gradient passes through that attention. "
        "Step cost is the CPU time of training for each step, with the work between epochs.",
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


def _noise(results: Sequence[RunResult]) -> dict[str, Any] | None:
    """The settings of the runs with noise, which all have the same; None where there is no such run."""
    found = (result.settings.noise for result in results if result.settings.noise is not None)
    noise = next(found, None)
    return None if noise is None else noise.model_dump(mode="json", exclude_defaults=True)


def _figures(result: RunResult, results: Sequence[RunResult]) -> Iterator[tuple[str, float]]:
    """Figures of one run by name; `results` holds the plain run that its step cost is compared with."""
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
        if plain.settings.variant == "plain" and plain.settings.seed == seed and plain.cpu_s > 0:
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


def _shown(table: ComparisonTable, method: str) -> str:
    given = _listed(table.method_settings[method])
    return f"; {given}" if given else ""


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {' and '.join(value) if isinstance(value, list) else value}" for name, value in settings.items()
    )


def _figure_cell(figure: Figure | None) -> str:
    return "" if figure is None else format_cell(figure.mean, figure.spread)


def _gain_cell(gain: Gain | None) -> str:
    return "" if gain is None else format_cell(gain.mean, gain.standard_error, signed=True)
