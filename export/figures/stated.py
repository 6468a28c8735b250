"""The figures that a package states of itself, by the names by which they are shown and demanded."""

from collections.abc import Sequence

from export.figures.passport import Passport
from export.package import Manifest, Twin
from models.tables import format_cell

NAME_GAP = "name-gap"

Stated = Manifest | Twin
"""Whatever holds metrics and a passport."""


def list_figures(stated: Stated) -> dict[str, float]:
    """All figures, by name.

    These are the metrics on the validation part, such as `accuracy`; the share of answers that stand under each attack,
    such as `typos-1`; the metrics of the passport, such as `HANS/accuracy`; and `name-gap`.
    """
    return dict(next(iter(stated.metrics.values()), {})) | _of_passport(stated.passport)


def list_headlines(manifest: Manifest) -> dict[str, float]:
    """The figures that tell most: of each noisy or misleading set the task's metric, consistency or failure rate."""
    told = (manifest.quality.metric, "consistency", "failure_rate")
    return {name: value for name, value in list_figures(manifest).items() if name.rpartition("/")[2] in (*told, name)}


def passport_table(manifest: Manifest) -> list[tuple[str, ...]]:
    """A line for each headline of the passport: its name, its value here and in each twin; empty without a passport."""
    if manifest.passport is None:
        return []
    columns: Sequence[Stated] = (manifest, *manifest.twins)
    figures = [_of_passport(one.passport) for one in columns]
    errors = [_standard_errors(one.passport) for one in columns]
    return [
        (name, *(format_cell(own.get(name), error.get(name)) for own, error in zip(figures, errors, strict=True)))
        for name in list_headlines(manifest)
        if name in figures[0]
    ]


def _of_passport(passport: Passport | None) -> dict[str, float]:
    if passport is None:
        return {}
    figures = {one.name: one.under_attack for one in passport.attacks}
    for data, metrics in passport.metrics.items():
        figures |= {f"{data}/{metric}": value for metric, value in metrics.items() if metric != "rows"}
    return figures | ({} if passport.name_gap is None else {NAME_GAP: passport.name_gap.gap})


def _standard_errors(passport: Passport | None) -> dict[str, float]:
    return {} if passport is None else {one.name: one.standard_error for one in passport.attacks}
