"""Runs over files that are stopped, killed or disturbed: nothing is lost, and the next run completes them."""

import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.files.job import ScoringJob
from service.files.partial import PartialError
from service.files.scoring import RunStopped, Standing, score_file
from service.files.source import InputChanged
from service.files.target import Target
from service.outcomes.columns import WantedColumns
from tests.service.conftest import ROOT, steadfast, wait_for
from tests.service.files.scored import read, run, texts_of_many_lengths, write

SCORE_AND_MEASURE = """
import resource
from service.cli.commands import app
app(standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Stopped(Exception):
    """Stands for anything that ends a run half-way."""


def stop_at(row: int) -> Any:
    def progress(at: Standing) -> None:
        if at.done == row:
            raise Stopped

    return progress


def test_a_stopped_run_goes_on_where_it_was(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": text} for text in texts_of_many_lengths(300)])
    run(predictor, source, tmp_path / "whole.csv")
    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    for row in (100, 101, 250):
        with pytest.raises(Stopped):
            score_file(predictor, job, stop_at(row))
        assert not (tmp_path / "out.csv").exists()
    told: list[int] = []
    summary = score_file(predictor, job, lambda at: told.append(at.done))
    assert summary.kept == told[0] == 250
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "out.csv.partial").exists()


@pytest.mark.parametrize("change", ["source", "options"])
def test_what_another_run_left_is_not_mixed_in(predictor: Predictor, tmp_path: Path, change: str) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 20)
    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    with pytest.raises(Stopped):
        score_file(predictor, job, stop_at(10))
    if change == "source":
        write(source, [{"text": "bad"}] * 20)
    changes = {"explain": "attention"} if change == "options" else {}
    differs = {"source": "input", "options": "explain"}[change]
    with pytest.raises(PartialError, match=rf"with another {differs}; give the same again to .* with --overwrite"):
        run(predictor, source, tmp_path / "out.csv", **changes)
    assert run(predictor, source, tmp_path / "out.csv", overwrite=True, **changes).kept == 0


def test_what_was_answered_under_another_bound_is_not_mixed_in(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 20)
    job = ScoringJob(
        sources=[str(source)],
        target=Target(str(tmp_path / "out.csv")),
        wanted=WantedColumns(options=Options(certify="typos", on_error="report")),
    )
    with pytest.raises(Stopped):
        score_file(predictor, job, stop_at(10))
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "max_certify_rows", 1)
        with pytest.raises(PartialError, match=r"with another max_certify_rows; give the same again"):
            score_file(predictor, job, lambda _: None)
    assert score_file(predictor, job, lambda _: None).kept == 10


def test_a_source_that_changes_in_place_is_noticed(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 50)

    def change(at: Standing) -> None:
        if at.done == at.total:
            source.write_text(source.read_text().replace("good", "evil"))

    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    with pytest.raises(InputChanged, match="run the command again"):
        score_file(predictor, job, change)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "000000000000.rows"])
def test_a_folder_of_somebody_else_is_never_touched(
    predictor: Predictor, tmp_path: Path, name: str, overwrite: bool
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    (tmp_path / "out.csv.partial").mkdir()
    precious = tmp_path / "out.csv.partial" / name
    precious.write_text("precious")
    with pytest.raises(PartialError, match="holds what no run left there"):
        run(predictor, source, tmp_path / "out.csv", overwrite=overwrite)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("left", [[], ["journal.tmp"]], ids=["nothing", "half a journal"])
def test_a_run_that_was_stopped_while_it_began_begins_again(
    predictor: Predictor, tmp_path: Path, left: list[str]
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    (tmp_path / "out.csv.partial").mkdir()
    for name in left:
        (tmp_path / "out.csv.partial" / name).write_text("{")
    assert run(predictor, source, tmp_path / "out.csv").kept == 0


@pytest.mark.parametrize("damage", ["journal", "records"])
def test_a_damaged_beginning_is_refused_until_it_is_discarded(
    predictor: Predictor, tmp_path: Path, damage: str
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 20)
    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    for row in (5, 10):
        with pytest.raises(Stopped):
            score_file(predictor, job, stop_at(row))
    if damage == "journal":
        (tmp_path / "out.csv.partial" / "journal.json").write_text("{")
    else:
        (tmp_path / "out.csv.partial" / "000000000000.rows").unlink()
    with pytest.raises(PartialError, match=rf"{damage} (is damaged|are missing).* discard it with --overwrite"):
        score_file(predictor, job, lambda *_: None)
    assert run(predictor, source, tmp_path / "out.csv", overwrite=True).kept == 0
    assert len(read(tmp_path / "out.csv")) == 20


def _hear_interrupts() -> None:
    """A suite that runs in a shell's background was started deaf to SIGINT, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_long_run(package: Path, tmp_path: Path, rows: int = 6_000) -> tuple[list[str], Path]:
    write(tmp_path / "in.csv", [{"n": number, "text": text} for number, text in enumerate(texts_of_many_lengths(rows))])
    target = tmp_path / "out.csv"
    arguments = ["score", "sentiment", tmp_path / "in.csv", "-o", target, "--package", package]
    return [sys.executable, "-m", "service.cli", *map(str, arguments)], target


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_killed_leaves_no_output_and_the_next_completes_it(
    package: Path, tmp_path: Path, how: signal.Signals
) -> None:
    # Five times what is kept at once, so that it is still under way when the first of it is there.
    command, target = start_long_run(package, tmp_path, rows=10_000)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts)
    wait_for(lambda: any(tmp_path.glob("out.csv.partial/*.rows")))
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert not target.exists()
    if how != signal.SIGKILL:
        assert (process.returncode, said.count("\n")) == (130, 1)
        assert "run the same command to continue" in said

    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "by an earlier run" in completed.stderr
    assert [row["n"] for row in read(target)] == [str(number) for number in range(10_000)]
    assert not (tmp_path / "out.csv.partial").exists()


