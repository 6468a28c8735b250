"""`steadfast health`: whether a server is ready."""

import os
from typing import Annotated

import typer

from service.health import report_health


def health(
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Server to ask. Without it: this machine's, by STEADFAST_HOST and _PORT."
        ),
    ] = None,
) -> None:
    """Ask a server whether it is ready to answer.

    ```sh
    steadfast health
    steadfast health --url http://10.0.0.7:3000
    ```

    The exit code is 0 if every model is loaded and reproduces its probes, else 1, and a sentence says why. No library
    is imported for it, so that a container can ask often.
    """
    # `service.cli` answers the plain forms of this command without coming here.
    raise typer.Exit(report_health(url, os.environ))
