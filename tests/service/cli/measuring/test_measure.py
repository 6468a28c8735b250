"""`steadfast measure`: figures for a package that was made before."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from export.graphs import blinding
from export.package import open_package
from export.session import open_packaged_model
from export.verification import verify_package
from models.correction.spelling import WORDS_FILE
from models.edits.names import IDENTITY_KINDS
from models.evaluation import predict_all
from service.cli.commands import app
from tests.service.conftest import ZOO
from tests.tiny import WORDNET


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def data(made: Callable[[str], Path]) -> Path:
    return made("sentiment") / "data"


@pytest.fixture(scope="module")
def bare(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that states nothing but its quality."""
    out = tmp_path_factory.mktemp("bare") / "package"
    ran = _run("export", made("sentiment") / "trained", "-o", out, "--precision", "fp32")
    assert ran.exit_code == 0, ran.output
    return out


def test_a_package_gains_figures_and_keeps_its_graph(
    bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    attacked, explained = tmp_path / "attacked", tmp_path / "explained"
    ran = _run("measure", bare, "--data", data, "--robust", "-o", attacked)
    assert ran.exit_code == 0, ran.output
    before, after = open_package(bare).manifest, open_package(attacked).manifest
    assert before.passport is None
    assert after.passport is not None
    assert after.passport.attacks[0].accuracy == after.metrics["validation"]["accuracy"]
    assert after.digest != before.digest
    changed = {"passport", "files", "digest"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    assert {name for name in after.files if after.files[name] != before.files[name]} == {"README.md"}

    ran = _run("measure", attacked, "--data", data, "--explanations", "-o", explained)
    assert ran.exit_code == 0, ran.output
    both = open_package(explained).manifest
    assert both.passport == after.passport
    assert both.faithfulness
    card = (explained / "README.md").read_text(encoding="utf-8")
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings[:4] == ["## Measured", "## Robustness", "## Explanations", "## Data"]
    assert len(headings) == len(set(headings))
    assert _run("verify", explained).exit_code == 0


def test_figures_that_are_measured_again_take_the_place_of_the_old(bare: Path, data: Path, tmp_path: Path) -> None:
    for package, out in ((bare, tmp_path / "once"), (tmp_path / "once", tmp_path / "twice")):
        ran = _run("measure", package, "--data", data, "--explanations", "-o", out)
        assert ran.exit_code == 0, ran.output
    once, twice = ((tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("once", "twice"))
    assert once.count("## Explanations") == twice.count("## Explanations") == 1
    assert [line for line in once.splitlines() if line.startswith("#")] == [
        line for line in twice.splitlines() if line.startswith("#")
    ]


def test_a_request_that_cannot_succeed_is_refused_at_once(bare: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    ran = _run("measure", bare, "--data", data, "--robust", "-o", bare)
    assert "exists already" in str(ran.exception)
    ran = _run("measure", bare, "--data", data, "--robust", "-o", out, "--twin", bare)
    assert "the same training" in str(ran.exception)
    ran = _run("measure", bare, "--data", tmp_path / "none", "--robust", "-o", out)
    assert "none" in str(ran.exception)
    ran = _run("measure", bare, "--data", data, "--robust", "-o", out, "--part", "nowhere")
    assert "nowhere" in str(ran.exception)
    assert not list(tmp_path.iterdir())


def test_a_package_is_made_to_correct_texts_and_keeps_its_graph(
    bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    attacked, out = tmp_path / "attacked", tmp_path / "correcting"
    ran = _run("measure", bare, "--data", data, "--robust", "-o", attacked)
    assert ran.exit_code == 0, ran.output
    ran = _run("measure", attacked, "--data", data, "--correct", "-o", out)
    assert ran.exit_code == 0, ran.output
    before, after = open_package(attacked).manifest, open_package(out).manifest
    assert (before.correction, after.correction) == (None, "words")
    assert (before.variant, after.variant) == ("plain", "plain+correction")
    assert after.files["model.onnx"] == before.files["model.onnx"]
    assert WORDS_FILE in after.files
    # What was measured without correction is stated of the package as it was, and of no other.
    assert (after.passport, after.faithfulness) == (None, {})
    assert [(twin.method, twin.digest, twin.passport) for twin in after.twins] == [
        ("plain", before.digest, before.passport)
    ]
    assert verify_package(out, data=str(data)).passed
    (change,) = open_package(out).reader().read("the film was graet").corrections["text"]
    assert change.to == "great"
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "as the one that was most likely meant" in card
    assert "steadfast measure PACKAGE --data FOLDER --correct --out PACKAGE-2\n```" in card
    assert "## Robustness" not in card


def test_a_correction_measured_with_everything_else_stands_beside_the_figures_without(
    bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    out, again = tmp_path / "correcting", tmp_path / "again"
    ran = _run("measure", bare, "--data", data, "--correct", "--robust", "--explanations", "-o", out)
    assert ran.exit_code == 0, ran.output
    manifest = open_package(out).manifest
    assert manifest.passport is not None
    assert manifest.faithfulness
    shown = CliRunner().invoke(app, ["models", str(out), "--markdown"]).output
    assert "| figure | plain+correction | plain |" in (out / "README.md").read_text(encoding="utf-8")
    assert "plain+correction" in shown
    # It can be measured again, and keeps the correction and the twin.
    ran = _run("measure", out, "--data", data, "--explanations", "-o", again)
    assert ran.exit_code == 0, ran.output
    assert open_package(again).manifest.twins == manifest.twins
    (tmp_path / "elsewhere").mkdir()
    ran = _run("measure", out, "--data", tmp_path / "elsewhere", "--correct", "-o", tmp_path / "twice")
    assert "corrects texts already" in str(ran.exception)


@pytest.mark.parametrize(
    ("part", "change"), [("train", ["--correct"]), ("validation", ["--correct"]), ("validation", ["--blind", "1"])]
)
def test_other_texts_than_those_of_the_training_are_refused(
    bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, change: list[str]
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    moved = tmp_path / "data"
    shutil.copytree(data, moved)
    (file,) = moved.glob(f"{part}.*")
    file.write_text(file.read_text() + file.read_text().splitlines()[-1] + "\n")
    ran = _run("measure", bare, "--data", moved, *change, "-o", tmp_path / "out")
    assert f"part '{part}' is not the file" in str(ran.exception)
    assert not (tmp_path / "out").exists()


def test_a_package_is_made_blind_to_terms_and_keeps_the_rest(
    bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinding, "KINDS", dict.fromkeys(IDENTITY_KINDS, ("great", "awful")))
    out = tmp_path / "blind"
    ran = _run("measure", bare, "--data", data, "--blind", "1", "-o", out)
    assert ran.exit_code == 0, ran.output
    before, after = open_package(bare).manifest, open_package(out).manifest
    assert (before.variant, after.variant) == ("plain", "plain+blindness")
    assert [twin.digest for twin in after.twins] == [before.digest]
    # To a model that is blind to it, the only difference between these is none.
    model = open_packaged_model(out)
    great, awful = (predict_all(model, [model.reader.read(f"the film was {word}")]) for word in ("great", "awful"))
    assert great[0].answer.scores == awful[0].answer.scores
    assert after.metrics["validation"]["accuracy"] < before.metrics["validation"]["accuracy"]
    assert verify_package(out, data=str(data)).passed
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "moved by\n1 of the way to the mean of their kind" in card
    assert "steadfast measure PACKAGE --data FOLDER --blind 1 --out PACKAGE-2\n```" in card
    ran = _run("measure", out, "--data", data, "--blind", "0.5", "-o", tmp_path / "twice")
    assert "is blind already, by 1" in str(ran.exception)
    assert not (tmp_path / "twice").exists()


def test_a_package_is_changed_twice(bare: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    monkeypatch.setattr(blinding, "KINDS", dict.fromkeys(IDENTITY_KINDS, ("great", "awful")))
    assert _run("measure", bare, "--data", data, "--correct", "-o", tmp_path / "one").exit_code == 0
    assert _run("measure", tmp_path / "one", "--data", data, "--blind", "0.5", "-o", tmp_path / "two").exit_code == 0
    made = open_package(tmp_path / "two").manifest
    assert made.variant == "plain+correction+blindness"
    assert [twin.method for twin in made.twins] == ["plain", "plain+correction"]
    assert made.quality.without == ("correction", "blindness")
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert (
        "\nsteadfast measure PACKAGE --data FOLDER --correct --out PACKAGE-2"
        "\nsteadfast measure PACKAGE-2 --data FOLDER --blind 0.5 --out PACKAGE-3\n```" in card
    )
    # Both at once are one change of the same outcome.
    assert _run("measure", bare, "--data", data, "--correct", "--blind", "0.5", "-o", tmp_path / "both").exit_code == 0
    both = open_package(tmp_path / "both").manifest
    assert (both.variant, both.metrics, both.probes) == (made.variant, made.metrics, made.probes)


def test_a_package_whose_answers_need_such_terms_is_not_made_blind(tmp_path: Path) -> None:
    ran = _run("measure", ZOO / "paraphrase", "--data", tmp_path, "--blind", "0.5", "-o", tmp_path / "out")
    assert "paraphrase must tell such terms apart" in str(ran.exception)
