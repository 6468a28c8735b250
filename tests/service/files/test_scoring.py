"""Files in, files out: every kind, bad rows, and runs that are stopped half-way."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pydantic import ValidationError

from export.package import open_package
from models.files.rows import RecordsError, UnknownColumn
from models.folders import NotWritable
from service.answers.contract import Options
from service.answers.errors import CertificateNotOffered
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.files.counts import Counts
from service.files.job import ScoringJob
from service.files.scoring import Standing, score_file
from service.files.source import InputChanged
from service.files.target import OutputError, Target
from service.outcomes.summary import Summary
from tests.service.conftest import Server, steadfast
from tests.service.files.scored import read, run, texts_of_many_lengths, write
from tests.service.tiny import OPINIONS, build_package

ADDED = [
    "label",
    "score",
    "score_negative",
    "score_positive",
    "tokens",
    "truncated",
    "windows",
    "unknown_share",
]
EXPLAINED = ["explanation", "explanation_method", "explanation_target", "explanation_rest"]
ENDINGS = ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("source_ending", ENDINGS)
def test_any_kind_of_file_becomes_any_other(
    predictor: Predictor, tmp_path: Path, source_ending: str, ending: str
) -> None:
    rows = [{"n": str(number), "text": text} for number, text in enumerate(texts_of_many_lengths(20))]
    source = write(tmp_path / f"in.{source_ending}", rows)
    run(predictor, source, tmp_path / f"out.{ending}", explain="attention")
    scored = read(tmp_path / f"out.{ending}")
    assert list(scored[0]) == ["n", "text", *ADDED, *EXPLAINED, "error"]
    assert [{"n": row["n"], "text": row["text"]} for row in scored] == rows


def test_http_predict_and_score_give_the_same_numbers(
    predictor: Predictor, package: Path, server: Server, tmp_path: Path
) -> None:
    texts = texts_of_many_lengths(120)
    asked = [
        result
        for start in range(0, len(texts), 40)
        for result in server.ask(inputs=texts[start : start + 40], explain="rollout").json()["results"]
    ]
    predicted = json.loads(
        steadfast("predict", "sentiment", *texts, "--explain", "rollout", "--json", "--package", package).stdout
    )
    assert predicted == [result | {"index": index} for index, result in enumerate(asked)]

    source = write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    run(predictor, source, tmp_path / "out.parquet", explain="rollout")
    for row, result in zip(read(tmp_path / "out.parquet"), asked, strict=True):
        scores = {entry["label"]: entry["score"] for entry in result["scores"]}
        assert (row["label"], row["score"]) == (result["label"], result["score"])
        assert (row["score_negative"], row["score_positive"]) == (scores["negative"], scores["positive"])
        assert (row["tokens"], row["windows"], row["truncated"]) == tuple(
            result[name] for name in ("tokens", "windows", "truncated")
        )
        explanation = result["explanation"]
        assert row["explanation"] == explanation["items"]
        assert [row[f"explanation_{name}"] for name in ("method", "target", "rest")] == [
            explanation[name] for name in ("method", "target", "rest")
        ]


def test_the_csv_holds_the_same_numbers_to_the_last_digit(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": text} for text in texts_of_many_lengths(30)])
    run(predictor, source, tmp_path / "out.csv", explain="attention")
    run(predictor, source, tmp_path / "out.jsonl", explain="attention")
    for text, number in zip(read(tmp_path / "out.csv"), read(tmp_path / "out.jsonl"), strict=True):
        assert float(text["score_positive"]) == number["score_positive"]
        assert json.loads(text["explanation"]) == number["explanation"]
        assert json.loads(text["truncated"]) is False


def test_bad_rows_are_kept_and_say_why(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(
        b'{"text": "good"}\n{"text": ""}\n{"text": 5}\nnot json\n{"text": null}\n{"other": 1}\n{"text": "\\ud800"}\n'
        b'{"text": "\xff"}\n[]\n' + b"[" * 100_000 + b'\n{"text": "bad"}\n'
    )
    summary = run(predictor, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    rows = read(tmp_path / "out.jsonl")
    assert [row["label"] for row in rows] == ["positive", *[None] * 9, "negative"]
    assert [bool(row["error"]) for row in rows] == [False, *[True] * 9, False]
    assert (summary.records, summary.refused) == (11, 9)


def test_a_mistake_of_ours_is_not_taken_for_one_in_a_record(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "submit", lambda *_: Options.model_validate({"top_k": 0}))
    with pytest.raises(ValidationError):
        run(predictor, write(tmp_path / "in.csv", [{"text": "good"}]), tmp_path / "out.csv")


def test_counts_that_do_not_add_up_are_a_bug() -> None:
    assert str(Counts(records=3, answered=1, refused=0, skipped=2)) == "3 records: 1 answered, 0 refused, 2 skipped"
    with pytest.raises(ArithmeticError, match="a record is lost"):
        Counts(records=3, answered=1, refused=1, skipped=0)


def test_a_csv_with_broken_lines_keeps_its_good_ones(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'id,text\n1,good\n2\n3,a,b\n4,"x"y\n5,\xff\n6,"bad, ""really""\nbad"\n')
    run(predictor, tmp_path / "in.csv", tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [(row["id"], row["label"]) for row in rows] == [
        ("1", "positive"),
        ("2", ""),
        ("3", ""),
        ("", ""),
        ("5", ""),
        ("6", "negative"),
    ]
    assert rows[-1]["text"] == 'bad, "really"\nbad'


def test_a_name_that_the_file_has_already_gets_a_prefix(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "good", "label": 0, "error": "none", "prediction_error": "no"}])
    summary = run(predictor, source, tmp_path / "out.jsonl")
    (row,) = read(tmp_path / "out.jsonl")
    assert (row["label"], row["prediction_label"], row["error"], row["prediction_error"]) == (
        0,
        "positive",
        "none",
        "no",
    )
    assert row["prediction_prediction_error"] is None
    assert summary.error_column == "prediction_prediction_error"


def test_columns_of_parquet_keep_their_types(predictor: Predictor, tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["good", "bad"],
            "small": pa.array([1, None], pa.int8()),
            "when": pa.array([datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "nested": [{"x": [1, 2]}, {"x": []}],
            "bytes": [b"\xff", b""],
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    run(predictor, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").select(table.column_names).equals(table)


def test_an_explanation_is_a_list_of_structs_in_parquet(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "good film"}])
    run(predictor, source, tmp_path / "out.parquet", explain="attention")
    kind = parquet.read_schema(tmp_path / "out.parquet").field("explanation").type
    assert pa.types.is_list(kind)
    assert [field.name for field in kind.value_type] == ["field", "text", "start", "end", "score"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_there_is_no_column_for_an_explanation_that_nobody_asks_for(
    predictor: Predictor, tmp_path: Path, ending: str
) -> None:
    run(predictor, write(tmp_path / "in.csv", [{"text": "good"}]), tmp_path / f"out.{ending}")
    assert list(read(tmp_path / f"out.{ending}")[0]) == ["text", *ADDED, "error"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_answer_with_too_much_to_explain_stands_beside_the_reason(
    predictor: Predictor, tmp_path: Path, ending: str
) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "good film"}, {"text": "great " * 129}, {"text": ""}])
    summary = run(predictor, source, tmp_path / f"out.{ending}", explain="occlusion")
    short, long, empty = read(tmp_path / f"out.{ending}")
    assert (short["error"], long["error"]) == (
        None,
        "129 words to leave out in turn; at most 128 are: shorten the text",
    )
    assert short["explanation_rest"] is not None
    assert (long["label"], long["explanation"]) == ("positive", None)
    assert (empty["label"], summary.refused) == (None, 1)


def test_a_certificate_is_a_struct_or_the_reason_why_there_is_none(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "boring"}, {"text": "bad"}, {"text": "great " * 100}])
    summary = run(predictor, source, tmp_path / "out.parquet", certify="typos")
    turned, held, long = read(tmp_path / "out.parquet")
    assert turned["certificate"]["holds"] is False
    assert turned["certificate"]["counterexample"]["text"] == "boring"
    assert held["certificate"] == {"family": "typos", "edits": 0, "tried": 0, "holds": True, "counterexample": None}
    assert (long["label"], long["certificate"]) == ("positive", None)
    assert "4,096 rows are computed for a certificate" in long["error"]
    assert summary.refused == 0


def test_synonyms_without_wordnet_stop_a_run_before_it_begins(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    source = write(tmp_path / "in.jsonl", [{"text": "good"}])
    with pytest.raises(CertificateNotOffered, match="WordNet"):
        run(predictor, source, tmp_path / "out.jsonl", certify="synonyms")
    assert sorted(tmp_path.iterdir()) == [source]


def test_json_values_of_several_kinds_become_json_in_parquet(predictor: Predictor, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "good", "x": 1, "y": 2},
        {"text": "bad", "x": "a", "y": 0.5},
        {"text": "fine", "x": {"k": [1]}},
    ]
    run(predictor, write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    scored = read(tmp_path / "out.parquet")
    assert [row["x"] for row in scored] == ["1", "a", '{"k": [1]}']
    assert [row["y"] for row in scored] == [2.0, 0.5, None]


def test_columns_that_come_late_are_not_lost(predictor: Predictor, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "good"}] * 1_500 + [{"text": "bad", "late": "here"}]
    run(predictor, write(tmp_path / "in.jsonl", rows), tmp_path / "out.csv")
    assert read(tmp_path / "out.csv")[-1]["late"] == "here"


def test_a_file_without_rows_becomes_one_with_columns(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    assert run(predictor, tmp_path / "in.csv", tmp_path / "out.csv").records == 0
    assert (tmp_path / "out.csv").read_text() == ",".join(["id", "text", *ADDED, "error"]) + "\n"


def test_the_text_column_can_be_named(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "bad", "note": "good"}])
    run(predictor, source, tmp_path / "out.csv", columns={"text": "note"})
    assert read(tmp_path / "out.csv")[0]["label"] == "positive"


def test_a_missing_text_column_lists_those_there_are(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"a": "bad", "b": "good"}])
    with pytest.raises(UnknownColumn, match=r"there are: 'a', 'b'; name it with --text-column"):
        run(predictor, source, tmp_path / "out.csv")


def test_a_row_that_the_model_has_no_numbers_for_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPINIONS, "fine", float("nan"))
    source = write(tmp_path / "in.csv", [{"text": text} for text in ("good", "fine", "bad")])
    with Pool(1) as pool, Predictor(open_package(build_package(tmp_path / "broken")), EngineLimits(), pool) as broken:
        summary = run(broken, source, tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [row["label"] for row in rows] == ["positive", "", "negative"]
    assert "an output is not finite" in rows[1]["error"]
    assert summary.refused == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_a_folder_is_refused_before_anything_is_computed(
    predictor: Predictor, tmp_path: Path, overwrite: bool
) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(NotWritable, match="is a folder"):
        run(predictor, write(tmp_path / "in.csv", [{"text": "good"}]), tmp_path / "out.csv", overwrite=overwrite)
    assert not (tmp_path / "out.csv.partial").exists()


def test_an_output_is_not_replaced_unasked(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        run(predictor, source, tmp_path / "out.csv")
    run(predictor, source, tmp_path / "out.csv", overwrite=True)
    assert read(tmp_path / "out.csv")[0]["label"] == "positive"


def test_the_input_is_never_replaced(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    with pytest.raises(OutputError, match="is the input"):
        run(predictor, source, source, overwrite=True)


@pytest.mark.parametrize("name", ["in.pdf", "missing.csv", "in.parquet", "cut.csv.gz"])
def test_a_file_that_cannot_be_read_is_an_error_before_anything_is_written(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    (tmp_path / "in.pdf").write_text("good")
    (tmp_path / "in.parquet").write_text("no parquet")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"text\n" + b"good\n" * 10_000)[:-20])
    before = set(tmp_path.iterdir())
    with pytest.raises(RecordsError, match=name):
        run(predictor, tmp_path / name, tmp_path / "out.csv")
    assert set(tmp_path.iterdir()) == before


def test_a_source_that_grows_meanwhile_is_noticed(predictor: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}] * 50)

    def grow(at: Standing) -> None:
        if at.done == at.total:
            source.write_text(source.read_text() + "more\n")

    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.csv")))
    with pytest.raises(InputChanged, match="run the command again"):
        score_file(predictor, job, grow)
    assert not (tmp_path / "out.csv").exists()


def test_scores_of_labels_may_be_left_out_and_a_review_asked_for(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": "the film"}, {"text": " "}])
    asked = ("--no-scores", "--min-confidence", "0.9", "--package", package)
    completed = steadfast("score", "sentiment", source, "-o", tmp_path / "out.jsonl", *asked)
    assert completed.returncode == 3, completed.stderr
    rows = read(tmp_path / "out.jsonl")
    assert list(rows[0]) == ["text", *(name for name in ADDED if not name.startswith("score_")), "review", "error"]
    assert [row["review"] for row in rows] == [False, True, True]
    refused = steadfast("score", "sentiment", source, "-o", tmp_path / "no.csv", "--min-confidence", "90")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "a confidence of 90: it is a probability" in refused.stderr


def test_the_summary_is_written_as_json_and_as_a_page(package: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}, {"text": " "}])
    beside = ("--summary", tmp_path / "summary.json", "--report", tmp_path / "report.html", "--package", package)
    completed = steadfast("score", "sentiment", source, "-o", tmp_path / "out.csv", *beside)
    assert completed.returncode == 3, completed.stderr
    summary = Summary.model_validate_json((tmp_path / "summary.json").read_bytes())
    assert (summary.format, summary.records, summary.answered, summary.labels) == (1, 2, 1, {"positive": 1})
    assert "in.csv, answered by tiny" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--report", "HERE/report.txt"), "a page's name ends in .html; choose another name with --report"),
        (("--report", "HERE/nowhere/report.html"), "choose another with --report"),
        (("--summary", "HERE/nowhere/summary.json"), "choose another with --summary"),
        (("--address", "127.0.0.1:6379"), "are for --engine ray; add that, or leave them out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(
    package: Path, tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    source = write(tmp_path / "in.csv", [{"text": "good"}])
    option, value = options
    given = (option, value.replace("HERE", str(tmp_path)), "--package", package)
    completed = steadfast("score", "sentiment", source, "-o", tmp_path / "out.csv", *given)
    assert (completed.returncode, completed.stderr.count("\n")) == (2, 1)
    assert completed.stderr.endswith(f"{said}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_long_numbers_of_json_lines_become_doubles_and_texts_in_other_files(
    predictor: Predictor, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"text": "good", "a": 0.12345678901234567890, "b": 1e400, "c": 123456789012345678901234567890}\n'
    )
    run(predictor, tmp_path / "in.jsonl", tmp_path / f"out.{ending}")
    (row,) = read(tmp_path / f"out.{ending}")
    spelt = {"csv": ("0.12345678901234568", "inf"), "parquet": (0.12345678901234568, float("inf"))}
    assert (row["a"], row["b"], row["c"]) == (*spelt[ending], "123456789012345678901234567890")
