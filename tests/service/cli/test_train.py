"""The commands that make a model, as a user runs them: train, evaluate, export, verify, then predict."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import run_steadfast
from tests.tiny import WORDNET, make_base, write_sentiment


def _run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_steadfast(*arguments, cwd=cwd, env=os.environ | {"COLUMNS": "200", "WNSEARCHDIR": str(WORDNET)})


TRAIN = ("train", "--task", "sentiment", "--max-tokens", "32", "--out", "new")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, data, a trained checkpoint and the package made of it."""
    folder = tmp_path_factory.mktemp("workshop")
    make_base(folder / "base")
    write_sentiment(folder / "data", train=300, validation=40)
    (folder / "run.toml").write_text(
        'task = "sentiment"\nmethod = "plain"\nepochs = 9\nmax_tokens = 32\nprecision = "fp32"\nbatch_size = 16\n'
        "learning_rate = 0.003\n"
    )
    trained = _run(
        "train", "--config", "run.toml", "--method", "asa", "--set", "tau=0.4", "--base", "base", "--data", "data",
        "--out", "checkpoint", cwd=folder,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    exported = _run("export", "checkpoint", "-o", "package", cwd=folder)
    assert exported.returncode == 0, exported.stderr
    return folder


def test_options_win_over_the_settings_file(workshop: Path) -> None:
    record = json.loads((workshop / "checkpoint" / "training.json").read_text())
    assert record["method"]["name"] == "asa"
    assert record["method"]["settings"]["tau"] == 0.4
    assert record["settings"]["epochs"] == 9


def test_a_checkpoint_and_its_package_are_measured_alike(workshop: Path) -> None:
    found = [
        json.loads(_run("evaluate", name, "--data", "data", "--json", cwd=workshop).stdout)["validation"]
        for name in ("checkpoint", "package")
    ]
    assert found[0].keys() == found[1].keys() == {"accuracy", "f1", "rows"}
    assert abs(found[0]["accuracy"] - found[1]["accuracy"]) <= 0.05  # two of 40 rows


def test_robustness_is_measured_too_where_it_is_asked_for(workshop: Path) -> None:
    measured = _run("evaluate", "package", "--data", "data", "--robust", "--json", cwd=workshop)
    found = json.loads(measured.stdout)
    assert list(found) == ["validation", "validation, typos", "validation, word swaps", "validation, synonyms", "names"]
    assert found["validation, typos"]["rows"] == 40
    assert 0 <= found["names"]["name_gap"] <= 1
    assert "left out: IMDB contrast: data has no imdb_contrast_validation" in measured.stderr


def test_methods_are_compared_in_one_table_that_says_how_it_was_made(workshop: Path) -> None:
    command = (
        "compare", "--config", "run.toml", "--methods", "plain,asa", "--set", "asa.tau=0.4", "--seeds", "1", "--base",
        "base", "--data", "data", "--rows", "64", "--measured-rows", "20", "--epochs", "1", "--out", "compared",
    )  # fmt: skip
    compared = _run(*command, cwd=workshop)
    assert compared.returncode == 0, compared.stderr
    assert "| figure | rows | plain | asa |" in compared.stdout
    assert "- asa: seeds 42; tau 0.4" in compared.stdout
    assert f"Made by `steadfast {' '.join(command)}`." in compared.stdout
    assert (workshop / "compared" / "comparison.md").read_text() == compared.stdout.removesuffix("\n")
    record = json.loads((workshop / "compared" / "comparison.json").read_text())
    assert set(record["rows"].values()) == {20}
    assert record["settings"]["rows"] == 64


def test_verify_passes_every_check_of_a_whole_package(workshop: Path) -> None:
    verified = _run("verify", "package", "--data", "data", "--checkpoint", "checkpoint", cwd=workshop)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert [line.split()[0] for line in verified.stdout.splitlines() if ":" in line].count("passed") == 7


def test_verify_names_the_file_that_was_changed(workshop: Path, tmp_path: Path) -> None:
    for path in (workshop / "package").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "model.onnx").open("ab") as file:
        file.write(b"x")
    verified = _run("verify", tmp_path, cwd=workshop)
    assert verified.returncode == 2
    assert "model.onnx: not the file the package was made with" in verified.stderr


def test_the_package_answers_in_a_terminal(workshop: Path) -> None:
    answered = _run("predict", "sentiment", "a lovely film", "--package", "package", "--json", cwd=workshop)
    assert json.loads(answered.stdout)[0]["label"] == "positive"


def test_a_pre_trained_base_is_trained_from_and_not_exported(workshop: Path) -> None:
    options = ("--data", "data", "--epochs", "1", "--max-tokens", "32", "--batch-size", "50")
    pretrained = _run("pretrain", "--method", "asa", "--base", "base", "--out", "new-base", *options, cwd=workshop)
    assert pretrained.returncode == 0, pretrained.stderr
    assert "next: steadfast train --task TASK --base new-base" in pretrained.stderr
    trained = _run(
        "train", "--task", "sentiment", "--base", "new-base", "--out", "from-new-base", *options, cwd=workshop
    )
    assert trained.returncode == 0, trained.stderr
    refused = _run("export", "new-base", "-o", "new-package", cwd=workshop)
    assert refused.returncode == 2
    assert "new-base: pre-trained on masked-words, which answers nothing and cannot be exported" in refused.stderr


def test_interrupted_training_says_how_to_go_on_and_does(workshop: Path) -> None:
    arguments = [
        "train",
        "--config",
        "run.toml",
        "--base",
        "base",
        "--data",
        "data",
        "--out",
        "slow",
        "--epochs",
        "400",
    ]
    command = [sys.executable, "-m", "service.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, cwd=workshop, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "epoch 1 of 400" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in rest
    assert (workshop / "slow.training" / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--task", "sentimnt", "--base", "base", "--data", "data"), "no task 'sentimnt'"),
        ((*TRAIN, "--base", "base", "--data", "data", "--unlabelled", "train"), "learns from labelled records alone"),
        (
            (*TRAIN, "--base", "nowhere/at-all", "--data", "data"),
            "nowhere/at-all: no tokenizer here",
        ),
        (
            (*TRAIN, "--base", "base", "--data", "nowhere"),
            "'nowhere' is neither a folder",
        ),
        ((*TRAIN, "--base", "base"), "source.data is not set; pass --data"),
        (("compare", "--methods", "plain,asb", "--out", "x", *TRAIN[1:5]), "source.data is not set; pass --data"),
        (
            ("compare", "--methods", "plain,asb", "--out", "x", *TRAIN[1:5], "--base", "base", "--data", "data"),
            "no training method 'asb'; choose one of: plain, asa",
        ),
        (("compare", "--methods", "plain", "--out", "x", "--set", "asa.tau=1"), "write METHOD.NAME=VALUE"),
        (("export", "data", "-o", "x"), "not a checkpoint, it has no training.json"),
        (("export", "checkpoint", "-o", "package"), "package: exists already"),
        (("evaluate", "data", "--data", "data"), "not a checkpoint"),
        (("evaluate", "package", "--data", "data", "--part", "test"), "no part 'test'; there are: train, validation"),
        (
            ("verify", "checkpoint"),
            "checkpoint: a checkpoint; `steadfast export checkpoint -o PACKAGE` makes",
        ),
        (("verify", "package/model.onnx"), "a file, not a folder; name the folder that it is in; a package is"),
        (("verify", "data"), "package.json: missing"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    workshop: Path, arguments: tuple[str, ...], message: str
) -> None:
    failed = _run(*arguments, cwd=workshop)
    assert failed.returncode == 2, failed.stderr
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
