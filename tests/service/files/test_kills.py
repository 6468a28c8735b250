"""A run that is killed at any step goes on, and ends with the bytes of one that nothing disturbed."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import ROOT
from tests.service.files.scored import texts_of_many_lengths, write

KILLS = 5
"""For each kind of output."""

RUN = """
import os, signal, sys

steps, last = [0], int(sys.argv[1])

def counted(function):
    def step(*arguments, **options):
        steps[0] += 1
        if steps[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return step

os.fsync, os.replace, os.rmdir = map(counted, (os.fsync, os.replace, os.rmdir))

from service.files import partial
partial.FLUSH_RECORDS = 50
sys.argv = ["steadfast", *sys.argv[2:]]
from service.cli.commands import app
try:
    app()
finally:
    print(steps[0])
"""
"""The command, which kills itself before a step in which something gets safe on disk, gets its name or is removed."""


def run(kill_at: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(kill_at), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("target", ["out.parquet", "out/"])
def test_a_run_that_is_killed_at_some_steps_ends_as_if_it_never_was(package: Path, tmp_path: Path, target: str) -> None:
    rows = [{"n": number, "text": text} for number, text in enumerate([*texts_of_many_lengths(300), " "])]
    source = write(tmp_path / "in.jsonl", rows)
    words = ("score", "sentiment", source, "--package", package, "--errors", tmp_path / "bad.csv", "-o")
    whole = run(0, *words, f"{tmp_path}/{target}")
    assert whole.returncode == 3, whole.stderr
    expected = _take(tmp_path)
    steps = int(whole.stdout)
    for step in sorted(random.Random(target).sample(range(1, steps + 1), KILLS)):
        killed = run(step, *words, f"{tmp_path}/{target}")
        assert killed.returncode == -9, killed.stderr
        resumed = run(0, *words, f"{tmp_path}/{target}")
        if "exists already" in resumed.stderr:
            # Killed while nothing was left to do but to remove the folder of the run.
            assert not (tmp_path / f"{target.strip('/')}.partial" / "finished.json").exists()
        else:
            assert "301 records: 300 answered, 1 refused" in resumed.stderr, resumed.stderr
            assert resumed.returncode == 3
        shutil.rmtree(tmp_path / f"{target.strip('/')}.partial", ignore_errors=True)
        assert _take(tmp_path) == expected, step


def _take(folder: Path) -> dict[str, bytes]:
    """The contents of all files that a run left, which are removed."""
    made = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "in.jsonl":
            made[str(path.relative_to(folder))] = path.read_bytes()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "in.jsonl":
            path.unlink()
    assert made
    assert json.loads(next(content for name, content in made.items() if name.endswith("run.json")))
    return made
