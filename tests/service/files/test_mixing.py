"""Runs that could take their own files for input, go on from those of another run, or write over what is not theirs."""

from pathlib import Path
from typing import Any

import pytest

from models.folders import InUse
from service.answers.predictor import Predictor
from service.files.job import ScoringJob
from service.files.partial import FINISHED, PartialError
from service.files.scoring import RunStopped, Standing, score_file
from service.files.source import InputChanged, survey_source
from service.files.target import OutputError, Target
from tests.service.conftest import steadfast
from tests.service.files.scored import read, write


class Stopped(Exception):
    """Stands for anything that ends a run half-way."""


def stop(at: Standing) -> None:
    if at.done == 10:
        raise Stopped


def go_on(_: Standing) -> None:
    """Let the run go on."""


def job(source: Path, target: object, **given: Any) -> ScoringJob:
    return ScoringJob(sources=[str(source)], target=Target(str(target)), **given)


def test_records_that_come_while_the_input_is_counted_are_noticed(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 20)

    def survey_and_grow(*given: Any, **options: Any) -> Any:
        surveyed = survey_source(*given, **options)
        source.write_text(source.read_text() + "late\n")
        return surveyed

    monkeypatch.setattr("service.files.scoring.survey_source", survey_and_grow)
    with pytest.raises(InputChanged, match="was written to while it was read"):
        score_file(predictor, job(source, tmp_path / "out.csv"), go_on)
    assert not (tmp_path / "out.csv").exists()


def test_the_same_bytes_read_as_another_kind_are_another_input(predictor: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.dat"
    source.write_text("text\n" + "good\nbad\n" * 20)
    with pytest.raises(Stopped):
        score_file(predictor, job(source, tmp_path / "out.jsonl", kind="txt"), stop)
    with pytest.raises(PartialError, match="with another kind of input; give the same again"):
        score_file(predictor, job(source, tmp_path / "out.jsonl", kind="csv"), go_on)


def test_errors_of_an_earlier_run_count_against_the_errors_allowed(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": " " if number % 2 else "good"} for number in range(8)])
    for _ in range(3):
        with pytest.raises(RunStopped, match=r"4 records were refused, and --max-errors allows 3; .*no words"):
            score_file(predictor, job(source, tmp_path / "out.csv", max_errors=3), go_on)
    assert not (tmp_path / "out.csv").exists()


def test_a_run_goes_on_whose_unfinished_files_lie_in_its_input(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.csv", [{"text": "good"}] * 20)
    for source in (tmp_path / "in", tmp_path / "in" / "**" / "*.*"):
        target = tmp_path / "in" / "out.csv"
        with pytest.raises(Stopped):
            score_file(predictor, job(source, target), stop)
        counts = score_file(predictor, job(source, target), go_on)
        assert (counts.records, counts.answered, counts.kept) == (20, 20, 10)
        target.unlink()


def test_a_finished_run_is_written_where_the_command_wants_it(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 5)
    with pytest.raises(UserWarning):
        _fail_to_put(predictor, job(source, "memory://one/out.csv"), monkeypatch)
    assert (tmp_path / "out.csv.partial" / FINISHED).exists()
    with pytest.raises(PartialError, match=r"was to write memory://one/out\.csv; run that command again"):
        score_file(predictor, job(source, "out.csv"), go_on)
    assert score_file(predictor, job(source, "out.csv", overwrite=True), go_on).kept == 5
    assert len(read(tmp_path / "out.csv")) == 5


def _fail_to_put(predictor: Predictor, ordered: ScoringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.files.storage import RemoteStorage

    def fail(*_: object) -> None:
        raise UserWarning("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(RemoteStorage, "put", fail)
        score_file(predictor, ordered, go_on)


def test_two_runs_do_not_work_in_one_folder(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 20)

    def begin_another(at: Standing) -> None:
        if at.done == 10:
            for overwrite in (False, True):
                with pytest.raises(InUse, match=r"out\.csv\.partial: another run is working in it"):
                    score_file(predictor, job(source, tmp_path / "out.csv", overwrite=overwrite), go_on)

    assert score_file(predictor, job(source, tmp_path / "out.csv"), begin_another).answered == 20
    assert len(read(tmp_path / "out.csv")) == 20


@pytest.mark.parametrize("beside", ["in.csv", "out.csv", "bad.csv", "out.csv.run.json"])
def test_a_summary_never_replaces_another_file_of_the_run(package: Path, tmp_path: Path, beside: str) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    before = source.read_bytes()
    words = ("-o", tmp_path / "out.csv", "--errors", tmp_path / "bad.csv", "--summary", tmp_path / beside)
    ran = steadfast("score", "sentiment", source, *words, "--package", package)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert "choose another name with --summary" in ran.stderr
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_folder_is_not_written_over_a_file(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        score_file(predictor, job(source, f"{tmp_path}/out/", overwrite=True), go_on)
