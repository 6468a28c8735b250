"""Which packages answer."""

import re
from pathlib import Path

import pytest

from service.packages import NoPackage, TwoPackages, open_package_for, open_packages
from service.settings import Settings
from tests.service.tiny import build_package


def test_the_zoos_packages_are_all_opened(package: Path) -> None:
    assert list(open_packages(Settings(zoo=package.parent))) == ["sentiment"]


def test_a_package_that_is_being_made_is_not_of_the_zoo(tmp_path: Path) -> None:
    made = build_package(tmp_path / "made")
    build_package(tmp_path / ".making-made")
    assert [package.folder for package in open_packages(Settings(zoo=tmp_path)).values()] == [made]


def test_packages_that_are_named_win_over_the_zoo(package: Path, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other", name="other")
    assert open_package_for("sentiment", Settings(zoo=package.parent, packages=(other,))).manifest.name == "other"


def test_an_empty_zoo_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoPackage, match="holds no packages; name the folder of one made by `steadfast export`"):
        open_packages(Settings(zoo=tmp_path))


def test_two_packages_of_one_task_are_refused(package: Path, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other")
    with pytest.raises(TwoPackages, match=f"{re.escape(f'{package} and {other}')} both answer sentiment"):
        open_packages(Settings(packages=(package, other)))
