"""The commands of `steadfast`, each in a module of its own.

A command imports torch, pyarrow and other heavy libraries only when it runs, so that `--help` answers at once.
"""

from models.tasks.masked_words import MASKED_WORDS
from service.cli import certify, checking, doctor, explain, export, importing, listing, predict
from service.cli.files import merge, score
from service.cli.measuring import attack, evaluate, measure
from service.cli.options import Command, Group, ResumingCommand
from service.cli.root import make_app
from service.cli.serving import health, serve
from service.cli.training import compare, train
from service.cli.training.options import list_methods

app = make_app()

USING = "Use a model"
MAKING = "Make a model"

app.command(cls=Command, rich_help_panel=USING)(predict.predict)
app.command(cls=Command, rich_help_panel=USING)(explain.explain)
app.command(cls=ResumingCommand, rich_help_panel=USING)(score.score)
app.command(cls=Command, rich_help_panel=USING)(merge.merge)
app.command(cls=Command, rich_help_panel=USING)(certify.certify)
app.command(cls=Command, rich_help_panel=USING)(serve.serve)
app.command(cls=Command, rich_help_panel=USING)(health.health)
app.command(cls=Command, rich_help_panel=USING)(listing.models)
app.command(cls=Command, rich_help_panel=USING)(doctor.doctor)
app.command(cls=ResumingCommand, rich_help_panel=MAKING, epilog=list_methods())(train.train)
app.command(cls=ResumingCommand, rich_help_panel=MAKING, epilog=list_methods(MASKED_WORDS.head))(train.pretrain)
app.add_typer(checking.app, cls=Group, rich_help_panel=MAKING)
app.command(cls=Command, rich_help_panel=MAKING)(evaluate.evaluate)
app.command(cls=ResumingCommand, rich_help_panel=MAKING)(attack.attack)
app.command(cls=ResumingCommand, rich_help_panel=MAKING, epilog=list_methods())(compare.compare)
app.command(cls=Command, rich_help_panel=MAKING)(export.export)
app.command("import", cls=Command, rich_help_panel=MAKING)(importing.import_model)
app.command(cls=Command, rich_help_panel=MAKING)(measure.measure)
app.command(cls=Command, rich_help_panel=MAKING)(export.verify)
