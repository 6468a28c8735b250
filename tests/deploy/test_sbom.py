"""The bill of materials, made by `make sbom`, names what the images install."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.deploy.images import ROOT, run, skip_unless_possible

FOLDER = ROOT / "build" / "sbom"


@pytest.fixture(scope="module")
def bills() -> Iterator[Path]:
    """The folder of the bills."""
    skip_unless_possible("make")
    tools = Path(sys.executable).parent
    if not (tools / "cyclonedx-py").exists():
        pytest.skip("needs the extra `release`: pip install -c constraints.txt -e '.[release]'")
    run("make", "--assume-old=.venv/release.done", "sbom", f"BIN={tools}")
    yield FOLDER
    shutil.rmtree(FOLDER)


@pytest.mark.parametrize(("name", "files"), [("serve", ["serve"]), ("batch", ["serve", "files"])])
def test_it_names_what_is_installed(bills: Path, name: str, files: list[str]) -> None:
    bill = json.loads((bills / f"{name}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "steadfast")
    pins = {
        (canonicalize_name(found[1]), found[2])
        for file in files
        for found in re.finditer(r"^(\S+)==(\S+) ", (ROOT / "deploy/requirements" / f"{file}.txt").read_text(), re.M)
    }
    assert {(canonicalize_name(part["name"]), part["version"]) for part in bill["components"]} == pins
