"""The command line with `serve` alone: a server starts in half the time without the modules of the other commands."""

from service.cli.options import Command
from service.cli.root import make_app
from service.cli.serving.serve import serve

app = make_app()
app.command(cls=Command)(serve)
