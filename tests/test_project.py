"""The project as a whole: what is pinned, and who may install packages of our names."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from service.version import VERSION

ROOT = Path(__file__).parents[1]
OURS = ("models", "export", "service", "steadfast")


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {_name(line): line.partition("==")[2] for line in lines if not line.startswith("#")}


def test_the_sources_have_the_version_of_the_project() -> None:
    assert _pyproject()["project"]["version"] == VERSION


def test_every_direct_dependency_is_pinned() -> None:
    project = _pyproject()["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    wanted = {_name(requirement) for requirement in [*project["dependencies"], *extras]} - {"steadfast"}
    assert wanted <= _pins().keys()


def test_what_only_files_need_is_an_extra_that_make_install_asks_for() -> None:
    project = _pyproject()["project"]
    files = {_name(requirement) for requirement in project["optional-dependencies"]["files"]}
    assert files == {"fsspec", "pyarrow"}
    assert files.isdisjoint(map(_name, project["dependencies"]))
    assert "$(PIP) --editable '.[files]'" in (ROOT / "Makefile").read_text()


def test_the_bento_asks_for_what_the_package_asks_for_at_the_pinned_versions() -> None:
    requirements = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"]
    pins = _pins()
    expected = {_name(requirement): pins[_name(requirement)] for requirement in _pyproject()["project"]["dependencies"]}
    found = {_name(requirement): requirement.partition("==")[2].partition(";")[0] for requirement in requirements}
    assert found == expected


def test_a_container_listens_beyond_itself_and_tells_nobody() -> None:
    variables = {
        entry["name"]: entry["value"] for entry in yaml.safe_load((ROOT / "bentofile.yaml").read_text())["envs"]
    }
    assert variables == {"BENTOML_DO_NOT_TRACK": "true", "STEADFAST_HOST": "0.0.0.0"}


def test_no_other_distribution_installs_packages_of_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for name in OURS:
        assert set(owners.get(name, [])) <= {"steadfast"}


def test_ci_runs_the_test_target() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
