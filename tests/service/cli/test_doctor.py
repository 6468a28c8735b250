"""`steadfast doctor` on this machine, whatever that is."""

import json
import re
import shutil
from pathlib import Path

import onnxruntime
import pytest

from export.package import open_package
from service.cli.doctor import describe_machine, examine_package
from service.settings import Settings
from tests.service.conftest import steadfast
from tests.service.tiny import reseal


@pytest.fixture
def strange(package: Path, tmp_path: Path) -> Path:
    """A package whose own answers have changed since it was made."""
    folder = Path(shutil.copytree(package, tmp_path / "strange"))
    probe = open_package(folder).manifest.probes[0]
    reseal(
        folder, probes=[json.loads(probe.model_copy(update={"outputs": {"logits": [[9.0, 9.0]]}}).model_dump_json())]
    )
    return folder


def test_the_machine_is_described() -> None:
    described = dict(describe_machine(Settings(threads=3)))
    assert set(described) == {"cpu", "instructions", "cores", "threads", "memory", "python", "onnxruntime", "cache"}
    assert described["onnxruntime"].startswith(onnxruntime.__version__)
    assert "CPUExecutionProvider" in described["onnxruntime"]
    assert described["threads"].startswith("3 ")


def test_the_cache_is_described(tmp_path: Path) -> None:
    def describe(cache: Path | None) -> str:
        return dict(describe_machine(Settings(cache=cache)))["cache"]

    assert describe(None) == "off; each process packs the weights for itself"
    assert describe(tmp_path) == f"{tmp_path}, usable; 0 graphs with packed weights, 0 MB"
    zoo = Path(__file__).parents[3] / "zoo" / "sentiment"
    assert examine_package(zoo, Settings(threads=1, cache=tmp_path)).runs
    assert re.fullmatch(rf"{tmp_path}, usable; 1 graphs with packed weights, \d\d MB", describe(tmp_path))
    (tmp_path / "file").touch()
    assert describe(tmp_path / "file").startswith("not usable: ")


def test_a_package_that_runs_is_timed(package: Path) -> None:
    examination = examine_package(package, Settings(threads=1))
    assert examination.runs
    assert examination.detail.startswith(
        f"{package}: tiny answers sentiment in fp32 on cpu; probes reproduce; a row of "
    )


def test_a_package_that_is_not_there_does_not_run(tmp_path: Path) -> None:
    examination = examine_package(tmp_path / "none", Settings(threads=1))
    assert (examination.runs, "no such folder" in examination.detail) == (False, True)


def test_a_provider_that_is_not_there_names_what_to_install(package: Path) -> None:
    examination = examine_package(package, Settings(threads=1, provider="openvino"))
    assert not examination.runs
    assert "pip install onnxruntime-openvino" in examination.detail


def test_every_package_is_examined_and_one_that_fails_fails_all(package: Path, strange: Path) -> None:
    completed = steadfast("doctor", strange, package)
    verdicts = [line.split()[0] for line in completed.stdout.splitlines()[-2:]]
    assert (completed.returncode, verdicts) == (1, ["FAILS", "runs"])


def test_of_two_packages_of_one_name_only_the_one_that_would_answer_is_examined(
    package: Path, strange: Path, tmp_path: Path
) -> None:
    half = Path(shutil.copytree(strange, tmp_path / "half"))
    reseal(half, precision="fp16")
    completed = steadfast("doctor", half, package)
    passed_over, runs = completed.stdout.splitlines()[-2:]
    assert completed.returncode == 0
    assert passed_over == f"passed over   {half}: on cpu, {package} answers in its place"
    assert runs.startswith(f"runs          {package}: ")


def test_where_all_packages_run_all_is_well(package: Path) -> None:
    assert steadfast("doctor", package).returncode == 0
