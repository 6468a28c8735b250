"""Ctrl-C while a command starts: it ends with one line, whatever is being imported."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import typer

import service.cli
from service.cli import STOPPED, STOPPED_EARLY
from service.cli.options import Command, ResumingCommand

ROOT = Path(__file__).parents[3]

INTERRUPTING = """
import importlib.abc, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            {interrupt}

# A shell that starts the tests in the background lets them ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["steadfast", *{arguments!r}]
{start}
"""

RAISING = "signal.raise_signal(signal.SIGINT)"
TURNED = """
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                # As extensions do whose own imports fail.
                raise ImportError("initialization failed") from None
"""
RESUMING = ResumingCommand.stopped

STARTS = {
    "script": "from service.cli import main; main()",
    "module": "import runpy; runpy.run_module('service.cli', run_name='__main__', alter_sys=True)",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("typer", STOPPED_EARLY),
        ("pydantic", STOPPED_EARLY),
        ("service.cli.commands", STOPPED_EARLY),
        ("numpy", STOPPED_EARLY),
        ("service.answers.opening", STOPPED),
    ],
)
def test_a_command_that_is_interrupted_while_it_starts_says_one_line(start: str, module: str, line: str) -> None:
    assert _interrupted(module, ["predict", "sentiment", "good"], start=start) == (130, "", f"{line}\n")


def test_an_error_after_a_command_has_answered_ctrl_c_is_told_as_what_it_is() -> None:
    app = typer.Typer()

    @app.command(cls=Command)
    def measure() -> None:
        with suppress(KeyboardInterrupt):
            service.cli._interrupt(signal.SIGINT, None)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        app([], standalone_mode=False)


COMMANDS = {
    "train --task sentiment --method plain --base {folder} --data {folder} --out {folder}/new": RESUMING,
    "compare --task sentiment --methods plain --base {folder} --data {folder} --out {folder}/new": RESUMING,
    "import {folder} --task sentiment --labels negative,positive -o {folder}/new": STOPPED,
}


@pytest.mark.parametrize("interrupt", [RAISING, TURNED])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_interrupted_while_it_looks_for_torch_says_how_to_go_on(
    command: str, interrupt: str, tmp_path: Path
) -> None:
    arguments = command.format(folder=tmp_path).split()
    said = _interrupted("torch", arguments, interrupt=interrupt)
    assert said == (130, "", f"{COMMANDS[command]}\n")
    assert list(tmp_path.iterdir()) == []


def _interrupted(
    module: str, arguments: list[str], *, start: str = "script", interrupt: str = RAISING
) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command that gets Ctrl-C when it imports the module."""
    code = INTERRUPTING.format(module=module, arguments=arguments, start=STARTS[start], interrupt=interrupt)
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr
