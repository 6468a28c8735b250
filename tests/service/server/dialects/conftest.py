"""One server that answers every task, which all dialects ask; and clients that others wrote."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import ROOT, Server
from tests.tiny import make_items

EXTRACTIVE = "extractive-reading-comprehension"
CLIENTS = Path(__file__).parent / "clients"
ENVIRONMENTS = ROOT / "build" / "clients"


@pytest.fixture(scope="session")
def every_task(start_server: Callable[..., Server], every_package: list[Path]) -> Server:
    """A server of the zoo, and of models for the tasks that it has none for."""
    return start_server(*every_package)


def ask_natively(server: Server, endpoint: str, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    """The results of items, by our own protocol."""
    answer = server.client.post(f"/v1/{endpoint}", json={"inputs": items, **options})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def items_of(task: str, count: int) -> list[dict[str, Any]]:
    """Items of a task; words that the model of the zoo knows stand in them."""
    return make_items(task, count)


@cache
def client_python(name: str) -> Path:
    """The Python of an environment with the packages of `clients/NAME.txt`, or of these tests for "installed".

    It is made the first time, which needs a package index; the test is skipped where it cannot be.
    """
    if name == "installed":
        return Path(sys.executable)
    wanted = CLIENTS / f"{name}.txt"
    folder = ENVIRONMENTS / name
    python, installed = folder / "bin" / "python", folder / "installed"
    if not installed.is_file() or installed.read_text() != wanted.read_text():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{wanted.name} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
        installed.write_text(wanted.read_text())
    return python


def run_client(name: str, server: Server, request: object, *, environment: str | None = None) -> Any:
    """What the program `clients/NAME.py` prints for a request, in an environment with its client."""
    command = [str(client_python(environment or name)), str(CLIENTS / f"{name}.py"), f"http://127.0.0.1:{server.port}"]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        # Else its client asks nobody, this server either.
        env=os.environ | {"HF_HUB_OFFLINE": "0"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
