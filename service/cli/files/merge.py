"""`steadfast merge`: the outputs of all shards of a run as one."""

from typing import Annotated

import typer


def merge(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="The output that each shard was given by `-o`: `scored.parquet`.")
    ],
    output_format: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Kind of the shards, as `score` was given it. Without it: by the name."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Join what `score --shard` wrote.

    ```sh
    steadfast score sentiment reviews.csv -o scored.csv --shard 1/2
    steadfast score sentiment reviews.csv -o scored.csv --shard 2/2
    steadfast merge scored.csv
    ```

    The shards, `scored.1-of-2.csv` and so on, must lie beside OUTPUT and belong to one run. They stay where they are.
    """
    from service.files import merging

    counts = merging.merge(output, overwrite=overwrite, kind=output_format)
    typer.echo(str(counts), err=True)
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)