def test_answers_that_take_long_are_kept_before_there_are_many(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.files.partial.FLUSH_S", 0)
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 5)
    kept: list[int] = []

    def look(at: Standing) -> None:
        if at.done:
            kept.append(len(list((tmp_path / "out.csv.partial").glob("*.rows"))))

    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    assert score_file(predictor, job, look).records == 5
    assert kept == [1, 2, 3, 4, 5]


def test_a_stream_leaves_nothing_behind_and_promises_none_to_go_on_from(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": " "}, {"text": "bad"}])
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    # A process of this number was killed, or runs in a container that shares the folder.
    somebodys = folder / f"steadfast-{os.getpid()}.partial"
    somebodys.mkdir()
    (somebodys / "journal.json").write_text("{}")

    def check_rights(_: Standing) -> None:
        (own,) = set(folder.iterdir()) - {somebodys}
        assert own.stat().st_mode & 0o777 == 0o700

    job = ScoringJob(sources=[str(source)], target=Target("-"))
    assert score_file(predictor, job, check_rights).kept == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    with pytest.raises(RunStopped, match=r"; mend the input, or run the command with a higher --max-errors$"):
        score_file(predictor, replace(job, max_errors=0), check_rights)
    with pytest.raises(RunStopped, match=r"in\.csv: no such file[^;]*$"):
        score_file(predictor, job, lambda at: source.unlink() if at.done == at.total else None)
    assert list(folder.iterdir()) == [somebodys]
    assert [one.name for one in somebodys.iterdir()] == ["journal.json"]


def test_ctrl_c_in_a_stream_says_to_begin_anew(package: Path, tmp_path: Path) -> None:
    command, _ = start_long_run(package, tmp_path, rows=10_000)
    command[command.index("-o") + 1] = "-"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,
    )
    wait_for(lambda: any(tmp_path.glob("steadfast-*/*/*.rows")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "stopped; run the same command to begin anew\n")
    assert not list(tmp_path.glob("steadfast-*"))


@pytest.mark.parametrize(("limit", "kept"), [(200_000, 0), (800_000, 6_000)], ids=["predictions", "output"])
def test_a_full_disk_is_one_sentence_and_leaves_no_output(package: Path, tmp_path: Path, limit: int, kept: int) -> None:
    command, target = start_long_run(package, tmp_path)

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    completed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, preexec_fn=limit_files
    )
    assert completed.returncode == 1
    assert completed.stderr.count("\n") == 1
    assert "File too large" in completed.stderr
    assert not target.exists()
    left = sorted((tmp_path / "out.csv.partial").iterdir())
    assert sum(len(path.read_text().splitlines()) for path in left if path.suffix == ".rows") == kept
    assert {path.suffix for path in left} <= {".rows", ".json"}


def test_the_limits_of_a_server_do_not_concern_a_file(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good " * 200}] * 100)
    environment = os.environ | {"STEADFAST_QUEUED_ROWS": "1", "STEADFAST_QUEUED_TOKENS": "1"}
    completed = steadfast(
        "score", "sentiment", source, "-o", tmp_path / "out.csv", "--package", package, env=environment
    )
    assert completed.stderr.splitlines()[0] == "100 records: 100 answered, 0 refused"


def test_a_number_that_is_missing_is_null_in_json(predictor: Predictor, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["good"], "x": [float("nan")]}), tmp_path / "in.parquet")
    run(predictor, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert '"x": null' in (tmp_path / "out.jsonl").read_text()


def test_memory_does_not_grow_with_the_file(package: Path, tmp_path: Path) -> None:
    peaks = []
    for rows in (2_000, 9_000):
        source = write(tmp_path / "in.jsonl", [{"text": "good film " * 10}] * rows)
        arguments = ["score", "sentiment", source, "-o", tmp_path / f"{rows}.parquet", "--package", package]
        completed = subprocess.run(
            [sys.executable, "-c", SCORE_AND_MEASURE, *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        peaks.append(int(completed.stdout) / 1024)
    # MiB; what is held for one row more, some 2 kB, would show as 14.
    assert peaks[1] - peaks[0] < 7


def test_the_command_says_how_it_went(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": " "}])
    completed = steadfast("score", "sentiment", source, "-o", tmp_path / "out.csv", "--package", package)
    assert (completed.returncode, completed.stdout) == (3, "")
    first, *others = completed.stderr.splitlines()
    assert first == "2 records: 1 answered, 1 refused; the column 'error' says why"
    assert others[0] == "answers     positive 1 (100.0%)"
    assert others[-1] == "failed      empty_input 1, first in record 2"


def test_a_run_without_one_answer_writes_its_reasons_and_ends_with_1(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": ""}, {"text": " "}])
    completed = steadfast("score", "sentiment", source, "-o", tmp_path / "out.csv", "--package", package)
    assert completed.returncode == 1
    assert completed.stderr.splitlines() == [
        "2 records: 0 answered, 2 refused; the column 'error' says why",
        "failed      empty_input 2, first in record 1",
    ]
    assert "holds no words" in (tmp_path / "out.csv").read_text()
