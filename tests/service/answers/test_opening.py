"""Packages that answer outside the server: by the graph that gives here what it gave where it was made."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import UserNotice
from models.tasks.task import TextItem
from service.answers.contract import Options
from service.answers.opening import ProbeFailed, open_measured, open_predictor
from steadfast import load


def test_int8_that_gives_something_else_here_is_replaced_by_fp32_and_that_is_said(fallen: Path) -> None:
    with (
        pytest.warns(UserNotice, match="int8 gives other answers here than where it was made; fp32 answers"),
        open_measured(fallen) as predictor,
    ):
        assert predictor.name.precision == "fp32"
    with pytest.warns(UserNotice), load("sentiment", package=fallen) as model:
        assert model.name.precision == "fp32"


def test_the_command_says_so_in_one_line(fallen: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "predict", "sentiment", "a good film", "--package", str(fallen)]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)
    assert ran.stderr == (
        f"steadfast: {fallen}: int8 gives other answers here than where it was made; fp32 answers, which takes longer\n"
    )


def test_int8_that_gives_something_else_here_answers_nobody_without_fp32(unreproduced: Path) -> None:
    for opening in (open_measured(unreproduced), open_predictor("sentiment", unreproduced)):
        with pytest.raises(ProbeFailed, match=r"off by .* in int8, more than 0\.15"), opening:
            pass


def test_the_settings_of_models_count(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_MAX_UNKNOWN_SHARE", "0.5")
    with open_predictor("sentiment", package) as predictor:
        answers = predictor.answer([TextItem(text="\N{SNOWMAN}"), TextItem(text="good")], Options(on_error="report"))
    assert [result.index for result in answers.results] == [1]
    assert [one.reason.code for one in answers.rejected] == ["unknown_words"]
