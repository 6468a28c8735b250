"""What images install, and machines without a network: pinned, with digests, and from no index in particular."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "deploy" / "requirements"
NAMES = ("serve", "files", "build")

_ENTRY = re.compile(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
MORE_HASHES = "; run `make requirements`"


def _pins(name: str) -> dict[str, str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return {canonicalize_name(found[1]): found[2] for found in _ENTRY.finditer(text)}


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _needed(names: Sequence[str]) -> Iterator[str]:
    """The names of all that these requirements need here, themselves included, by what is installed."""
    waiting, seen = [Requirement(name) for name in names], set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(key)
        yield key[0]
        for text in importlib.metadata.requires(requirement.name) or []:
            more = Requirement(text)
            extras = ["", *requirement.extras]
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras):
                more.marker = None
                waiting.append(more)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_a_version_with_digests_and_names_no_index(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    without = re.sub(r"^#.*\n", "", _ENTRY.sub("", text), flags=re.MULTILINE)
    assert not without.strip()
    assert "://" not in text
    assert "index" not in text


@pytest.mark.parametrize("name", NAMES)
def test_versions_are_those_of_constraints(name: str) -> None:
    pins = _pins(name)
    assert pins
    assert pins.items() <= _constraints().items(), MORE_HASHES


def test_the_server_gets_all_that_it_needs_and_no_more() -> None:
    assert set(_pins("serve")) == set(_needed(_project()["project"]["dependencies"])), MORE_HASHES


def test_files_add_what_they_need() -> None:
    wanted = _project()["project"]["optional-dependencies"]["files"]
    assert _inputs("files") == {canonicalize_name(Requirement(name).name) for name in wanted}
    assert set(_pins("files")) == set(_needed(wanted)), MORE_HASHES


def test_the_wheel_is_built_by_what_the_project_says() -> None:
    (backend,) = _project()["build-system"]["requires"]
    assert _inputs("build") == {canonicalize_name(Requirement(backend).name)}
    assert f"=={_pins('build')['hatchling']}" in backend


def _inputs(name: str) -> set[str]:
    return {canonicalize_name(line) for line in (REQUIREMENTS / f"{name}.in").read_text().split()}
