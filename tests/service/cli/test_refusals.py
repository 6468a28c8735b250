"""Mistakes in the arguments of a command that trains or exports are said before torch is loaded.

The processes here cannot load it: a command that answers at all has answered without it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import ROOT
from tests.service.test_lightness import block
from tests.tiny import write_sentiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    """A folder with data, a package, a settings file and a folder that is neither; torch cannot be imported in it."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "light").mkdir()
    (folder / "light" / "sitecustomize.py").write_text(block("torch", "transformers", "optimum", "accelerate", "onnx"))
    write_sentiment(folder / "data", train=8, validation=8)
    (folder / "package").symlink_to(package)
    (folder / "base").mkdir()
    (folder / "run.toml").write_text('task = "sentiment"\nbase = "base"\n[source]\ndata = "data"\n')
    (folder / "broken.toml").write_text("task = ")
    return folder


RUN_ALL = """
import contextlib, io, json, sys
from service.cli import main

ended = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["steadfast", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            ended.append((end.code, said.getvalue()))
print(json.dumps(ended))
"""
"""Runs one command after another in one process: a process each takes a second."""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = {"PYTHONPATH": f"{folder / 'light'}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | source,
        capture_output=True,
        text=True,
        check=False,
    )


TRAIN = ("train", "--config", "run.toml")
PRETRAIN = ("pretrain", "--base", "base", "--data", "data")
IMPORT = ("import", "base", "-o", "new")
COMPARE = ("compare", "--config", "run.toml", "--out", "compared")

A_PACKAGE = "package: is a package, which holds a finished graph"

