"""`steadfast models`: what packages say of themselves, methods side by side."""

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
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Show the figures that packages were measured with, a column for each training method.

    ```sh
    steadfast models
    steadfast models packages/a packages/b --markdown
    ```

    A star marks the method that the package answers with, which is `imported` where it was trained elsewhere. The other
    columns are trainings on the same data by other methods or without noise, measured beside it. Further tables say
    what each package withstands beside these, and how faithful the explanations are, where an export measured that.
    Nothing is computed: the figures are in the packages.
    """
    folders = package_folders(read_settings(packages=packages or None))
    show_models(map(read_manifest, folders), as_markdown=markdown)


def show_models(manifests: Iterable[Manifest], *, as_markdown: bool) -> None:
    """Print a line for each task, data set and metric, with a column for each method; the method served is starred.

    Where robustness was measured, a second table has a line for each figure of the passport, and where explanations
    were, a third has one for each way of explaining.
    """
    manifests = list(manifests)
    methods = list(dict.fromkeys(method for manifest in manifests for method in _by_method(manifest)))
    head = ["task", "data", "metric", *methods]
    _print(head, [line for manifest in manifests for line in _lines(manifest, methods)], as_markdown=as_markdown)
    hardened = [
        (manifest.task, name, *_in_columns(manifest, methods, values))
        for manifest in manifests
        for name, *values in passport_table(manifest)
    ]
    if hardened:
        _print_next(("task", "figure", *methods), hardened, as_markdown=as_markdown)
    explained = [line for manifest in manifests for line in _explanation_lines(manifest)]
    if explained:
        _print_next(_EXPLANATION_HEAD, explained, as_markdown=as_markdown)


_EXPLANATION_HEAD = ("task", "explanation", "comprehensiveness", "sufficiency", "at random", "cost")


def _print_next(head: Sequence[str], lines: Sequence[Sequence[str]], *, as_markdown: bool) -> None:
    if as_markdown:
        typer.echo()
    _print(head, lines, as_markdown=as_markdown)


def _print(head: Sequence[str], lines: Sequence[Sequence[str]], *, as_markdown: bool) -> None:
    if as_markdown:
        Console(soft_wrap=True).out(markdown_table(head, lines), highlight=False)
        return
    table = Table()
    for name in head:
        # Of names cut at their ends, several would read alike.
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def _lines(manifest: Manifest, methods: Sequence[str]) -> Iterator[list[str]]:
    by_method = _by_method(manifest)
    if not manifest.quality.measured:
        cells = ["*" if method == manifest.variant else "" for method in methods]
        yield [manifest.task, "none", "not measured", *cells]
    for data, metrics in manifest.metrics.items():
        for metric in metrics:
            cells = [format_cell(by_method.get(method, {}).get(data, {}).get(metric)) for method in methods]
            served = methods.index(manifest.variant)
            cells[served] += " *"
            yield [manifest.task, data, metric, *cells]


def _in_columns(manifest: Manifest, methods: Sequence[str], values: Sequence[str]) -> list[str]:
    """The values of a package and its twins, each in the column of its method."""
    own = dict(zip((manifest.variant, *(twin.method for twin in manifest.twins)), values, strict=True))
    own[manifest.variant] += " *"
    return [own.get(method, "") for method in methods]


def _explanation_lines(manifest: Manifest) -> Iterator[list[str]]:
    for name, one in manifest.faithfulness.items():
        at_random = f"{one.random_comprehensiveness:.4f} / {one.random_sufficiency:.4f}"
        measures = (format_cell(one.comprehensiveness), format_cell(one.sufficiency))
        yield [manifest.task, name, *measures, at_random, f"{one.cost:.2f}"]


def _by_method(manifest: Manifest) -> dict[str, dict[str, dict[str, float]]]:
    return {manifest.variant: manifest.metrics} | {twin.method: twin.metrics for twin in manifest.twins}
