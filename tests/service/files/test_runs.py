"""Runs over folders, patterns and streams, over some of the records, and what is said of those refused."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.files.rows import RecordsError
from service.answers.predictor import Predictor
from service.files.counts import Counts
from service.files.job import BadLimit, ScoringJob
from service.files.scoring import RunStopped, score_file
from service.files.selection import BadSelection, Selection, Shard
from service.files.target import OutputError, Target
from tests.service.conftest import ROOT, steadfast
from tests.service.files.scored import read, write


def score(predictor: Predictor, sources: list[Path], target: str, **given: Any) -> Counts:
    job = ScoringJob(sources=list(map(str, sources)), target=Target(target), **given)
    return score_file(predictor, job, lambda _: None)


def three(folder: Path) -> Path:
    """A folder with files of three kinds, one in a folder of its own, and files that are not to be read."""
    (folder / "in" / "year=2020").mkdir(parents=True)
    write(folder / "in" / "a.csv", [{"n": 1, "text": "good"}, {"n": 2, "text": "bad"}])
    write(folder / "in" / "b.jsonl", [{"n": 3, "text": "great", "more": [1]}])
    write(folder / "in" / "year=2020" / "c.parquet", [{"n": 4, "review": "awful"}])
    (folder / "in" / "_SUCCESS.csv").write_text("nothing")
    (folder / "in" / "notes.md").write_text("nothing")
    return folder / "in"


def test_a_folder_becomes_a_folder(predictor: Predictor, tmp_path: Path) -> None:
    counts = score(predictor, [three(tmp_path)], f"{tmp_path}/out/")
    assert (counts.records, counts.answered) == (4, 4)
    assert [row["label"] for row in read(tmp_path / "out" / "a.csv")] == ["positive", "negative"]
    assert "more" not in read(tmp_path / "out" / "a.csv")[0]
    assert read(tmp_path / "out" / "b.jsonl")[0]["more"] == [1]
    assert read(tmp_path / "out" / "year=2020" / "c.parquet")[0]["label"] == "negative"
    made = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["_run.json", "a.csv", "b.jsonl", "c.parquet"]


@pytest.mark.parametrize("name", ["in", "./in", "in//", "in/.", "../{here}/in", "in/../in"])
def test_a_folder_has_the_same_files_however_its_name_is_written(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hidden = three(tmp_path) / ".git"
    hidden.mkdir()
    write(hidden / "d.csv", [{"text": "good"}])
    monkeypatch.chdir(tmp_path)
    job = ScoringJob(sources=[name.format(here=tmp_path.name)], target=Target("out/"))
    assert score_file(predictor, job, lambda _: None).records == 4
    made = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert made == ["_run.json", "a.csv", "b.jsonl", "year=2020/c.parquet"]


def test_the_folder_where_one_is_has_its_files_too(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(tmp_path)
    (tmp_path / "in" / ".venv").mkdir()
    write(tmp_path / "in" / ".venv" / "d.csv", [{"text": "good"}])
    monkeypatch.chdir(tmp_path / "in")
    for name, records in {".": 4, "./[ab].*": 3, "[ab].*": 3}.items():
        job = ScoringJob(sources=[name], target=Target(f"{tmp_path}/out/"), overwrite=True)
        assert score_file(predictor, job, lambda _: None).records == records


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./", r"\./: exists already"),
        ("*.csv", r"\*\.csv: exists already"),
        ("../", r"\.\./: exists already"),
        ("/", "/: is the root of the disk"),
    ],
)
def test_a_folder_that_has_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=f"^{said}"):
        ScoringJob(sources=["in.csv"], target=Target(name))


def test_a_pattern_says_the_kind_of_every_file(predictor: Predictor, tmp_path: Path) -> None:
    score(predictor, [three(tmp_path) / "[ab].*"], f"{tmp_path}/out/scored-*.parquet")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "scored-a.parquet",
        "scored-b.parquet",
        "_run.json",
    }


def test_several_files_become_one(predictor: Predictor, tmp_path: Path) -> None:
    folder = three(tmp_path)
    score(predictor, [folder / "b.jsonl", folder / "a.csv"], f"{tmp_path}/out.csv")
    assert [row["n"] for row in read(tmp_path / "out.csv")] == ["3", "1", "2"]
    assert list(read(tmp_path / "out.csv")[0])[:3] == ["n", "text", "more"]


def test_types_that_do_not_fit_together_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    one = write(tmp_path / "a.parquet", [{"text": "good", "x": {"y": 1}}])
    other = write(tmp_path / "b.parquet", [{"text": "bad", "x": 1}])
    with pytest.raises(RecordsError, match="types of a column do not fit together"):
        score(predictor, [one, other], f"{tmp_path}/out.parquet")


def test_two_files_that_would_become_one_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        write(tmp_path / name, [{"text": "good"}])
    with pytest.raises(OutputError, match=r"would both become a\.csv"):
        score(predictor, [tmp_path / "a.*"], f"{tmp_path}/out/*.csv")


@pytest.mark.parametrize("name", ["none/*.csv", "empty"])
def test_what_stands_for_no_file_is_refused(predictor: Predictor, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordsError, match="no file"):
        score(predictor, [tmp_path / name], f"{tmp_path}/out.csv")


def test_a_file_that_is_named_twice_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    one = write(tmp_path / "a.csv", [{"text": "good"}])
    (tmp_path / "link.csv").symlink_to(one)
    for names in ([one, one], [one, tmp_path / "a.*"], [one, tmp_path / "link.csv"], [tmp_path]):
        with pytest.raises(
            RecordsError, match=r"csv: is the same file as .*csv, and would be scored twice; name it once"
        ):
            score(predictor, names, f"{tmp_path}/out.jsonl")
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_a_folder_of_somebody_else_is_not_replaced(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("precious")
    with pytest.raises(OutputError, match="holds what no run left there"):
        score(predictor, [three(tmp_path)], f"{tmp_path}/out/", overwrite=True)
    (tmp_path / "out" / "precious").unlink()
    score(predictor, [tmp_path / "in"], f"{tmp_path}/out/", overwrite=True)
    score(predictor, [tmp_path / "in"], f"{tmp_path}/out/", overwrite=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"id;text\n1;good\n2;bad\n", b"id,text,label"),
        (b'{"text": "good"}\n', b'{"text": "good", "label": "positive"'),
        (b'[{"text": "good"}]', b'{"text": "good", "label": "positive"'),
    ],
)
def test_a_stream_becomes_a_stream(package: Path, given: bytes, said: bytes) -> None:
    command = [sys.executable, "-m", "service.cli", "score", "sentiment", "-", "-o", "-", "--package", str(package)]
    ran = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(said)
    assert b"answered, 0 refused" in ran.stderr


def test_a_stream_may_be_packed_and_of_any_kind(package: Path, tmp_path: Path) -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"text": ["good", "bad"]}), sink)
    command = [sys.executable, "-m", "service.cli", "score", "sentiment", "-", "-o", str(tmp_path / "out.csv")]
    subprocess.run([*command, "--package", str(package)], cwd=ROOT, input=sink.getvalue(), check=True, timeout=60)
    assert [row["label"] for row in read(tmp_path / "out.csv")] == ["positive", "negative"]


def test_refused_records_are_written_with_their_line_and_what_they_held(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'id,text\n1,good\n2\n3,"two\nlines"\n4,\xff\n5, \n')
    counts = score(predictor, [tmp_path / "in.csv"], f"{tmp_path}/out.csv", errors=tmp_path / "bad.jsonl")
    assert (counts.records, counts.answered, counts.refused) == (5, 2, 3)
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(row["record"], row["line"], row["raw"]) for row in bad] == [
        (2, 3, "2"),
        (4, 6, r"4,\xff"),
        (5, 7, '{"id": "5", "text": " "}'),
    ]
    assert [row["reason"] for row in bad] == [row["error"] for row in read(tmp_path / "out.csv") if row["error"]]


def test_a_quote_that_is_never_closed_stops_a_run_or_is_one_refused_line(package: Path, tmp_path: Path) -> None:
    lines = ["id,text", *(f"{number},good" for number in range(200))]
    lines[5] = '4,"the plot is fine'
    (tmp_path / "in.csv").write_text("\n".join(lines))
    words = ("score", "sentiment", tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--package", package)
    stopped = steadfast(*words)
    assert (stopped.returncode, stopped.stdout, stopped.stderr.count("\n")) == (1, "", 1)
    assert "line 6: a quote opens there" in stopped.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]
    skipped = steadfast(*words, "--on-bad-lines", "skip")
    assert skipped.returncode == 3
    assert "200 records: 199 answered, 1 refused" in skipped.stderr
    with (tmp_path / "out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 200


def test_more_errors_than_allowed_stop_a_run_that_can_go_on(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": " " if number % 3 == 0 else "good"} for number in range(30)])
    with pytest.raises(RunStopped, match=r"4 records were refused, and --max-errors allows 3; .*no words"):
        score(predictor, [source], f"{tmp_path}/out.csv", max_errors=3)
    with pytest.raises(RunStopped, match="5 records were refused"):
        score(predictor, [source], f"{tmp_path}/out.csv", max_errors=4)
    counts = score(predictor, [source], f"{tmp_path}/out.csv", max_errors=10)
    assert (counts.refused, counts.kept) == (10, 13)


def test_some_records_can_be_picked(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"n": number, "text": "good"} for number in range(3_000)])
    first = score(predictor, [source], f"{tmp_path}/first.csv", selection=Selection(limit=7))
    assert (first.records, first.answered, first.skipped) == (3_000, 7, 2_993)
    assert [row["n"] for row in read(tmp_path / "first.csv")] == list("0123456")
    score(predictor, [source], f"{tmp_path}/sample.csv", selection=Selection(sample=20))
    drawn = [int(row["n"]) for row in read(tmp_path / "sample.csv")]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 20


def test_shards_are_all_records_once(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", [{"n": number, "text": "good"} for number in range(2_500)])
    rows = []
    for number in (1, 2, 3):
        target = tmp_path / f"{number}.jsonl"
        counts = score(predictor, [source], str(target), selection=Selection(shard=Shard(number, 3)))
        assert counts.records == counts.answered + counts.skipped == 2_500
        rows += [row["n"] for row in read(target)]
    assert rows == list(range(2_500))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/", "-1/2"])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadSelection, match="--shard"):
        Shard.parse(text)


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSelection, match="--limit 0"):
        Selection(limit=0)
    with pytest.raises(BadLimit, match="--max-errors -1"):
        ScoringJob(sources=["a.csv"], target=Target(str(tmp_path / "b.csv")), max_errors=-1)


def test_nested_fields_are_named_with_dots(predictor: Predictor, tmp_path: Path) -> None:
    for ending in ("jsonl", "parquet"):
        source = write(tmp_path / f"in.{ending}", [{"data": {"text": "good"}, "text": "bad"}])
        score(predictor, [source], f"{tmp_path}/out-{ending}.jsonl", columns={"text": "data.text"})
        assert read(tmp_path / f"out-{ending}.jsonl")[0]["label"] == "positive"


def test_the_record_of_a_run_has_its_counts(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": ""}])
    score(predictor, [source], f"{tmp_path}/out.csv")
    record = json.loads((tmp_path / "out.csv.run.json").read_text())
    assert record["counts"] == {"records": 2, "answered": 1, "refused": 1, "skipped": 0}
    assert record["sources"] == [{"name": str(source), "records": 2}]


def test_a_file_that_is_damaged_in_the_middle_is_no_wrong_use(package: Path, tmp_path: Path) -> None:
    write(tmp_path / "in.csv.gz", [{"text": "good " * 20}] * 5_000)
    whole = (tmp_path / "in.csv.gz").read_bytes()
    (tmp_path / "in.csv.gz").write_bytes(whole[:-40])
    ran = steadfast("score", "sentiment", tmp_path / "in.csv.gz", "-o", tmp_path / "out.csv", "--package", package)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "in.csv.gz: damaged gzip file" in ran.stderr


def test_an_input_that_vanishes_leaves_a_run_that_can_go_on(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 50)
    content = source.read_bytes()

    def vanish(at: Any) -> None:
        if at.done == at.total:
            source.unlink()

    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    with pytest.raises(RunStopped, match=r"in\.csv: no such file; .*out\.csv\.partial holds the answers so far"):
        score_file(predictor, job, vanish)
    source.write_bytes(content)
    assert score_file(predictor, job, lambda _: None).kept == 50


def test_a_folder_elsewhere_is_refused() -> None:
    with pytest.raises(OutputError, match="a folder elsewhere"):
        ScoringJob(sources=["a.csv"], target=Target("memory://out/"))


def test_columns_that_the_output_cannot_hold_are_refused_before_anything_is_computed(
    predictor: Predictor, tmp_path: Path
) -> None:
    months = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    feather.write_feather(pa.table({"text": ["good"], "months": months}), tmp_path / "in.arrow")
    with pytest.raises(RecordsError, match="cannot be written to parquet"):
        score(predictor, [tmp_path / "in.arrow"], f"{tmp_path}/out.parquet")
    assert not (tmp_path / "out.parquet.partial").exists()
    score(predictor, [tmp_path / "in.arrow"], f"{tmp_path}/out.arrow")
    assert feather.read_table(tmp_path / "out.arrow")["months"].combine_chunks() == months


@pytest.mark.parametrize("name", ["in.jsonl", "in.json"])
def test_a_file_of_json_without_a_record_becomes_an_output_without_one(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("[]" if name == "in.json" else "")
    assert score(predictor, [tmp_path / name], f"{tmp_path}/out.csv").records == 0
    assert read(tmp_path / "out.csv") == []


def test_a_pipe_is_read_like_a_stream(package: Path, tmp_path: Path) -> None:
    words = f"score sentiment <(echo text; echo good) -o {tmp_path}/out.csv --package {package}"
    command = ["bash", "-c", f"exec {sys.executable} -m service.cli {words}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, stderr=subprocess.PIPE)
    assert [row["label"] for row in read(tmp_path / "out.csv")] == ["positive"]


def test_an_output_among_the_input_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    folder = three(tmp_path)
    score(predictor, [folder], f"{folder}/scored.csv")
    with pytest.raises(OutputError, match=r"scored\.csv: is among the input and the output"):
        score(predictor, [folder], f"{folder}/scored.csv", overwrite=True)
    with pytest.raises(OutputError, match="is written for -o too; choose another name with --errors"):
        ScoringJob(sources=["a.csv"], target=Target(f"{tmp_path}/b.csv"), errors=tmp_path / "b.csv")


PIECES = (
    b'{"text": "good"}\n',
    b'{"text": 5}\n',
    b'{"text": "',
    b"\xff",
    b"\n",
    b"[]\n",
    b"{}\n",
    b'{"id": 1, "text": " "}\n',
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), limit=st.none() | st.integers(1, 8))
def test_the_counts_add_up_whatever_the_lines_hold(
    predictor: Predictor, pieces: list[bytes], limit: int | None
) -> None:
    content = b'{"text": "bad"}\n' + b"".join(pieces)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").write_bytes(content)
        options = {"selection": Selection(limit=limit), "errors": folder / "bad.jsonl"}
        counts = score(predictor, [folder / "in.jsonl"], f"{folder}/out.jsonl", **options)
        lines = [line for line in content.split(b"\n") if line.strip()]
        rows, refused = read(folder / "out.jsonl"), read(folder / "bad.jsonl")
    assert counts.records == len(lines) == counts.answered + counts.refused + counts.skipped
    assert len(rows) == counts.answered + counts.refused
    assert [row["reason"] for row in refused] == [row["error"] for row in rows if row["error"]]
    assert len(refused) == counts.refused
