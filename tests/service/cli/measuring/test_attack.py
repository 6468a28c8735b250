"""`steadfast attack`, from the command line to its table, its JSON and its file."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from models.attack.outcomes import Outcome
from models.files.parts import DataError
from models.tasks import TASKS
from service.attacks.run import Campaign
from service.cli.commands import app
from tests.service.conftest import Server
from tests.tiny import WORDNET, write_sentiment

ZOO = Path(__file__).parents[4] / "zoo"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sentiment(tmp_path / "data", train=4, validation=12)


def _attack(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["attack", *map(str, arguments)])


def test_the_figures_are_a_table_and_a_file(package: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--data", data, "--part", "validation", "--attack", "typos, unicode", "--words", 2)
    ran = _attack(package, *options, "--twin", package, "--json", report)
    assert ran.exit_code == 0, ran.output
    for shown in ("tiny", "12 records", "typos 2", "unicode 2", "any 2", "under attack", "transfer"):
        assert shown in ran.stdout
    found = json.loads(report.read_text())
    assert (found["model"]["name"], found["part"]) == ("tiny", "validation")
    assert [one["attack"] for one in found["attacks"]] == ["typos", "unicode", "any"]
    assert [one["transfer"] for one in found["attacks"]] == [1, 1, None]
    assert [one["words"] for one in found["settings"]] == ["2", "2"]


def test_a_server_is_attacked_with_the_same_figures(package: Path, server: Server, data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--part", "validation", "--candidates", 8)
    for name, victim in (
        ("package", (package,)),
        ("server", ("--url", f"http://127.0.0.1:{server.port}/v1/sentiment")),
    ):
        assert _attack(*victim, *options, "--json", tmp_path / name).exit_code == 0
    assert (tmp_path / "package").read_text() == (tmp_path / "server").read_text()


@pytest.mark.parametrize("task", ["text-classification", "pair-classification"])
def test_a_server_of_labels_of_one_s_own_is_attacked_with_the_same_figures_and_texts(
    made: Callable[[str], Path],
    start_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    task: str,
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    package, data = made(task) / "package", made(task) / "data"
    url = f"http://127.0.0.1:{start_server(package).port}/v1/{task}"
    options = ("--data", data, "--part", "validation", "--attack", "synonyms", "--attack", "unicode", "--words", "50%")
    found = []
    for name, victim in (("package", (package,)), ("server", ("--url", url))):
        files = tmp_path / f"{name}.json", tmp_path / f"{name}.jsonl"
        ran = _attack(*victim, *options, "--candidates", 4, "--json", files[0], "-o", files[1])
        assert ran.exit_code == 0, ran.output
        found.append([file.read_text() for file in files])
    assert found[0] == found[1]
    figures = json.loads(found[0][0])["attacks"]
    assert [one["attack"] for one in figures] == ["synonyms", "unicode", "any"]
    fooled = [json.loads(line) for line in found[0][1].splitlines()]
    assert all(one["attack"]["before"]["label"] == one["label"] for one in fooled)
    assert {one["attack"]["name"] for one in fooled} <= {"synonyms-50%", "unicode-50%"}
    assert sum(one["attack"]["name"] == "unicode-50%" for one in fooled) == round(
        (figures[1]["accuracy"] - figures[1]["under_attack"]) * figures[1]["rows"]
    )


@pytest.mark.parametrize("task", sorted(TASKS.keys() - {"sentiment"}))
def test_every_task_can_be_attacked(made: Callable[[str], Path], tmp_path: Path, task: str) -> None:
    folder = made(task)
    out = tmp_path / "fooled.jsonl"
    ran = _attack(folder / "package", "--data", folder / "data", "--words", "100%", "--queries", 60, "-o", out)
    assert ran.exit_code == 0, ran.output
    assert "validation" in ran.stdout
    assert out.exists()


def test_a_part_with_many_bad_records_is_not_attacked(package: Path, tmp_path: Path) -> None:
    rows = [("good film", "positive"), ("bad film", "negative"), ("dull plot", "meh"), ("", "positive")]
    records = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    (tmp_path / "validation.jsonl").write_text("".join(records))
    ran = _attack(package, "--data", tmp_path, "--part", "validation", "--gate", 0)
    assert isinstance(ran.exception, DataError)
    assert str(ran.exception).startswith(
        "validation: 2 of 4 records cannot be used; the first is record 3: label 'meh'"
    )


def test_a_gate_ends_the_command_with_a_sentence(package: Path, data: Path) -> None:
    options = (package, "--data", data, "--part", "validation", "--words", "100%")
    assert _attack(*options, "--gate", 0).exit_code == 0
    ran = _attack(*options, "--gate", 1)
    # Not 2, as wrong options give: a release is held back by it.
    assert ran.exit_code == 1
    assert "steadfast: accuracy under the attack typos 100% is 0." in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "http://127.0.0.1:1/v1/nli"), "either a package or the --url"),
        (("--min-similarity", "0.5"), "with --similarity"),
        (("--search", "exhaustive"), "add --words 1"),
        (("--words", "half"), "no share of them, such as 15%"),
        (("--beam", "3"), "add --search beam"),
        (("--allow", "verbs"), "'stop-words', 'names' or 'numbers'"),
        ((), "name a part"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    package: Path, data: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = _attack(package, "--data", data, *arguments)
    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.replace("│", "").split())


def test_where_the_part_is_missing_that_was_measured_on_validation_is_attacked_and_said(tmp_path: Path) -> None:
    data, report = write_sentiment(tmp_path / "other", train=1, validation=2), tmp_path / "report.json"
    ran = _attack(ZOO / "sentiment", "--data", data, "--queries", 9, "--json", report)
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.stderr.split())
    assert "has no part sst2_validation, which the package was measured on; attacking validation" in said
    assert json.loads(report.read_text())["part"] == "validation"


def test_a_family_that_is_not_there_is_refused(package: Path, data: Path) -> None:
    ran = _attack(package, "--data", data, "--part", "validation", "--attack", "riddles")
    assert "no family of edits 'riddles'; choose one of: typos" in str(ran.exception)


def test_a_part_without_right_answers_says_why(package: Path, tmp_path: Path) -> None:
    (tmp_path / "moods.jsonl").write_text('{"text": "good", "label": "happy"}\n' * 2)
    ran = _attack(package, "--data", tmp_path, "--part", "moods")
    assert "2 of 2 records cannot be used; the first is record 1: label 'happy' is none of: " in str(ran.exception)


def test_ctrl_c_before_any_record_says_so_and_nothing_more(
    package: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> Iterator[Outcome]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)
        yield from ()

    monkeypatch.setattr(Campaign, "run", interrupt)
    ran = _attack(package, "--data", data, "--part", "validation", "--json", tmp_path / "report.json")
    assert (ran.exit_code, ran.stdout) == (130, "")
    assert "stopped after 0 of 12" in ran.stderr
    assert not (tmp_path / "report.json").exists()


def test_ctrl_c_reports_what_is_done_and_the_command_goes_on(
    package: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (package, "--data", data, "--part", "validation")
    really = Campaign.run

    def interrupt(campaign: Campaign, done: int = 0) -> Iterator[Outcome]:
        for number, outcome in enumerate(really(campaign, done)):
            yield outcome
            if number == 4:
                # A shell that starts the tests in the background lets them ignore the signal.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.raise_signal(signal.SIGINT)

    stopped, whole = tmp_path / "stopped.jsonl", tmp_path / "whole.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(Campaign, "run", interrupt)
        ran = _attack(*options, "-o", stopped, "--json", tmp_path / "partial.json")
    assert ran.exit_code == 130
    assert "stopped after 5 of 12" in ran.stderr
    assert "run the same command to continue" in " ".join(ran.stderr.split())
    assert json.loads((tmp_path / "partial.json").read_text())["attacks"][0]["rows"] == 5
    assert _attack(*options, "-o", stopped).exit_code == _attack(*options, "-o", whole).exit_code == 0
    assert stopped.read_bytes() == whole.read_bytes()


def test_similarity_bounds_an_attack(made: Callable[[str], Path], package: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = (package, "--data", data, "--part", "validation", "--rows", 4, "--similarity", made("sts") / "package")
    assert _attack(*options, "--min-similarity", 1, "--json", report).exit_code == 0
    (strict,) = json.loads(report.read_text())["attacks"]
    assert _attack(*options, "--json", report).exit_code == 0
    (free,) = json.loads(report.read_text())["attacks"]
    assert free["under_attack"] <= strict["under_attack"]
    assert strict["similarity"] in (None, 1)
