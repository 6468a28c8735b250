"""Ctrl-C while a command starts: it ends quietly, whatever is being imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

INTERRUPTING = """
import importlib.abc, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

# A shell that starts the tests in the background lets them ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["steadfast", "predict", "sentiment", "good"]
{start}
"""

STARTS = {
    "script": "from service.cli import main; main()",
    "module": "import runpy; runpy.run_module('service.cli', run_name='__main__', alter_sys=True)",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("module", ["typer", "pydantic", "service.cli.commands", "numpy", "service.answers.opening"])
def test_a_command_that_is_interrupted_while_it_starts_is_quiet(start: str, module: str) -> None:
    code = INTERRUPTING.format(module=module, start=STARTS[start])
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
