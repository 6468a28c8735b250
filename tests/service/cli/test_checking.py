"""`steadfast data check` on a terminal and for programs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.errors import UserError
from service.cli.commands import app
from tests.tiny import make_base

GOLDEN = Path(__file__).parents[2] / "models" / "files" / "labelled" / "golden"


def _run(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["data", "check", *arguments], catch_exceptions=False)
    assert ran.exit_code == code, ran.output
    return ran.stdout


def test_a_table_and_lines_tell_people_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood film,arts\na match,sport\ngood film,sport\n")
    (tmp_path / "test.csv").write_text("text,label\na match,money\n")
    shown = _run(str(tmp_path), "--task", "text-classification", code=1)
    assert "train: labels sport 2 (67%), arts 1 (33%)" in shown
    assert "test: UNUSABLE: 1 of 1 records cannot be used" in shown
    assert "test: record 1: label 'money' is none of: 0 or 'arts', 1 or 'sport'" in shown


def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    make_base(tmp_path / "base")
    found = json.loads(
        _run(str(GOLDEN), "--task", "text-classification", "--part", "doccano_classes", "--part", "label_studio",
             "--train", "doccano_classes", "--train", "label_studio", "--tokenizer", str(tmp_path / "base"), "--json")
    )  # fmt: skip
    assert (found["usable"], found["unit"]) == (True, "tokens")
    assert [part["labels"] for part in found["parts"]] == [{"neg": 1, "pos": 1}, {"Negative": 1, "Positive": 1}]
    assert [part["left_out"] for part in found["parts"]] == [0, 1]


def test_mistakes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,1\n")
    for arguments, sentence in {
        (str(tmp_path / "none"), "--task", "sentiment"): "none: no such folder; name the folder that holds",
        (str(tmp_path), "--task", "moods"): "moods",
        (str(tmp_path), "--task", "sentiment", "--premise-column", "a"): "sentiment reads no premise",
        (str(tmp_path), "--task", "text-classification"): "train: two labels or more are needed",
    }.items():
        with pytest.raises(UserError, match=sentence):
            _run(*arguments)
