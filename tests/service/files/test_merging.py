"""Shards of a run joined into what one run would have written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.files.job import ScoringJob
from service.files.merging import ShardsError, merge, name_of_shard
from service.files.scoring import score_file
from service.files.selection import Selection, Shard
from service.files.target import OutputError, Target
from service.outcomes.columns import WantedColumns
from tests.service.conftest import steadfast
from tests.service.files.scored import texts_of_many_lengths, write


def score(predictor: Predictor, source: Path, target: Path, shard: Shard | None = None, **given: Any) -> None:
    name = name_of_shard(str(target), shard) if shard else str(target)
    job = ScoringJob(sources=[str(source)], target=Target(name), selection=Selection(shard=shard), **given)
    score_file(predictor, job, lambda _: None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [{"n": number, "text": text} for number, text in enumerate([*texts_of_many_lengths(300), " "])]
    return write(tmp_path / "in.jsonl", rows)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "json", "parquet"])
def test_merged_shards_are_what_one_run_writes(predictor: Predictor, source: Path, tmp_path: Path, ending: str) -> None:
    score(predictor, source, tmp_path / f"whole.{ending}")
    for number in (3, 1, 2):
        score(predictor, source, tmp_path / f"out.{ending}", Shard(number, 3))
    counts = merge(str(tmp_path / f"out.{ending}"), overwrite=False).counts
    assert (counts.records, counts.answered, counts.refused, counts.skipped) == (301, 300, 1, 0)
    assert (tmp_path / f"out.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    records = [json.loads((tmp_path / f"{name}.{ending}.run.json").read_text()) for name in ("out", "whole")]
    assert records[0] == records[1]


def test_shards_whose_name_says_no_kind_are_merged_as_the_kind_that_is_said(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": "bad"}])
    kind = ("--output-format", "jsonl")
    for shard in ("1/2", "2/2"):
        words = ("score", "sentiment", source, "-o", tmp_path / "out.dat", "--shard", shard, "--package", package)
        assert steadfast(*words, *kind).returncode == 0
    merged = steadfast("merge", tmp_path / "out.dat", *kind)
    assert merged.returncode == 0
    assert merged.stderr.startswith("2 records: 2 answered, 0 refused\nanswers ")
    assert [json.loads(line)["text"] for line in (tmp_path / "out.dat").read_text().splitlines()] == ["good", "bad"]


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        ("out.csv", "is written for OUTPUT too; choose another name with --summary"),
        ("out.csv.run.json", "is written for OUTPUT too; choose another name with --summary"),
        ("out.1-of-2.csv", "is of a shard, which stays as it is; choose another name with --summary"),
        ("out.2-of-2.csv.run.json", "is of a shard, which stays as it is; choose another name with --summary"),
        ("out.html", "is written for --summary too; choose another name with --report"),
    ],
)
def test_a_file_beside_the_output_takes_the_name_of_no_other(
    predictor: Predictor, source: Path, tmp_path: Path, taken: str, reason: str
) -> None:
    for number in (1, 2):
        score(predictor, source, tmp_path / "out.csv", Shard(number, 2))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    merged = steadfast("merge", tmp_path / "out.csv", "--summary", tmp_path / taken, "--report", tmp_path / "out.html")
    assert merged.returncode == 2
    assert f"{taken}: {reason}" in merged.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("option", ["--summary", "--report"])
def test_a_file_beside_the_output_takes_the_name_of_no_input(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "good"}, {"text": "bad"}])
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        score(predictor, Path(source.name), Path("out.csv"), Shard(number, 2))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=rf"in\.jsonl: is among the input .*; choose another name with {option}"):
        merge("out.csv", overwrite=False, beside={option: Path(source.name)})
    # From another folder, the name in the record leads nowhere.
    monkeypatch.chdir("/")
    with pytest.raises(OutputError, match=rf"in\.jsonl: has the contents of .*; choose another name with {option}"):
        merge(str(tmp_path / "out.csv"), overwrite=False, beside={option: source})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_file_is_written_into_a_package(predictor: Predictor, tmp_path: Path, package: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "good"}, {"text": "bad"}])
    for number in (1, 2):
        score(predictor, source, tmp_path / "out.csv", Shard(number, 2))
    before = {path: path.read_bytes() for path in package.iterdir()}
    for name in ("package.json", "summary.json"):
        with pytest.raises(OutputError, match=rf"{name}: lies in .*; choose another name with --summary"):
            merge(str(tmp_path / "out.csv"), overwrite=True, beside={"--summary": package / name})
    assert {path: path.read_bytes() for path in package.iterdir()} == before


def test_shards_of_one_name_with_their_input_are_not_merged_into_it(predictor: Predictor, source: Path) -> None:
    for number in (1, 2):
        score(predictor, source, source, Shard(number, 2))
    before = source.read_bytes()
    with pytest.raises(OutputError, match=r"in\.jsonl: is among the input and the output; choose another .* OUTPUT"):
        merge(str(source), overwrite=True)
    assert source.read_bytes() == before


def test_a_missing_shard_is_named(predictor: Predictor, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardsError, match=r"there is no .*out\.1-of-2\.csv or the like"):
        merge(str(tmp_path / "out.csv"), overwrite=False)
    score(predictor, source, tmp_path / "out.csv", Shard(2, 3))
    with pytest.raises(ShardsError, match="of 3 shards, these are missing: 1, 3"):
        merge(str(tmp_path / "out.csv"), overwrite=False)


def test_shards_of_two_runs_are_not_mixed(predictor: Predictor, source: Path, tmp_path: Path) -> None:
    score(predictor, source, tmp_path / "out.csv", Shard(1, 2))
    other = WantedColumns(options=Options(truncation="right"))
    score(predictor, source, tmp_path / "out.csv", Shard(2, 2), wanted=other)
    with pytest.raises(ShardsError, match=r"out\.2-of-2\.csv: is of another run than .*out\.1-of-2\.csv"):
        merge(str(tmp_path / "out.csv"), overwrite=False)


def test_a_shard_that_was_changed_is_refused(predictor: Predictor, source: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        score(predictor, source, tmp_path / "out.csv", Shard(number, 2))
    with (tmp_path / "out.2-of-2.csv").open("a") as file:
        file.write("more\n")
    with pytest.raises(ShardsError, match=r"out\.2-of-2\.csv: was changed since"):
        merge(str(tmp_path / "out.csv"), overwrite=False)


def test_a_shard_needs_a_file_of_its_own() -> None:
    for name in ("-", "out/"):
        with pytest.raises(OutputError, match="a file of its own"):
            name_of_shard(name, Shard(1, 2))
    assert name_of_shard("s3://bucket/a.b.csv.gz", Shard(1, 2)) == "s3://bucket/a.b.1-of-2.csv.gz"


def test_the_command_ends_as_one_run_does(package: Path, tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("good", " ", "bad", *texts_of_many_lengths(40), " ", "", "not bad")]
    source = write(tmp_path / "in.csv", rows)
    words = ("score", "sentiment", source, "--package", package, "--min-confidence", "0.9", "--progress", "off")

    def beside(name: str) -> tuple[object, ...]:
        return ("--summary", tmp_path / f"{name}.json", "--report", tmp_path / f"{name}.html")

    whole = steadfast(*words, "-o", tmp_path / "whole.csv", *beside("whole"))
    assert "first in record 2" in whole.stderr
    for number in (1, 2, 3):
        assert steadfast(*words, "-o", tmp_path / "out.csv", "--shard", f"{number}/3").returncode in (0, 3)
    merged = steadfast("merge", tmp_path / "out.csv", *beside("out"))
    assert (merged.returncode, merged.stderr) == (3, whole.stderr)
    for ending in ("csv", "json", "html"):
        assert (tmp_path / f"out.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes(), ending


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("counted",), None, "counted: "),
        (("counted", "tallies", "tokens"), [[1, 2, 3]], "counted.tallies.tokens.0: "),
        (("counted", "failures"), [{"code": "nonsense"}], "counted.failures.0.code"),
        (("counts", "records"), "many", "counts.records: must be a whole number"),
        (("sources",), [{}], "sources.0.name: is missing"),
        (("run",), [], "run: must be an object"),
        (("output",), None, "output: must be a text"),
    ],
)
def test_a_record_that_is_of_no_shard_is_refused_by_the_place_of_its_fault(
    predictor: Predictor, source: Path, tmp_path: Path, place: tuple[str, ...], value: Any, said: str
) -> None:
    for number in (1, 2):
        score(predictor, source, tmp_path / "out.csv", Shard(number, 2))
    file = tmp_path / "out.1-of-2.csv.run.json"
    record = json.loads(file.read_text())
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    file.write_text(json.dumps(record))
    with pytest.raises(
        ShardsError, match=rf"out\.1-of-2\.csv: its record .* is of no shard: {re.escape(said)}.*; score"
    ):
        merge(str(tmp_path / "out.csv"), overwrite=False)
    assert not (tmp_path / "out.csv").exists()


def test_each_shard_has_its_own_files_beside_the_output(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": " "}, {"text": "bad"}, {"text": " "}])
    for number in (1, 2):
        words = ("score", "sentiment", source, "-o", tmp_path / "out.csv", "--shard", f"{number}/2")
        beside = ("--errors", tmp_path / "refused.jsonl", "--report", tmp_path / "report.html")
        assert steadfast(*words, *beside, "--package", package).returncode == 3
    refused = [json.loads((tmp_path / f"refused.{number}-of-2.jsonl").read_text())["record"] for number in (1, 2)]
    assert refused == [2, 4]
    assert sorted(path.name for path in tmp_path.glob("report*")) == ["report.1-of-2.html", "report.2-of-2.html"]
