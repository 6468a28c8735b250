"""The packages that come along answer here as they did where they were made."""

from pathlib import Path

import pytest

from export.verification import verify_package

ZOO = Path(__file__).parents[1] / "zoo"


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ZOO.glob("*/package.json")), ids=lambda path: path.name
)
def test_every_package_of_the_zoo_verifies(folder: Path) -> None:
    failed = [f"{check.name}: {check.detail}" for check in verify_package(folder).checks if not check.passed]
    assert failed == []
