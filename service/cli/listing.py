"""`steadfast models`: what packages say of themselves, beside their twins."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from export.figures.stated import passport_table
from export.package import Manifest, read_manifest
from models.tables import format_cell, markdown_table
from service.answers.packages import package_folders
from service.cli.options import PackageFolders
from service.settings import read_settings


def models(
    packages: PackageFolders = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
) -> None:
    """Show the figures that packages were measured with, beside those of their twins.

    ```sh
    steadfast models
    steadfast models packages/a packages/b --markdown
    ```

    The first table names the method of each package, beside its task (and the beginning of its digest where several
    have one task), which is `imported` where it was trained elsewhere. In the next, the column `package` has its
    figures, and the others those of trainings on the same data by other methods or without noise, or of the package
    before it was changed, measured beside it. Further tables say what each package withstands beside these, and how
    faithful the explanations are, where an export measured that. Nothing is computed: the figures are in the packages.
    """
    folders = package_folders(read_settings(packages=packages or None))
    show_models(map(read_manifest, folders), as_markdown=markdown)


def show_models(manifests: Iterable[Manifest], *, as_markdown: bool) -> None:
    """Print the method of each package, and its figures on its validation parts, beside those of its twins.

    Where robustness was measured, a further table has a line for each figure of the passport, and where explanations
    were, one more has a line for each way of explaining.
    """
    manifests = list(manifests)
    named = list(zip(_names(manifests), manifests, strict=True))
    twins = list(dict.fromkeys(twin.method for manifest in manifests for twin in manifest.twins))
    tables: list[tuple[Sequence[str], list[Sequence[str]]]] = [
        (("task", "method of the package"), [(name, one.variant) for name, one in named]),
        (
            ("task", "data", "metric", "package", *twins),
            [(name, *line) for name, one in named for line in _lines(one, twins)],
        ),
        (
            ("task", "figure", "package", *twins),
            [
                (name, figure, own, *_in_columns(one, twins, others))
                for name, one in named
                for figure, own, *others in passport_table(one)
            ],
        ),
        (
            _EXPLANATION_HEAD,
            [(name, *line) for name, one in named for line in _explanation_lines(one)],
        ),
    ]
    shown = [(head, lines) for head, lines in tables if lines]
    if as_markdown:
        text = "\n\n".join(markdown_table(head, lines) for head, lines in shown)
        Console(soft_wrap=True).out(text, highlight=False)
        return
    for head, lines in shown:
        Console().print(_table(head, lines))


_EXPLANATION_HEAD = ("task", "explanation", "comprehensiveness", "sufficiency", "at random", "cost")

_FIGURE = re.compile(r"[\d.]+")


def _names(manifests: Sequence[Manifest]) -> list[str]:
    """The task of each package, with the beginning of its digest where others have the same."""
    often = Counter(manifest.task for manifest in manifests)
    return [one.task if often[one.task] == 1 else f"{one.task} {one.digest[:8]}" for one in manifests]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table()
    for name, *cells in zip(head, *lines, strict=True):
        # Narrow terminals break no figure. Of names cut at their ends, several would read alike.
        width = max((len(figure) for cell in cells for figure in _FIGURE.findall(cell)), default=0)
        table.add_column(name, overflow="fold", min_width=width)
    for line in lines:
        table.add_row(*line)
    return table


def _lines(manifest: Manifest, twins: Sequence[str]) -> Iterator[Sequence[str]]:
    if not manifest.quality.measured:
        yield "none", "", "not measured", *("" for _ in twins)
    for data, metrics in manifest.metrics.items():
        for metric in metrics:
            others = [format_cell(twin.metrics.get(data, {}).get(metric)) for twin in manifest.twins]
            own = format_cell(metrics[metric])
            yield data, metric, own, *_in_columns(manifest, twins, others)


def _in_columns(manifest: Manifest, twins: Sequence[str], values: Sequence[str]) -> list[str]:
    """The values of a package's twins, each in the column of its method."""
    own = dict(zip((twin.method for twin in manifest.twins), values, strict=True))
    return [own.get(method, "") for method in twins]


def _explanation_lines(manifest: Manifest) -> Iterator[list[str]]:
    for name, one in manifest.faithfulness.items():
        at_random = f"{one.random_comprehensiveness:.4f} / {one.random_sufficiency:.4f}"
        measures = (format_cell(one.comprehensiveness), format_cell(one.sufficiency))
        yield [name, *measures, at_random, f"{one.cost:.2f}"]
