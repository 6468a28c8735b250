"""`steadfast evaluate --explanations`, from the command line to its tables and JSON."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from export.package import open_package
from models.errors import UserError
from service.answers import opening
from service.answers.explanation import ExplanationMethod
from service.answers.predictor import Predictor
from service.cli.commands import app
from tests.tiny import write_sentiment

MARKED = {"tokens": ["the", "film", "was", "great", ",", "not", "bad"], "token_labels": [2, 2, 2, 4, 2, 1, 0]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sentiment(tmp_path / "data", train=4, validation=12)


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    path = tmp_path / "marked.jsonl"
    path.write_text(json.dumps(MARKED) + "\n")
    return path


def _evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--explanations"])


def test_json_has_every_figure(package: Path, data: Path, marked: Path) -> None:
    ran = _evaluate(package, "--data", data, "--part", "validation", "--rows", 8, "--rationales", marked, "--json")
    (found,) = json.loads(ran.stdout)
    assert (found["name"], found["part"], found["explanations"]["rows"]) == ("tiny", "validation", 8)
    assert list(found["explanations"]["methods"]) == [*get_args(ExplanationMethod), "random"]
    attention = found["explanations"]["methods"]["attention"]
    assert list(attention["deletion"]["by_percent"]) == ["1", "5", "10", "20", "50"]
    assert attention["deletion"]["less"]["random"]["comprehensiveness"]["p"] <= 1
    assert found["marks"]["marked"]["attention"]["rows"] == 1
    assert found["gradients"] is None


def test_one_package_makes_narrow_tables(package: Path, data: Path, marked: Path) -> None:
    ran = _evaluate(package, "--data", data, "--part", "validation", "--rationales", marked)
    assert f"{package}, validation, 12 records" in ran.stdout.replace("\n", "")
    for head in ("comprehensiveness", "sufficiency", "cost", "less", "10-50 %", "marked texts", "average precision"):
        assert head in ran.stdout
    assert max(map(len, ran.stdout.splitlines()[1:])) <= 80
    assert ran.stderr.count("stopped") == 0


def test_several_packages_make_one_table(package: Path, data: Path) -> None:
    ran = _evaluate(package, package, "--data", data, "--part", "validation", "--part", "train", "--json")
    assert [one["part"] for one in json.loads(ran.stdout)] == ["validation", "train"] * 2
    assert _evaluate(package, package, "--data", data, "--part", "train").stdout.count("┏") == 3


def test_an_error_shows_what_was_measured_before_it(package: Path, data: Path) -> None:
    (data / "wordless.jsonl").write_text('{"text": ""}\n')
    ran = _evaluate(package, "--data", data, "--part", "train", "--part", "wordless", "--json")
    assert [one["part"] for one in json.loads(ran.stdout)] == ["train"]
    assert isinstance(ran.exception, UserError)
    assert "no answer to any record could be explained" in str(ran.exception)


def test_a_number_of_rows_without_explanations_is_refused(package: Path, data: Path) -> None:
    ran = CliRunner().invoke(app, ["evaluate", str(package), "--data", str(data), "--rows", "5"])
    assert ran.exit_code == 2
    assert "--explanations" in ran.stderr


def test_without_a_part_it_is_the_one_of_the_training(made: Callable[[str], Path]) -> None:
    folder = made("sentiment")
    (found,) = json.loads(_evaluate(folder / "package", "--data", folder / "data", "--rows", 5, "--json").stdout)
    assert (found["part"], found["explanations"]["rows"]) == ("validation", 5)


def test_a_checkpoint_adds_gradients(made: Callable[[str], Path]) -> None:
    folder = made("sentiment")
    options = ("--data", folder / "data", "--rows", 20, "--checkpoint", folder / "trained")
    (found,) = json.loads(_evaluate(folder / "package", *options, "--json").stdout)
    assert -1 <= found["gradients"]["pearson"]["mean"] <= 1
    assert "Kendall" in _evaluate(folder / "package", *options).stdout


def test_another_checkpoint_is_refused(made: Callable[[str], Path]) -> None:
    folder, other = made("sentiment"), made("nli")
    ran = _evaluate(folder / "package", "--data", folder / "data", "--checkpoint", other / "trained")
    assert isinstance(ran.exception, UserError)
    assert "is not the checkpoint that" in str(ran.exception)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("ner", "answers ner at tokens of the text"),
        ("multi-label-classification", "answers multi-label-classification by any number of labels, each on its own"),
    ],
)
def test_gradients_of_more_than_one_answer_are_refused(made: Callable[[str], Path], task: str, said: str) -> None:
    folder = made(task)
    ran = _evaluate(folder / "package", "--data", folder / "data", "--checkpoint", folder / "trained")
    assert f"{said}; gradients are taken of one answer" in str(ran.exception)
    assert str(ran.exception).endswith("leave --checkpoint out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--robust", "--explanations"), "choose one"),
        (("{package}",), "need --explanations"),
        (("--rationales", "x.jsonl"), "need --explanations"),
        (("{package}", "--explanations", "--checkpoint", "x"), "that of one package"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    package: Path, data: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [one.format(package=package) for one in arguments]
    ran = CliRunner().invoke(app, ["evaluate", str(package), "--data", str(data), *given])
    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.replace("│", "").split())


def test_ctrl_c_shows_what_was_measured(package: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    really: Callable[[Path], AbstractContextManager[Predictor]] = opening.open_measured

    @contextmanager
    def interrupt_second(folder: Path) -> Iterator[Predictor]:
        opened.append(folder)
        if len(opened) == 2:
            # A shell that starts the tests in the background lets them ignore the signal.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)
        with really(folder) as predictor:
            yield predictor

    monkeypatch.setattr("service.answers.opening.open_measured", interrupt_second)
    ran = _evaluate(package, package, package, "--data", data, "--part", "validation", "--json")
    assert (ran.exit_code, len(json.loads(ran.stdout))) == (130, 1)
    assert "stopped after 1 of 3 measurements" in ran.stderr


def test_an_export_measures_its_package_and_models_show_it(made: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "explained"
    ran = CliRunner().invoke(
        app, ["export", str(made("sentiment") / "trained"), "-o", str(out), "--precision", "fp32", "--explanations"]
    )
    assert ran.exit_code == 0, ran.output
    stated = open_package(out).manifest.faithfulness
    assert {"attention", "rollout", "occlusion"} <= set(stated)
    assert stated["attention"].rows == 40
    (measured,) = json.loads(_evaluate(out, "--data", made("sentiment") / "data", "--json").stdout)
    again = measured["explanations"]["methods"]["attention"]["deletion"]
    assert stated["attention"].comprehensiveness == again["comprehensiveness"]["mean"]
    assert stated["attention"].sufficiency_interval == tuple(again["sufficiency"]["interval"])
    shown = CliRunner().invoke(app, ["models", str(out), "--markdown"]).stdout
    assert f"| sentiment | attention | {stated['attention'].comprehensiveness:.4f} |" in shown
    assert "explanation" in CliRunner().invoke(app, ["models", str(out)]).stdout


def test_packages_are_checked_before_the_first_is_measured(
    made: Callable[[str], Path], package: Path, data: Path, marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("service.answers.opening.open_measured", opened.append)
    other = made("nli") / "package"
    ran = _evaluate(package, other, "--data", data, "--part", "validation")
    assert str(ran.exception).startswith(f"{other} answers nli: validation: ")
    ran = _evaluate(package, other, "--data", data, "--part", "validation", "--rationales", marked)
    assert str(ran.exception).startswith(f"{other} answers nli; texts with marks of sentiment")
    assert opened == []
