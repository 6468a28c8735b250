"""The list of training methods that needs no torch, and its agreement with the methods themselves."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from models.folders import NoSuchFolder, check_folder
from models.methods import METHODS, UnknownMethod, find_method
from models.robust import IMPLEMENTATIONS
from models.tasks.task import Head
from tests.service.test_lightness import HEAVY, environment_without


def test_every_method_that_is_listed_can_be_built_and_every_one_that_can_be_built_is_listed() -> None:
    assert list(METHODS) == list(IMPLEMENTATIONS)


def test_plain_training_is_possible_with_every_head() -> None:
    assert set(METHODS["plain"].heads) == set(get_args(Head))


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_a_method_is_summed_up_in_one_line(method: object) -> None:
    summary = getattr(method, "summary", "")
    assert summary.endswith(".")
    assert "\n" not in summary
    assert len(summary) <= 100


def test_an_unknown_method_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownMethod, match="no training method 'asb'; choose one of: plain, asa"):
        find_method("asb")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "sentimnt"}, "UnknownTask: no task 'sentimnt'"),
        ({"method": "asb"}, "UnknownMethod: no training method 'asb'"),
        ({"method": "afa", "task": "extractive-reading-comprehension"}, "TrainingError: method afa means nothing for"),
        ({"base": "./mistyped"}, "NoSuchFolder: ./mistyped: no such folder"),
        ({"source": {"data": "/mistyped/data"}}, "NoSuchFolder: /mistyped/data: no such folder"),
    ],
)
def test_wrong_settings_are_refused_before_torch_is_loaded(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    environment_without(tmp_path, *HEAVY)
    given = {"task": "sentiment", "base": "some-base", "source": {"data": "some-data"}} | changed
    program = f"from models.training.settings import check_settings; check_settings({given!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2])))}
    tried = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert message in tried.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["glue", "nyu-mll/glue:sst2", "bert-base-uncased", "owner/name"])
def test_a_name_that_a_hub_may_know_is_not_looked_for_here(name: str) -> None:
    check_folder(name)


@pytest.mark.parametrize("name", ["./mistyped", "/mistyped", "~/mistyped", "a/b/c", "mistyped/", "tests/mistyped"])
def test_a_name_that_only_a_folder_can_have_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(NoSuchFolder, match=f"{name}: no such folder"):
        check_folder(name)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    with pytest.raises(NoSuchFolder, match=r"train\.csv: a file, not a folder"):
        check_folder(str(tmp_path / "train.csv"))
