"""`steadfast serve` starts without the modules of other commands, and is the same command."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from service.cli import commands
from service.cli.serving import alone
from tests.service.conftest import ROOT, steadfast

LOADED = """
import json, sys
sys.argv[1:] = ["serve", "--print-config"]
from service.cli import main
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_serve_alone_has_the_help_of_serve_among_all_commands() -> None:
    asked = [CliRunner().invoke(app, ["serve", "--help"], prog_name="steadfast") for app in (commands.app, alone.app)]
    assert asked[0].stdout == asked[1].stdout
    assert "--port" in asked[0].stdout


def test_serve_loads_no_other_command_and_computes_nothing() -> None:
    asked = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(asked.stderr))
    assert "service.cli.serving.serve" in loaded
    assert loaded.isdisjoint({"service.cli.commands", "service.answers.predictor", "onnxruntime", "bentoml", "pyarrow"})


def test_an_option_that_serve_lacks_is_refused_as_everywhere() -> None:
    asked = steadfast("serve", "--colour")
    assert (asked.returncode, "No such option: --colour" in asked.stderr) == (2, True)
