"""The wheel: built, installed beside nothing of a clone, and used from a folder that is empty."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import Client
from tests.service.conftest import free_port, wait_for

ROOT = Path(__file__).parents[2]
SOURCES = ("models", "export", "service", "steadfast", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a new wheel is installed."""
    pytest.importorskip("hatchling", reason="`make install-dev` installs what builds wheels")
    # A copy: a build must not leave files in the clone.
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, source], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", target, *wheels.glob("*.whl")], check=True)
    return target


@pytest.fixture
def elsewhere(installed: Path, tmp_path: Path) -> dict[str, Any]:
    """How a process is started that has the wheel, and an empty folder to work in."""
    folder = tmp_path / "empty"
    folder.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("STEADFAST_")}
    return {"cwd": folder, "env": own | {"PYTHONPATH": str(installed), "STEADFAST_CACHE": "off"}}


@pytest.fixture
def zoo(package: Path, tmp_path: Path) -> Path:
    """A folder that holds one package."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "sentiment").symlink_to(package)
    return folder


def run(installed: Path, *arguments: object, **started: Any) -> subprocess.CompletedProcess[str]:
    command = [str(installed / "bin" / "steadfast"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **started)


@pytest.mark.parametrize(
    "command",
    [["serve"], ["score", "sentiment", "in.csv", "-o", "out.csv"]],
    ids=lambda command: command[0],
)
def test_without_packages_it_says_where_it_looked(
    installed: Path, elsewhere: dict[str, Any], command: list[str]
) -> None:
    done = run(installed, *command, **elsewhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "steadfast: there are no packages: neither the command nor STEADFAST_PACKAGES names one, STEADFAST_ZOO is not "
        f"set, and {installed}/zoo does not exist; name the folder of one made by `steadfast export`, or set "
        "STEADFAST_ZOO to a folder that holds some, such as zoo in a clone of Steadfast\n"
    )


def test_commands_and_programs_answer_by_the_zoo_that_is_named(
    installed: Path, elsewhere: dict[str, Any], zoo: Path
) -> None:
    elsewhere["env"]["STEADFAST_ZOO"] = str(zoo)
    (elsewhere["cwd"] / "in.csv").write_text("text\ngood\n")
    for command, said in {
        ("predict", "sentiment", "good"): "positive",
        ("models",): "sentiment",
        ("score", "sentiment", "in.csv", "-o", "-", "--no-scores"): "good,positive,",
    }.items():
        done = run(installed, *command, **elsewhere)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    code = "import steadfast; print(steadfast.__version__, steadfast.load('sentiment').score(['good'])[0].label)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **elsewhere)
    assert ran.stdout == "0.1.0 positive\n"


def test_a_server_answers_and_has_its_page(installed: Path, elsewhere: dict[str, Any], zoo: Path) -> None:
    port = free_port()
    with serving([installed / "bin" / "steadfast", "serve", "--zoo", zoo, "--port", str(port)], elsewhere):
        wait_for(lambda: run(installed, "health", "--url", f"http://127.0.0.1:{port}", **elsewhere).returncode == 0)
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.ask("sentiment", ["good"]).results[0].label == "positive"
        assert "<html" in httpx.get(f"http://127.0.0.1:{port}/").text


@contextmanager
def serving(command: list[Any], started: dict[str, Any]) -> Iterator[None]:
    """A server, until the block ends."""
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, **started)
    try:
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
