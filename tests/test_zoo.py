"""The packages that come along answer here as they did where they were made, and can be made again."""

import subprocess
from pathlib import Path

import pytest

from export.verification import verify_package
from models.tasks import TASKS
from models.training.settings import check_settings, read_toml

ZOO = Path(__file__).parents[1] / "zoo"


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ZOO.glob("*/package.json")), ids=lambda path: path.name
)
def test_every_package_of_the_zoo_verifies(folder: Path) -> None:
    failed = [f"{check.name}: {check.detail}" for check in verify_package(folder).checks if not check.passed]
    assert failed == []


@pytest.mark.parametrize("file", sorted(ZOO.glob("*.toml")), ids=lambda path: path.stem)
def test_what_a_package_was_trained_by_are_settings_that_train_takes(file: Path) -> None:
    given = read_toml(file)
    settings = check_settings({"base": "base", **given, "source": {"data": "folder", **given["source"]}})
    assert settings.task == file.stem
    assert settings.method == "asa"


def test_every_task_that_make_zoo_builds_has_a_file_of_settings() -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "zoo", "DATA=data"], cwd=ZOO.parent, check=True, capture_output=True, text=True
    ).stdout
    (tasks,) = (line for line in printed.splitlines() if line.startswith("for task in "))
    built = set(tasks.partition(" in ")[2].partition(";")[0].split())
    assert built == {file.stem for file in ZOO.glob("*.toml")} <= TASKS.keys()
