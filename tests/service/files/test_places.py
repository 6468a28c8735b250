"""Files that lie elsewhere, through fsspec, and files whose disk fails."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from models.files.formats import read_records
from models.files.rows import DamagedFile, RecordsError
from models.files.storage import StorageError
from service.answers.predictor import Predictor
from service.files.job import ScoringJob
from service.files.scoring import score_file
from service.files.target import OutputError, Target


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """A file system of fsspec, and a working folder of its own for what is kept meanwhile."""
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def score(predictor: Predictor, source: str, target: str, *, overwrite: bool = False) -> None:
    score_file(predictor, ScoringJob(sources=[source], target=Target(target), overwrite=overwrite), lambda _: None)


def test_files_elsewhere_are_read_and_written(
    predictor: Predictor, elsewhere: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    for number, text in enumerate(("good", "bad")):
        elsewhere.pipe_file(f"/in/{number}.jsonl", json.dumps({"text": text}).encode())
    for source in ("memory://in", "memory://in/*.jsonl"):
        score(predictor, source, "memory://out/scored.jsonl", overwrite=True)
        rows = [json.loads(line) for line in elsewhere.cat_file("/out/scored.jsonl").splitlines()]
        assert [row["label"] for row in rows] == ["positive", "negative"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_elsewhere_is_written_over_unless_it_is_asked_for(
    predictor: Predictor, elsewhere: fsspec.AbstractFileSystem
) -> None:
    elsewhere.pipe_file("/in/a.jsonl", b'{"text": "good"}')
    elsewhere.pipe_file("/there.jsonl", b"mine")
    with pytest.raises(OutputError, match=r"memory://there\.jsonl: exists already; .* pass --overwrite"):
        score(predictor, "memory://in/a.jsonl", "memory://there.jsonl")
    assert elsewhere.cat_file("/there.jsonl") == b"mine"
    for source in ("memory://in/a.jsonl", "memory://in", "memory:///in/*.jsonl"):
        with pytest.raises(OutputError, match="is the input; choose another name"):
            score(predictor, source, "memory:///in/a.jsonl", overwrite=True)
    assert elsewhere.cat_file("/in/a.jsonl") == b'{"text": "good"}'


def test_an_address_of_this_machine_is_a_path(predictor: Predictor, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "good"}')
    with pytest.raises(OutputError, match="is the input; choose another name"):
        score(predictor, str(source), f"file://{source}", overwrite=True)
    score(predictor, f"file://{source}", f"file://{target}")
    assert json.loads(target.read_text())["label"] == "positive"
    with pytest.raises(OutputError, match="exists already"):
        score(predictor, str(source), f"file://{target}")


@pytest.mark.usefixtures("elsewhere")
def test_what_is_not_there_or_unknown_is_one_sentence(predictor: Predictor) -> None:
    with pytest.raises(RecordsError, match=r"memory://none\.csv: no such file"):
        score(predictor, "memory://none.csv", "out.csv")
    with pytest.raises(StorageError, match=r"nowhere://a\.csv: cannot be opened"):
        score(predictor, "nowhere://a.csv", "out.csv")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no file here that fails to be read")
@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.txt"])
def test_a_disk_that_fails_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/proc/self/mem")
    with pytest.raises(DamagedFile, match=rf"{name}: .*Input/output error"):
        list(read_records(tmp_path / name))
