"""Serving loads nothing that trains: every process that is started here is kept from importing it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import Server, steadfast

HEAVY = ("torch", "transformers", "optimum", "sklearn", "datasets", "accelerate", "onnx")


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


BLOCK = block(*HEAVY)


@pytest.fixture
def light(tmp_path: Path) -> dict[str, str]:
    """An environment in which every Python process starts with the blocker."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    return {"PYTHONPATH": str(tmp_path)}


def test_the_blocker_blocks(light: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import torch"]
    tried = subprocess.run(command, env={**os.environ, **light}, capture_output=True, text=True, check=False)
    assert "torch is not there when serving" in tried.stderr


def test_a_server_answers_without_them(
    start_server: Callable[..., Server], package: Path, light: dict[str, str]
) -> None:
    server = start_server(package, environment=light)
    assert server.ask(inputs=["the film was good"], explain="rollout").json()["results"][0]["label"] == "positive"


def test_predict_and_score_answer_without_them(package: Path, tmp_path: Path, light: dict[str, str]) -> None:
    environment = {**os.environ, **light}
    said = steadfast("predict", "sentiment", "awful", "--json", "--package", package, env=environment).stdout
    assert json.loads(said)[0]["label"] == "negative"
    (tmp_path / "in.csv").write_text("text\nawful\n")
    completed = steadfast(
        "score", "sentiment", tmp_path / "in.csv", "-o", tmp_path / "out.parquet", "--package", package, env=environment
    )
    assert completed.returncode == 0
