"""The command that counts certificates, and asks for random edits of those that hold."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.certificates import app, ask_edits
from models.tasks.task import TextItem
from service.answers.opening import open_measured
from tests.service.tiny import build_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_package(tmp_path_factory.mktemp("certified") / "package")


@pytest.mark.parametrize(
    ("texts", "first", "last"),
    [
        (["bad", "boring", "great film great"], "2 of 3 hold (typos); 148 edits and ", "; 0 of 20 random edits of "),
        (["boring"], "0 of 1 hold (typos); 141 edits and ", "; 0 of 0 random edits of "),
    ],
    ids=["some hold", "none holds"],
)
def test_it_counts_what_holds_and_asks_for_edits_of_that(
    package: Path, tmp_path: Path, texts: list[str], first: str, last: str
) -> None:
    (tmp_path / "few.jsonl").write_text("".join(json.dumps({"text": text, "label": 0}) + "\n" for text in texts))
    ran = CliRunner().invoke(app, [str(package), "--data", str(tmp_path), "--part", "few", "--edits", "20"])
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.stdout.split())
    assert first in said
    assert last in said


def test_an_edit_that_changes_an_answer_is_noticed(package: Path) -> None:
    with open_measured(package) as predictor:
        asked, changed = ask_edits(predictor, [TextItem(text="boring")], "typos", 100, random.Random(0))
    assert asked == 100
    assert changed > 0