REFUSED = [
    ((*TRAIN, "--method", "asb"), "no training method 'asb'; choose one of: plain, asa"),
    ((*TRAIN, "--task", "sentimnt"), "no task 'sentimnt'; choose one of: sentiment"),
    ((*TRAIN, "--out", "data"), "data: exists already; choose another name or remove it"),
    ((*TRAIN, "--base", "./bass"), "./bass: no such folder"),
    ((*TRAIN, "--base", "models/of/mine"), "models/of/mine: no such folder"),
    ((*TRAIN, "--base", "package"), f"{A_PACKAGE}; train from the checkpoint that it was exported from"),
    ((*PRETRAIN[:1], "--base", "package", *PRETRAIN[3:]), f"{A_PACKAGE}; train from the checkpoint"),
    ((*COMPARE, "--methods", "plain", "--base", "package"), f"{A_PACKAGE}; train from the checkpoint"),
    (("import", "package", "--task", "sentiment", "-o", "new"), f"{A_PACKAGE}; serve it as it is: steadfast serve"),
    (("export", "package", "-o", "new"), f"{A_PACKAGE}; serve it as it is: steadfast serve package; or name"),
    ((*TRAIN, "--data", "data/sentimnt"), "data/sentimnt: no such folder"),
    ((*TRAIN, "--data", "~/nowhere"), "~/nowhere: no such folder"),
    ((*TRAIN, "--epochs", "0"), "settings: epochs: must be more than 0"),
    (("train", "--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
    (("train", "--config", "broken.toml"), "broken.toml: not TOML"),
    (("train", "--task", "sentiment"), "settings: base is not set; pass --base"),
    ((*PRETRAIN, "--method", "afa"), "method afa means nothing for masked-words; choose one of: plain"),
    ((*PRETRAIN, "--out", "data"), "data: exists already"),
    ((*COMPARE, "--methods", "plain,asb"), "no training method 'asb'"),
    ((*COMPARE, "--methods", "plain", "--data", "./dta"), "./dta: no such folder"),
    ((*TRAIN, "--noise", "typo"), "no noise 'typo'; choose from: typos"),
    ((*TRAIN, "--noise-copies", "3"), "copies: there are no noisy copies; name families of noise, or leave it out"),
    ((*TRAIN, "--noise", "typos", "--contrast-pairs", "0.1"), "sentiment does not compare two texts by label"),
    ((*COMPARE, "--methods", "asa,asa+noise"), "there is no noise to train with; give --noise or --word-noise"),
    ((*COMPARE, "--methods", "asa+noise", "--word-noise", "0"), "there is no noise to train with; give --noise or"),
    (
        (*COMPARE, "--methods", "asa", "--noise", "typos"),
        "none is trained with the noise that is given; name asa+noise",
    ),
    (("evaluate", "nowhere", "--data", "data"), "nowhere: no such folder"),
    (("evaluate", "data", "--data", "data", "--part", "train"), "data: not a checkpoint"),
    (("evaluate", "package", "--data", "./dta"), "./dta: no such folder"),
    (
        ("evaluate", "data", "--data", "data", "--explanations"),
        "data/package.json: missing; a package",
    ),
    (("evaluate", "package", "--data", "data", "--explanations"), "package does not say what it was measured on"),
    (("evaluate", "package", "--data", "./dta", "--explanations", "--part", "train"), "./dta: no such folder"),
    (("export", "nowhere", "-o", "new"), "nowhere: no such folder"),
    (("export", "data", "-o", "package"), "package: exists already; packages are never overwritten"),
    (("export", "data", "-o", "new", "--name", "A B"), "package name 'A B'; use at most 64"),
    ((*IMPORT, "--task", "sentimnt"), "no task 'sentimnt'; choose one of: sentiment"),
    (
        (*IMPORT, "--task", "masked-words"),
        "masked-words answers nothing that could be served; choose",
    ),
    ((*IMPORT, "--task", "sts"), "does not say in which range its numbers are; give it, such as --score-range 0 5"),
    ((*IMPORT, "--task", "sts", "--score-range", "1", "0"), "--score-range: the first number must be the lower"),
    ((*IMPORT, "--task", "nli", "--score-range", "0", "1"), "--score-range: nli gives no score; leave it out"),
    ((*IMPORT, "--task", "nli", "--data", "./dta"), "./dta: no such folder"),
    ((*IMPORT, "--task", "nli", "--name", "A B"), "package name 'A B'; use at most 64"),
    (("import", "./bass", "--task", "nli", "-o", "new"), "./bass: no such folder"),
    (("import", "base", "--task", "nli", "-o", "package"), "package: exists already; packages are never overwritten"),
    (("verify", "data"), "package.json: missing"),
    (("verify", "package", "--checkpoint", "data"), "data: not a checkpoint"),
    (("verify", "package", "--data", "./dta"), "./dta: no such folder"),
]


@pytest.fixture(scope="module")
def refusals(folder: Path) -> list[tuple[int, str]]:
    """Exit code and stderr of each command, in the order of `REFUSED`."""
    ran = python(folder, "-c", RUN_ALL, json.dumps([arguments for arguments, _ in REFUSED]))
    assert ran.returncode == 0, ran.stderr
    return [(code, said) for code, said in json.loads(ran.stdout)]


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_a_mistake_is_said_without_torch(refusals: list[tuple[int, str]], case: int) -> None:
    code, said = refusals[case]
    assert code == 2
    assert said.startswith("steadfast: ")
    assert REFUSED[case][1] in said
    assert said.count("\n") == 1


def test_a_package_is_measured_without_torch(folder: Path) -> None:
    measured = python(
        folder, "-m", "service.cli", "evaluate", "package", "--data", "data", "--part", "validation", "--json"
    )
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)["validation"]["rows"] == 8


def test_explanations_are_measured_without_torch(folder: Path) -> None:
    part = ("--data", "data", "--part", "validation", "--explanations", "--json")
    measured = python(folder, "-m", "service.cli", "evaluate", "package", *part)
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)[0]["explanations"]["rows"] == 8


def test_a_package_is_verified_without_torch(folder: Path) -> None:
    assert python(folder, "-m", "service.cli", "verify", "package").returncode == 0
