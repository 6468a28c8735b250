"""Disks that are full, that fail, or that are taken away: a sentence, and then the same command completes the run."""

import gc
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from service.answers.predictor import Predictor
from service.cli.files.score import ending_well
from service.files.job import ScoringJob
from service.files.scoring import Standing, score_file
from service.files.target import Target
from tests.service.files.scored import texts_of_many_lengths, write

RECORDS = 1_200
AT = 300
"""The number of answers at which something happens to the input, of which a part is not read yet."""

ROOM = (16_000, 40_000, 100_000, 200_000, 400_000, 800_000, 1_600_000, 8_000_000)
"""Bytes that a disk is given, one after the other: at first it has room for next to nothing, in the end for all."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run has several files of answers, and many records to read when the first are answered."""
    monkeypatch.setattr("service.files.partial.FLUSH_RECORDS", 300)
    monkeypatch.setattr("service.outcomes.answering.WINDOW_RECORDS", 128)
    monkeypatch.setattr("models.files.rows.BLOCK_RECORDS", 128)


class SmallDisk:
    """A disk of this computer's memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def give(self, size: int) -> None:
        """Let it have room for so many bytes in all."""
        _mount("-o", f"remount,size={size}", str(self.folder))


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be had here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={ROOM[0]}", "tmpfs", str(folder))
    # A file that is left open keeps the disk from being taken away, and the collector would hide it now and then.
    gc.disable()
    try:
        yield SmallDisk(folder)
        subprocess.run(["umount", str(folder)], check=True)
    finally:
        gc.enable()
        subprocess.run(["umount", "--lazy", "--quiet", str(folder)], check=False)


@pytest.fixture
def rows() -> list[dict[str, object]]:
    texts = texts_of_many_lengths(RECORDS)
    return [{"n": number, "text": " " if number % 500 == 7 else text} for number, text in enumerate(texts)]


def said_by(
    capsys: pytest.CaptureFixture[str], predictor: Predictor, job: ScoringJob, tell: Callable[..., None]
) -> str:
    """The one sentence with which the command ends, which also ends with 1; nothing where it did its work."""
    capsys.readouterr()
    code = 0
    try:
        with ending_well(job.partial):
            score_file(predictor, job, tell)
    except typer.Exit as end:
        code = end.exit_code
    said = capsys.readouterr().err
    assert (code, said.count("\n")) in {(0, 0), (1, 1)}, said
    return said


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files of a folder but the record of the run, which names them."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {one.name: one.read_bytes() for one in found if one.is_file() and not one.name.endswith("run.json")}


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.arrow", "out.jsonl.gz", "out/"])
def test_a_run_on_a_disk_that_is_full_time_after_time_ends_as_on_a_large_one(
    predictor: Predictor,
    tmp_path: Path,
    disk: SmallDisk,
    rows: list[dict[str, object]],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", rows[:100])
    write(tmp_path / "in" / "b.parquet", rows[100:])

    def job_in(folder: Path) -> ScoringJob:
        target = Target(str(folder / name) + "/" * name.endswith("/"))
        return ScoringJob(sources=[str(tmp_path / "in")], target=target, errors=folder / "errors.csv")

    whole, small = job_in(tmp_path), job_in(disk.folder)
    score_file(predictor, whole, lambda _: None)
    ends, kept = list[str](), list[int]()
    for room in ROOM:
        disk.give(room)
        ends.append(said_by(capsys, predictor, small, lambda at: kept.append(at.done)))
        if not ends[-1]:
            break
        assert "No space left on device" in ends[-1]
        assert str(disk.folder) in ends[-1]
        assert not small.target.path.exists()
        assert not disk.folder.joinpath("errors.csv").exists()
    assert len(ends) > 3
    assert not ends[-1]
    assert "make room, and run the same command to go on from" in ends[-2]
    assert contents(small.target.path) == contents(whole.target.path)
    assert contents(disk.folder / "errors.csv") == contents(tmp_path / "errors.csv")
    assert sorted(path.name for path in disk.folder.iterdir()) == sorted(
        {
            "errors.csv",
            small.target.path.name,
            small.target.record.name if small.target.path.is_file() else "errors.csv",
        }
    )
    # What was once on the disk is not computed again.
    assert all(one <= next_one for one, next_one in itertools.pairwise(_firsts(kept)))
    assert _firsts(kept)[-1] == RECORDS


def _firsts(done: list[int]) -> list[int]:
    """What each of several runs began with, which told how far they were one after the other."""
    return [done[0], *(after for before, after in itertools.pairwise(done) if after != before + 1)]


def vanish(source: Path) -> None:
    source.unlink()


def cut(source: Path) -> None:
    os.truncate(source, source.stat().st_size // 2)


def fail(source: Path) -> None:
    """Put in place of the file one that exists, and whose every byte is an error of the disk."""
    source.unlink()
    source.symlink_to("/proc/self/mem")


NEEDS_MEMORY = pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="there is no file here that fails to be read"
)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".csv.gz"])
@pytest.mark.parametrize("happens", [vanish, cut, pytest.param(fail, marks=NEEDS_MEMORY)])
@pytest.mark.parametrize("place", [0, 1], ids=["the file that is read", "the next file"])
def test_an_input_that_is_lost_in_mid_run_leaves_a_run_that_can_go_on(
    predictor: Predictor,
    tmp_path: Path,
    rows: list[dict[str, object]],
    ending: str,
    happens: Callable[[Path], None],
    place: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = [write(tmp_path / f"{number}{ending}", rows[number::2]) for number in range(2)]
    job = ScoringJob(sources=[str(one) for one in sources], target=Target(str(tmp_path / "out.jsonl")))
    score_file(predictor, replace(job, target=Target(str(tmp_path / "whole.jsonl"))), lambda _: None)
    lost = sources[place]
    content = lost.read_bytes()

    answered: list[int] = []

    def lose(at: Standing) -> None:
        answered.append(at.done)
        if at.done == AT:
            happens(lost)

    said = said_by(capsys, predictor, job, lose)
    assert said.startswith(f"steadfast: {lost}: ")
    assert "the same command goes on from there" in said or "with the input as it was, which goes on" in said
    assert not (tmp_path / "out.jsonl").exists()
    if happens is cut and place == 0 and ending in {".csv", ".jsonl"}:
        assert max(answered) < RECORDS // 2  # These are read piece by piece, and the end of the file was not read yet.
    lost.unlink(missing_ok=True)
    lost.write_bytes(content)
    began: list[int] = []
    assert not said_by(capsys, predictor, job, lambda at: began.append(at.done))
    assert AT <= began[0] <= RECORDS
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
