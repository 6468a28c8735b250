"""Data whose columns and labels have other names, from training to an attack on the package."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.commands import app
from tests.foreign import make_foreign
from tests.tiny import make_base, make_texts

NAMES = ("--text-column", "body.plain", "--label-column", "verdict", "--label-map", "Up=positive,down=negative")
ROOT = Path(__file__).parents[3]


def _write(path: Path, count: int, seed: int) -> None:
    records = (
        {"body": {"plain": text}, "verdict": ("DOWN", "up")[label], "label": "noise"}
        for text, label in make_texts(count, seed=seed)
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    return result.stdout


def _json(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, data, a checkpoint that was trained on them and its package."""
    folder = tmp_path_factory.mktemp("workshop")
    make_base(folder / "base")
    (folder / "data").mkdir()
    _write(folder / "data" / "train.jsonl", 200, seed=1)
    _write(folder / "data" / "validation.jsonl", 40, seed=2)
    command = (
        "train", "--task", "sentiment", "--base", "base", "--data", "data", "--epochs", "1", "--max-tokens", "32",
        "--precision", "fp32", "--out", "checkpoint", *NAMES,
    )  # fmt: skip
    for arguments in (command, ("export", "checkpoint", "-o", "package", "--precision", "fp32")):
        ran = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    return folder


def test_the_checkpoint_and_the_package_record_the_names(workshop: Path) -> None:
    layout = {
        "columns": {"text": "body.plain", "label": "verdict"},
        "label_map": {"Up": "positive", "down": "negative"},
    }
    assert layout.items() <= _json(workshop / "checkpoint" / "training.json")["source"].items()
    assert _json(workshop / "package" / "package.json")["layout"] == layout


@pytest.mark.parametrize("model", ["checkpoint", "package"])
def test_what_was_trained_is_evaluated_by_the_same_names_or_by_others(workshop: Path, model: str) -> None:
    given = ("evaluate", workshop / model, "--json", "--data")
    found = json.loads(_run(*given, workshop / "data"))
    assert found["validation"]["rows"] == 40
    other = workshop / f"other-{model}"
    other.mkdir()
    lines = (json.dumps({"review": text, "y": label}) + "\n" for text, label in make_texts(40, seed=2))
    (other / "validation.jsonl").write_text("".join(lines))
    assert json.loads(_run(*given, other, "--text-column", "review", "--label-column", "y")) == found


def test_the_package_is_verified_attacked_and_measured_by_the_same_names(workshop: Path) -> None:
    data = ("--data", workshop / "data")
    package = workshop / "package"
    assert "passed quality" in _run("verify", package, *data)
    _run("attack", package, *data, "--rows", 5, "--words", 1, "-o", workshop / "fooled.jsonl")
    _run("measure", package, *data, "--explanations", "-o", workshop / "measured")
    assert _json(workshop / "measured" / "package.json")["faithfulness"]
    _run("evaluate", package, *data, "--explanations", "--rows", 5, "--json")


def test_the_package_is_measured_on_data_with_other_names(workshop: Path) -> None:
    other = workshop / "remarks"
    other.mkdir()
    lines = (json.dumps({"remark": text}) + "\n" for text, _ in make_texts(60, seed=3))
    (other / "sent.jsonl").write_text("".join(lines))
    given = ("measure", workshop / "package", "--data", other, "--part", "sent", "--explanations")
    _run(*given, "--text-column", "remark", "-o", workshop / "explained")
    assert _json(workshop / "explained" / "package.json")["faithfulness"]


def test_an_imported_package_records_the_names_too(workshop: Path) -> None:
    make_foreign(workshop / "foreign", "sequence-classification", ("negative", "positive"))
    made = workshop / "imported"
    _run(
        "import", workshop / "foreign", "--task", "sentiment", "--data", workshop / "data", "--precision", "fp32",
        "-o", made, *NAMES,
    )  # fmt: skip
    manifest = _json(made / "package.json")
    assert manifest["layout"]["columns"] == {"text": "body.plain", "label": "verdict"}
    assert json.loads(_run("evaluate", made, "--data", workshop / "data", "--json")) == {
        "validation": {**manifest["metrics"]["validation"], "rows": 40}
    }


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--base", "base", "--task", "sentiment"),
        ("evaluate", "{package}"),
        ("evaluate", "{package}", "--explanations"),
        ("attack", "{package}"),
        ("measure", "{package}", "--explanations", "-o", "{package}-new"),
        ("import", "{package}/../data", "--task", "sentiment", "-o", "{package}-new"),
    ],
)
def test_a_column_that_the_task_does_not_read_is_refused(workshop: Path, command: tuple[str, ...]) -> None:
    words = [word.format(package=workshop / "package") for word in command]
    result = CliRunner().invoke(app, [*words, "--data", str(workshop / "data"), "--premise-column", "body"])
    assert "sentiment reads no premise; columns can be named for: text, label" in str(result.exception)


@pytest.mark.parametrize(
    ("label_map", "said"),
    [("x=positive,x=negative", "stands for two labels"), ("x=positive,X=negative", "differ in nothing but case")],
)
def test_a_name_for_two_labels_is_refused(label_map: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood,x\n")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--task", "sentiment", "--label-map", label_map])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
