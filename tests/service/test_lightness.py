"""Serving loads nothing that trains or reads files: every process that is started here is kept from importing it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import Server, steadfast

HEAVY = ("torch", "transformers", "optimum", "sklearn", "datasets", "accelerate", "onnx")
FILES = ("pyarrow", "pandas", "huggingface_hub")


def block(*modules: str) -> str:
    """A `sitecustomize.py` with which a Python process cannot import the modules."""
    return f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"{{name}} is not there when serving", name=name)

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def light(tmp_path: Path) -> dict[str, str]:
    """An environment in which no Python process imports what trains."""
    return environment_without(tmp_path, *HEAVY)


@pytest.fixture
def lightest(tmp_path: Path) -> dict[str, str]:
    """An environment in which no Python process imports what trains, or what reads files other than text."""
    return environment_without(tmp_path, *HEAVY, *FILES)


def environment_without(folder: Path, *modules: str) -> dict[str, str]:
    """Variables with which every Python process starts with a blocker, which is written to `folder`."""
    (folder / "sitecustomize.py").write_text(block(*modules))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("module", ["torch", "pyarrow"])
def test_the_blocker_blocks(lightest: dict[str, str], module: str) -> None:
    command = [sys.executable, "-c", f"import {module}"]
    tried = subprocess.run(command, env={**os.environ, **lightest}, capture_output=True, text=True, check=False)
    assert f"{module} is not there when serving" in tried.stderr


def test_a_server_answers_without_them(
    start_server: Callable[..., Server], package: Path, lightest: dict[str, str]
) -> None:
    server = start_server(package, environment=lightest)
    assert server.ask(inputs=["the film was good"], explain="rollout").json()["results"][0]["label"] == "positive"


def test_predict_answers_without_the_extra_for_files(package: Path, lightest: dict[str, str]) -> None:
    environment = {**os.environ, **lightest}
    said = steadfast("predict", "sentiment", "awful", "--json", "--package", package, env=environment).stdout
    assert json.loads(said)[0]["label"] == "negative"


def test_predict_and_score_answer_without_them(package: Path, tmp_path: Path, light: dict[str, str]) -> None:
    environment = {**os.environ, **light}
    said = steadfast("predict", "sentiment", "awful", "--json", "--package", package, env=environment).stdout
    assert json.loads(said)[0]["label"] == "negative"
    (tmp_path / "in.csv").write_text("text\nawful\n")
    completed = steadfast(
        "score", "sentiment", tmp_path / "in.csv", "-o", tmp_path / "out.parquet", "--package", package, env=environment
    )
    assert completed.returncode == 0


def test_text_is_scored_without_the_extra_for_files(package: Path, tmp_path: Path, lightest: dict[str, str]) -> None:
    environment = {**os.environ, **lightest}
    (tmp_path / "in.csv").write_text("text\nawful\n")
    for source, target in (("in.csv", "out.jsonl.zst"), ("out.jsonl.zst", "again.csv")):
        words = ("score", "sentiment", tmp_path / source, "-o", tmp_path / target, "--package", package)
        assert steadfast(*words, env=environment).returncode == 0
    refused = steadfast(*words[:3], "-o", tmp_path / "out.parquet", "--package", package, env=environment)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "need pyarrow; run pip install -e '.[files]' in a clone" in refused.stderr
