"""The reference of a package, from the command line to the new package."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from export.package import open_package
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from service.cli.commands import app
from tests.tiny import make_base, write_sentiment


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sentiment(tmp_path / "data", train=1, validation=600)


def test_a_summary_and_the_texts_themselves_give_the_same_package(package: Path, data: Path, tmp_path: Path) -> None:
    summary = tmp_path / "validation"
    part, scored = data / "validation.jsonl.gz", tmp_path / "scored.jsonl"
    ran = _run("score", "sentiment", part, "-o", scored, "--package", package, "--summary", summary)
    assert ran.exit_code == 0, ran.output
    for name, source in (("a", ("--summary", summary)), ("b", ("--reference", "--data", data, "--part", "validation"))):
        ran = _run("measure", package, *source, "-o", tmp_path / name)
        assert ran.exit_code == 0, ran.output
        assert "600 answers to validation; digest" in " ".join(ran.stderr.split())
    one, other = open_package(tmp_path / "a").manifest, open_package(tmp_path / "b").manifest
    assert one == other
    assert one.reference is not None
    labels = [json.loads(line)["prediction_label"] for line in scored.read_text().splitlines()]
    assert one.reference.signals["label"] == {label: labels.count(label) for label in set(labels)}


def test_settings_of_a_server_change_no_figure_and_stop_no_measurement(
    package: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--reference", "--explanations", "--data", data, "--part", "validation")
    ran = _run("measure", package, *arguments, "-o", tmp_path / "without")
    assert ran.exit_code == 0, ran.output
    for name, value in {"PROVIDER": "tensorrt", "WORKERS": "none", "MAX_OCCLUSION_WORDS": "1"}.items():
        monkeypatch.setenv(f"STEADFAST_{name}", value)
    ran = _run("measure", package, *arguments, "-o", tmp_path / "with")
    assert ran.exit_code == 0, ran.output
    manifests = [open_package(tmp_path / name).manifest for name in ("with", "without")]
    # The cost is CPU time, which is another each time.
    one, other = ({m: f.model_dump(exclude={"cost"}) for m, f in each.faithfulness.items()} for each in manifests)
    assert one == other
    assert "occlusion" in one
    assert manifests[0].reference == manifests[1].reference


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to measure"),
        (("--reference",), "name a folder or an id on the hub"),
        (("--summary", __file__, "--reference"), "leave out the other options"),
        (("--summary", __file__, "--part", "train"), "leave out the other options"),
        (("--summary", __file__, "--data", "data"), "leave out the other options"),
        (("--summary", "nowhere.json"), "does not exist"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    package: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = _run("measure", package, "-o", tmp_path / "new", *arguments)
    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.replace("│", "").split())
    assert not (tmp_path / "new").exists()


def test_too_few_texts_leave_no_package(package: Path, tmp_path: Path) -> None:
    data = write_sentiment(tmp_path / "few", train=1, validation=20)
    ran = _run("measure", package, "--reference", "--data", data, "--part", "validation", "-o", tmp_path / "new")
    assert ran.exit_code == 1
    assert "20 answers say too little" in " ".join(ran.stderr.split())
    assert "nothing could be measured" in str(ran.exception)
    assert not (tmp_path / "new").exists()


def test_a_reference_that_stays_is_not_told_as_a_new_one(package: Path, data: Path, tmp_path: Path) -> None:
    few = write_sentiment(tmp_path / "few", train=1, validation=20)
    measured, again = tmp_path / "measured", tmp_path / "again"
    ran = _run("measure", package, "--reference", "--data", data, "--part", "validation", "-o", measured)
    assert ran.exit_code == 0, ran.output
    options = ("--reference", "--explanations", "--data", few, "--part", "validation")
    ran = _run("measure", measured, *options, "-o", again)
    assert ran.exit_code == 0, ran.output
    before, after = open_package(measured).manifest, open_package(again).manifest
    assert after.reference == before.reference
    said = " ".join(ran.stderr.split())
    assert "20 answers say too little" in said
    assert "600 answers" not in said
    assert f"digest {after.digest}" in said


@pytest.mark.parametrize("validation", [500, 40])
def test_an_export_measures_the_reference_where_the_validation_part_suffices(validation: int, tmp_path: Path) -> None:
    data = write_sentiment(tmp_path / "data", train=8, validation=validation)
    settings = {
        "task": "sentiment", "base": str(make_base(tmp_path / "base")), "source": {"data": str(data)}, "epochs": 1,
        "batch_size": 8, "max_tokens": 64, "precision": "fp32",
    }  # fmt: skip
    train(check_settings(settings), tmp_path / "trained", Watcher(say=lambda _: None, advance=lambda *_: None))
    ran = _run("export", tmp_path / "trained", "--precision", "fp32", "-o", tmp_path / "package")
    assert ran.exit_code == 0, ran.output
    stated = open_package(tmp_path / "package").manifest.reference
    if validation == 500:
        assert stated is not None
        assert (stated.texts, stated.answers) == ("validation", 500)
        options = ("--task", "sentiment", "--data", data, "--precision", "fp32", "-o", tmp_path / "imported")
        ran = _run("import", tmp_path / "trained", *options)
        assert ran.exit_code == 0, ran.output
        assert open_package(tmp_path / "imported").manifest.reference == stated
    else:
        assert stated is None
        assert "validation: 40 answers say too little of what is usual" in " ".join(ran.stderr.split())
