"""`steadfast merge`: the outputs of all shards of a run as one."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.files.ending import check_beside, show


def merge(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="The output that each shard was given by `-o`: `scored.parquet`.")
    ],
    output_format: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Kind of the shards, as `score` was given it. Without it: by the name."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the summary as JSON; a file of that name is replaced.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the summary as a page with plots; a page of that name is replaced."),
    ] = None,
) -> None:
    """Join what `score --shard` wrote.

    ```sh
    steadfast score sentiment reviews.csv -o scored.csv --shard 1/2
    steadfast score sentiment reviews.csv -o scored.csv --shard 2/2
    steadfast merge scored.csv
    ```

    The shards, `scored.1-of-2.csv` and so on, must lie beside OUTPUT and belong to one run. They stay where they are.
    The summary at the end is that of the whole run.
    """
    from service.files import merging

    check_beside(summary, report)
    beside = {option: path for option, path in (("--summary", summary), ("--report", report)) if path}
    merged = merging.merge(output, overwrite=overwrite, kind=output_format, beside=beside)
    show(merged.counts, ", ".join(merged.sources), summary, report)
