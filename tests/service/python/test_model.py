"""Models in Python programs: lists, DataFrames and Arrow tables, with the answers that HTTP and `score` give."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest

from models.errors import UserError
from models.files.rows import UnknownColumn
from models.tasks import ENDPOINTS, TASKS
from service.answers.contract import Options, result_type
from service.answers.errors import NotOffered
from service.answers.predictor import Predictor
from service.engine.errors import EngineClosed
from service.outcomes.columns import NoConfidence
from service.python.inputs import UnknownInputs
from service.python.model import Model, NotAnswered, WrongOption
from service.python.results import EntitiesResult, LabelResult, LabelsResult, ReadingResult, SimilarityResult
from steadfast import load
from tests.service.conftest import ROOT
from tests.service.files.scored import read, run, write
from tests.service.test_lightness import FILES, HEAVY, environment_without
from tests.tiny import make_items

SERVED = [name for name, task in TASKS.items() if task.endpoint]
TYPED: dict[str, type] = {
    "sentiment": LabelResult,
    "nli": LabelResult,
    "paraphrase": LabelResult,
    "text-classification": LabelResult,
    "pair-classification": LabelResult,
    "multi-label-classification": LabelsResult,
    "sts": SimilarityResult,
    "ner": EntitiesResult,
}


@pytest.fixture(scope="module")
def model(package: Path) -> Iterator[Model[LabelResult]]:
    with load("sentiment", package=package, threads=2) as model:
        yield model


@pytest.mark.parametrize("task", SERVED)
def test_a_list_gives_the_results_of_the_contract(
    task: str, made: Callable[[str], Path], opened: Callable[[str], Predictor]
) -> None:
    items = [{**item, "id": str(number)} for number, item in enumerate(make_items(task, 20))]
    expected = opened(task).answer([TASKS[task].item.model_validate(item) for item in items], Options()).results
    with load(TASKS[task].endpoint, package=made(task) / "package") as model:
        assert list(model.score(items)) == expected


@pytest.mark.parametrize("task", SERVED)
def test_tables_get_the_columns_that_score_writes(
    task: str, made: Callable[[str], Path], opened: Callable[[str], Predictor], tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [dict(item) for item in make_items(task, 20)]
    rows[3] = {**rows[3], next(iter(TASKS[task].columns)): " "}
    source = write(tmp_path / "in.parquet", rows)
    run(opened(task), source, tmp_path / "out.parquet", explain="attention")
    expected = read(tmp_path / "out.parquet")
    with load(TASKS[task].endpoint, package=made(task) / "package") as model:
        table = model.score(pa.Table.from_pylist(rows), explain="attention")
        frame = model.score(pandas.DataFrame(rows), explain="attention")
    assert table.to_pylist() == expected
    assert list(frame) == table.column_names
    back = pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)
    assert back.to_pylist() == expected


@pytest.mark.parametrize("task", TYPED)
def test_type_checkers_see_the_fields_that_results_have(task: str) -> None:
    typed = {name: field.annotation for name, field in TYPED[task].model_fields.items()}  # type: ignore[attr-defined]
    assert typed == {name: field.annotation for name, field in result_type(TASKS[task]).model_fields.items()}


def test_type_checkers_see_what_both_kinds_of_reading_have() -> None:
    for task in ENDPOINTS["reading-comprehension"]:
        assert ReadingResult.model_fields.keys() <= result_type(task).model_fields.keys()


@pytest.mark.parametrize("given", ["good film", {"text": "good film"}, ("good film",)])
def test_an_input_is_a_text_an_object_or_a_tuple(model: Model[LabelResult], given: Any) -> None:
    first, second = model.score(["bad", given])
    assert (first.index, first.label, second.index, second.label) == (0, "negative", 1, "positive")


def test_a_generator_is_gone_through_once(model: Model[LabelResult]) -> None:
    assert [result.label for result in model.score(text for text in ("good", "bad"))] == ["positive", "negative"]


def test_nothing_is_answered_by_nothing(model: Model[LabelResult]) -> None:
    assert list(model.score([])) == []
    assert model.score(pa.table({"text": pa.array([], pa.string())})).num_rows == 0


@pytest.mark.parametrize("given", ["good film", {"text": "good film"}, b"good"])
def test_a_single_input_is_refused(model: Model[LabelResult], given: Any) -> None:
    with pytest.raises(UnknownInputs, match="score takes a list of inputs; put it into one"):
        model.score(given)


@pytest.mark.parametrize("given", [None, 5])
def test_what_holds_no_inputs_is_refused(model: Model[LabelResult], given: Any) -> None:
    with pytest.raises(UnknownInputs, match="score takes a list of inputs, a DataFrame or an Arrow table"):
        model.score(given)


def test_a_table_of_another_library_is_refused_with_the_way_out(model: Model[LabelResult]) -> None:
    with pytest.raises(UnknownInputs, match=r"a pyarrow.RecordBatch: score takes .* or a pyarrow Table"):
        model.score(pa.record_batch({"text": ["good"]}))


def test_an_input_that_cannot_be_answered_fails_the_list_unless_reports_are_asked_for(
    model: Model[LabelResult],
) -> None:
    inputs: list[Any] = ["good", " ", 3, ("good", "bad"), "bad"]
    with pytest.raises(NotAnswered, match="input 2, text: holds no words"):
        model.score(inputs)
    results = model.score(inputs, on_error="report")
    assert [result.label if result else None for result in results] == ["positive", None, None, None, "negative"]
    assert [failure.code for failure in results.failures.values()] == ["empty_input", "validation", "validation"]
    assert results.failures[3].detail == "has 2 texts, but sentiment reads text"


def test_an_answer_without_its_explanation_is_an_answer(model: Model[LabelResult]) -> None:
    results = model.score(["good " * 200], explain="occlusion")
    assert results[0].explanation is None
    assert results.failures[0].code == "explanation_too_long"


def test_options_are_those_of_http(model: Model[LabelResult]) -> None:
    (result,) = model.score(["good film"], explain={"method": "decomposition", "top_k": 1}, certify="typos")
    assert result.explanation is not None
    assert [word.text for word in result.explanation.items] == ["good"]
    assert result.certificate is not None
    (named,) = model.score(["good film"], explain="best")
    assert named.explanation is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"explain": "tarot"}, "explain: must be one of 'attention'"),
        ({"certify": "rumours"}, "certify: must be 'typos' or 'synonyms'"),
        ({"truncation": "left"}, "truncation: "),
    ],
)
def test_an_option_that_there_is_not_is_one_sentence(
    model: Model[LabelResult], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(WrongOption, match=said):
        model.score(["good"], **options)


def test_a_method_that_the_package_lacks_is_refused(attentive: Predictor) -> None:
    with load("sentiment", package=attentive.package.folder) as model, pytest.raises(NotOffered, match="it gives: "):
        model.score(["good"], explain="rollout")


def test_a_frame_keeps_its_index_its_columns_and_itself(model: Model[LabelResult]) -> None:
    frame = pandas.DataFrame({"review": ["good", None, "bad"], "label": [1, 2, 3]}, index=[7, 7, 9])
    before = frame.copy()
    scored = model.score(frame, columns={"text": "review"}, min_confidence=0.9, scores=False)
    assert frame.equals(before)
    assert list(scored.index) == [7, 7, 9]
    assert list(scored["label"]) == [1, 2, 3]
    assert list(scored["prediction_label"].fillna("")) == ["positive", "", "negative"]
    assert scored["prediction_review"].iloc[1]
    assert "score_positive" not in scored
    assert scored["error"].iloc[1] == "text: is missing"
    assert scored["tokens"].iloc[1] is pandas.NA


def test_an_arrow_table_of_many_chunks_keeps_its_order(model: Model[LabelResult]) -> None:
    texts = [f"{'good' if number % 3 else 'bad'} film" for number in range(3_000)]
    chunks = pa.chunked_array([texts[start : start + 7] for start in range(0, 3_000, 7)])
    scored = model.score(pa.table({"text": chunks, "n": list(range(3_000))}))
    assert scored["n"].to_pylist() == list(range(3_000))
    assert scored["label"].to_pylist() == ["positive" if number % 3 else "negative" for number in range(3_000)]


@pytest.mark.parametrize("make", [pandas.DataFrame, pa.table])
def test_a_column_that_is_missing_is_named_with_what_there_is(model: Model[LabelResult], make: Any) -> None:
    with pytest.raises(UnknownColumn, match=r"there are: 'words'; name it in columns, such as columns=\{'text': "):
        model.score(make({"words": ["good"]}))
    with pytest.raises(UnknownColumn, match="sentiment has no premise; its inputs have: text"):
        model.score(make({"text": ["good"]}), columns={"premise": "text"})


@pytest.mark.parametrize("make", [pandas.DataFrame, pa.table])
def test_a_column_may_lie_in_another(model: Model[LabelResult], make: Any) -> None:
    table = make({"n": [1, 2, 3], "data": [{"text": "good"}, {"text": "bad"}, None]})
    scored = model.score(table, columns={"text": "data.text"})
    label, error = (list(map(str, scored[name].fillna("") if make is pandas.DataFrame else scored[name].to_pylist()))
                    for name in ("label", "error"))  # fmt: skip
    assert label[:2] == ["positive", "negative"]
    assert error[2] == "text: is missing"


def test_a_review_of_what_has_no_confidence_is_refused(made: Callable[[str], Path]) -> None:
    with load("sts", package=made("sts") / "package") as model, pytest.raises(NoConfidence):
        model.score(pa.table({"text_a": ["a"], "text_b": ["b"]}), min_confidence=0.5)


def test_what_is_closed_answers_no_more(package: Path) -> None:
    model = load("sentiment", package=package)
    model.close()
    with pytest.raises(EngineClosed):
        model.score(["good"])


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(UserError, match="choose one of: sentiment"):
        load("weather")


def test_a_model_says_what_it_is(model: Model[LabelResult]) -> None:
    assert repr(model).startswith("Model('sentiment', name='tiny', digest='")
    assert model.labels == ("negative", "positive")
    assert "occlusion" in model.explanations


def test_a_notebook_shows_the_words_and_the_failures(model: Model[LabelResult]) -> None:
    shown = model.score(["a <b>good</b> film", " "], explain="occlusion", on_error="report")._repr_html_()
    assert "&lt;" in shown
    assert "<b>good" not in shown
    assert '<mark class="for' in shown
    assert "No answer: text: holds no words" in shown


def test_a_notebook_shows_the_first_of_many(model: Model[LabelResult]) -> None:
    shown = model.score(["good"] * 25)._repr_html_()
    assert shown.count("<article") == 10
    assert "and 15 more" in shown


def test_a_program_that_never_closes_ends_and_loads_nothing_heavy(package: Path, tmp_path: Path) -> None:
    code = f"from steadfast import load; print(load('sentiment', package={str(package)!r}).score(['good'])[0].label)"
    barred = environment_without(tmp_path, *HEAVY, *FILES)
    environment = os.environ | {"PYTHONPATH": f"{barred['PYTHONPATH']}{os.pathsep}{ROOT}"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("positive\n", "")


def test_results_are_plain_json(model: Model[LabelResult]) -> None:
    (result,) = model.score(["good"])
    assert json.loads(result.model_dump_json())["label"] == "positive"


def test_a_column_is_found_though_its_name_is_no_text(model: Model[LabelResult]) -> None:
    scored = model.score(pandas.DataFrame({0: [1, 2], 1: ["good", "bad"]}), columns={"text": "1"})
    assert list(scored["label"]) == [result.label for result in model.score(["good", "bad"])]


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_two_columns_of_the_name_that_is_read_are_refused(model: Model[LabelResult], kind: str) -> None:
    table = pa.Table.from_arrays([pa.array(["good"]), pa.array(["bad"])], names=["text", "text"])
    given: Any = table if kind == "pyarrow" else table.to_pandas()
    with pytest.raises(UnknownColumn, match="several columns are called 'text'"):
        model.score(given)
