"""`steadfast serve`: the server's settings as options, then the server."""

from typing import Annotated

import typer

from service.cli.options import PackageFolders
from service.settings import read_settings


def serve(
    packages: PackageFolders = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer; default: 1.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Batches that each worker computes at once; default: its share of the cores.")
    ] = None,
    max_items: Annotated[int | None, typer.Option(help="Most inputs in one request.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Largest request body.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show the settings in force and stop.")] = False,
) -> None:
    """Answer over HTTP until stopped.

    Packages are checked before anything starts. Then, for instance:

        steadfast serve zoo/sentiment --port 8000

        curl localhost:8000/v1/sentiment -H 'Content-Type: application/json' -d '{"inputs": ["not bad at all"]}'

    `/docs.json` describes every address, `/v1/models` the models, `/readyz` says whether they are loaded.
    """
    from service.cli.launch import become_server

    settings = read_settings(
        packages=packages or None,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        max_items=max_items,
        max_body_bytes=max_body_bytes,
    )
    if print_config:
        for name, value in settings.as_environment().items():
            typer.echo(f"{name}={value}")
        return
    become_server(settings)
