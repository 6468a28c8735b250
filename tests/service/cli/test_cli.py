"""The command line: help that teaches, answers, and errors in one sentence."""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from models.errors import UserError
from models.methods import METHODS
from models.tasks import TASKS
from models.training.settings import TrainingSettings
from service.cli import main
from service.cli.commands import app
from service.cli.serving.launch import AddressTaken
from service.settings import Settings
from tests.service.conftest import ROOT, Server, steadfast
from tests.service.tiny import build_package

TEXTS = ["the film was good", "awful, simply awful", "👩‍🚀 fine é"]


COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture
def show_help(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Gives the help of a command as a terminal of some width shows it."""

    def show(*command: str, width: int = 80) -> str:
        monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
        return CliRunner().invoke(app, [*command, "--help"]).stdout

    return show


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_whose_lines_fit(command: str, show_help: Callable[..., str]) -> None:
    example = show_help(command).split("Usage")[1].split("\n", 1)[1].split("╭")[0].splitlines()
    assert any(line.strip().startswith(f"steadfast {command}") for line in example)
    wide = show_help(command, width=200).splitlines()
    for line in example:
        if line.strip().startswith(("steadfast ", "curl ")):
            assert line.strip() in map(str.strip, wide)


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_flags_show_no_type(command: tuple[str, ...], show_help: Callable[..., str]) -> None:
    assert "bool" not in show_help(*command)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_help_lists_every_method_and_task(command: str, show_help: Callable[..., str]) -> None:
    said = " ".join(show_help(command, width=200).split())
    assert all(f"{method.name}: {method.summary}" in said for method in METHODS.values())
    assert all(task in said for task in TASKS)


def test_help_of_pretrain_lists_the_methods_that_can(show_help: Callable[..., str]) -> None:
    said = show_help("pretrain", width=200)
    assert "cline:" in said
    assert "afa:" not in said


def test_help_shows_each_default_where_it_is_written(show_help: Callable[..., str]) -> None:
    said = " ".join(show_help("serve", width=200).split())
    assert f"Most inputs in one request. [default: {Settings.model_fields['max_items'].default}]" in said
    said = " ".join(show_help("train", width=200).split())
    assert f"Passes over the data. [default: {TrainingSettings.model_fields['epochs'].default}]" in said


def test_the_version_is_that_of_the_distribution() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"steadfast {importlib.metadata.version('steadfast')}\n"


def test_no_command_shows_them_all() -> None:
    said = steadfast().stdout
    assert all(command in said for command in COMMANDS)


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), RuntimeError("a bug")])
def test_a_bug_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("service.cli.commands.app", fail)
    with pytest.raises(type(error)) as raised:
        main()
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AddressTaken("cannot listen"), "cannot listen"),
        (UserError("put it right"), "put it right"),
        (PermissionError(13, "Permission denied", "x.csv"), "x.csv: Permission denied"),
    ],
)
def test_an_error_that_the_user_can_put_right_is_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("service.cli.commands.app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (2, f"steadfast: {sentence}\n")


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.listing.read_settings", interrupt)
    monkeypatch.setattr("sys.argv", ["steadfast", "models"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "stopped; run the same command to begin anew\n")


def test_predictions_as_json_are_the_results_of_http(package: Path, server: Server) -> None:
    completed = steadfast("predict", "sentiment", *TEXTS, "--explain", "rollout", "--json", "--package", package)
    assert json.loads(completed.stdout) == server.ask(inputs=TEXTS, explain="rollout").json()["results"]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input_is_one_text(package: Path, arguments: tuple[str, ...]) -> None:
    said = steadfast("predict", "sentiment", *arguments, "--json", "--package", package, input="good\nfilm\n").stdout
    (result,) = json.loads(said)
    assert result["tokens"] == 4


def test_no_text_at_all_is_one_sentence(package: Path) -> None:
    said = steadfast("predict", "sentiment", "--package", package, input="")
    assert said.returncode == 2
    assert said.stderr.startswith(
        "steadfast: no text is given, and standard input is empty: write texts after the task"
    )


def test_standard_input_that_is_no_text_is_one_sentence(package: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "predict", "sentiment", "--package", str(package)]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    completed = subprocess.run(command, cwd=ROOT, env=environment, input=b"good \xff", capture_output=True, check=False)
    assert completed.returncode == 2
    assert completed.stderr == b"steadfast: text 1: not valid Unicode; is the terminal set to UTF-8?\n"


def test_standard_input_is_utf_8_in_any_terminal(package: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii:replace"}
    command = [sys.executable, "-m", "service.cli", "predict", "sentiment", "--json", "--explain", "attention"]
    completed = subprocess.run(
        [*command, "--package", str(package)],
        cwd=ROOT,
        env=environment,
        input="\ufeffgood é".encode(),
        capture_output=True,
        check=True,
    )
    (result,) = json.loads(completed.stdout)
    assert [word["end"] for word in result["explanation"]["items"]] == [4, 6]


def test_a_prediction_can_be_read_without_colour(package: Path) -> None:
    said = steadfast("predict", "sentiment", TEXTS[1], "--explain", "attention", "--package", package).stdout
    assert "\x1b" not in said
    assert said.splitlines()[:2] == ["negative  1.000", TEXTS[1]]
    assert said.splitlines()[2].startswith("attention for negative: awful 0.")


def test_the_best_explanation_there_is_can_be_asked_for(package: Path) -> None:
    said = steadfast("predict", "sentiment", "great but boring", "--explain", "best", "--package", package).stdout
    assert said.splitlines()[2] == "decomposition for positive: great +6.00, boring -2.00, but +0.09"


def test_an_answer_with_too_much_to_explain_is_shown_and_the_reason_is_said(package: Path) -> None:
    shown = steadfast("predict", "sentiment", "good", "great " * 129, "--explain", "occlusion", "--package", package)
    assert shown.returncode == 0
    assert shown.stdout.count("positive  ") == 2
    assert shown.stderr.startswith("input 2 is not explained: 129 words to leave out in turn; ")


def test_a_page_that_explains_nothing_is_not_written_in_silence(package: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ("explain", "sentiment", "great " * 129, "--method", "occlusion", "--html", page)
    shown = steadfast(*arguments, "--package", package)
    wrote, unexplained = shown.stderr.splitlines()
    assert wrote == f"wrote {page}"
    assert unexplained.startswith("input 1 is not explained: 129 words to leave out in turn; ")


def test_a_certificate_is_shown_with_its_counterexample(package: Path) -> None:
    shown = steadfast("certify", "sentiment", "boring", "bad", "great " * 100, "--package", package)
    turned, found, held, none, long = shown.stdout.splitlines()
    assert found.startswith("does not hold: boring -> b")
    assert re.search(r" gives positive  0[.]\d+; [0-9]{3} edits [(]typos[)] were tried$", found)
    assert none == "nothing to try: typos change words of 4 to 50 letters of a to z, and the text has none"
    assert [line[:8] for line in (turned, held, long)] == ["negative", "negative", "positive"]
    assert shown.stderr.startswith("input 3 has no certificate: more than ")
    assert shown.returncode == 1


def test_certify_tells_by_its_exit_code_whether_every_certificate_holds(package: Path) -> None:
    codes = [
        steadfast("certify", "sentiment", *texts, "--package", package).returncode
        for texts in (["bad", "so so"], ["bad", "boring"], ["great " * 100], ["bad", " "])
    ]
    assert codes == [0, 1, 1, 2]


def test_a_text_that_typos_leave_alone_has_nothing_to_try(package: Path) -> None:
    completed = steadfast("certify", "sentiment", "so so", "--package", package)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "nothing to try: typos change words of 4 to 50 letters of a to z" in completed.stdout
    assert "holds" not in completed.stdout


def test_certificates_are_printed_as_http_gives_them(package: Path) -> None:
    shown = steadfast("certify", "sentiment", "bad", "--json", "--package", package)
    (result,) = json.loads(shown.stdout)
    assert result["certificate"]["holds"] is True


def test_an_unknown_explanation_lists_those_there_are(package: Path) -> None:
    completed = steadfast("predict", "sentiment", "good", "--explain", "gradient", "--package", package)
    assert completed.returncode == 2
    assert "'attention', 'rollout'" in completed.stderr


@pytest.mark.parametrize("explain", [(), ("--explain", "attention")], ids=["plain", "explained"])
def test_control_characters_do_not_reach_the_terminal(package: Path, explain: tuple[str, ...]) -> None:
    completed = steadfast(
        "predict", "sentiment", *explain, "--package", package, input="good\x1b[2J\x07 \x9bfilm\n\tbad"
    )
    assert "good\ufffd[2J\ufffd \ufffdfilm\n" in completed.stdout
    assert not set(completed.stdout) & set("\x1b\x07\x9b")


def test_control_characters_do_not_shift_the_colours(package: Path) -> None:
    arguments = ("predict", "sentiment", "\x07\x07\x08 awful", "--explain", "attention", "--package", package)
    said = steadfast(*arguments, env=os.environ | {"FORCE_COLOR": "1", "COLORTERM": "truecolor"}).stdout
    assert re.search("\x1b\\[[0-9;]*mawful\x1b", said)


def test_colour_is_used_where_it_is_wanted(package: Path) -> None:
    arguments = ("predict", "sentiment", TEXTS[0], "--explain", "attention", "--package", package)
    assert "\x1b[" in steadfast(*arguments, env=os.environ | {"FORCE_COLOR": "1", "COLORTERM": "truecolor"}).stdout


def test_the_zoo_is_used_unless_a_package_is_named(package: Path) -> None:
    environment = os.environ | {"STEADFAST_ZOO": str(package.parent)}
    assert "positive" in steadfast("predict", "sentiment", "good", env=environment).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("predict", "poetry", "good"), "no task 'poetry'; choose one of: sentiment"),
        (
            ("score", "sentiment", "x.csv", "-o", "models", "--package", "PACKAGE"),
            "models: is a folder; name a file in it with -o",
        ),
        (("predict", "sentiment", "good", "--package", "nowhere"), "nowhere: no such folder"),
        (("predict", "sentiment", "good", "", "--package", "PACKAGE"), "input 2, text: holds no words"),
        (("score", "sentiment", "nowhere.csv", "-o", "x.csv", "--package", "PACKAGE"), "nowhere.csv: no such file"),
        (
            ("score", "sentiment", "x.csv", "-o", "/nowhere/x.csv", "--package", "PACKAGE"),
            "/nowhere/x.csv: there is no folder /nowhere",
        ),
        (("score", "sentiment", "x.csv", "-o", "x.xlsx", "--package", "PACKAGE"), "name it .csv, .tsv, .jsonl"),
        (
            ("score", "sentiment", "models", "-o", "x.csv", "--package", "PACKAGE"),
            "models: holds no file of a known kind: .csv, .tsv",
        ),
        (
            ("evaluate", "tests", "--data", "x"),
            "not a checkpoint, it has no training.json; `steadfast train` makes one",
        ),
        (("serve", "nowhere"), "nowhere: no such folder"),
        (("serve", "PACKAGE", "--host", "example.org"), "host (STEADFAST_HOST)"),
        (("serve", "PACKAGE", "--port", "70000"), "port (STEADFAST_PORT)"),
        (("serve", "PACKAGE", "PACKAGE"), "both called tiny and answer sentiment; serve one"),
    ],
)
def test_what_a_user_can_put_right_is_one_sentence(
    package: Path,
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [str(package) if argument == "PACKAGE" else argument for argument in arguments]
    monkeypatch.setattr("sys.argv", ["steadfast", *named])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("steadfast: ")
    assert said.count("\n") == 1
    assert sentence in said


def test_a_zoo_without_packages_says_so(tmp_path: Path) -> None:
    completed = steadfast("serve", env=os.environ | {"STEADFAST_ZOO": str(tmp_path)})
    assert completed.returncode == 2
    assert "holds no packages" in completed.stderr


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_package_is_refused_before_the_server_starts(package: Path, tmp_path: Path, damage: str) -> None:
    broken = Path(shutil.copytree(package, tmp_path / "broken"))
    if damage == "changed":
        (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes() + b"x")
    else:
        (broken / "tokenizer.json").unlink()
    completed = steadfast("serve", broken)
    assert completed.returncode == 2
    assert ("model.onnx" if damage == "changed" else "tokenizer.json") in completed.stderr


def test_a_port_that_is_taken_is_said_before_the_server_starts(package: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        completed = steadfast("serve", package, "--port", listener.getsockname()[1])
    assert completed.returncode == 2
    assert "choose another with --port" in completed.stderr


def test_settings_come_from_the_command_line_over_the_environment_over_defaults(package: Path) -> None:
    environment = os.environ | {"STEADFAST_PORT": "4000", "STEADFAST_MAX_ITEMS": "5"}
    said = steadfast("serve", package, "--print-config", "--port", "5000", env=environment).stdout
    shown = dict(line.split("=", 1) for line in said.splitlines())
    assert (shown["STEADFAST_PORT"], shown["STEADFAST_MAX_ITEMS"]) == ("5000", "5")
    assert (shown["STEADFAST_HOST"], shown["STEADFAST_PACKAGES"]) == ("127.0.0.1", str(package))


def test_a_package_is_not_guessed_when_the_zoo_has_two_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_package(tmp_path / name)
    completed = steadfast("predict", "sentiment", "good", env=os.environ | {"STEADFAST_ZOO": str(tmp_path)})
    assert completed.returncode == 2
    assert "both called tiny" in completed.stderr
