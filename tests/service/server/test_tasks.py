"""Every task the whole way: the same numbers by HTTP, Python, `predict` and `score`; long texts, offsets, words."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, reject, settings

from export.package import open_package, read_manifest
from models.tasks import ENDPOINTS, TASKS
from service.answers.contract import Options, answer_type
from service.answers.errors import ItemsRejected
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.files.job import ScoringJob
from service.files.scoring import score_file
from service.files.target import Target
from service.outcomes.columns import WantedColumns
from steadfast import load
from tests.service.answers.test_explanation import TEXTS
from tests.service.conftest import Server, steadfast
from tests.tiny import make_items

ROWS = 200
EXTRACTIVE = "extractive-reading-comprehension"
COUNTED = {"index", "id", "timing_ms"}


@pytest.fixture(scope="module")
def predictors(made: Callable[[str], Path]) -> Iterator[Callable[[str], Predictor]]:
    opened: dict[str, Predictor] = {}

    def find(task: str) -> Predictor:
        if task not in opened:
            opened[task] = Predictor(open_package(made(task) / "package"), EngineLimits(), pool)
        return opened[task]

    with Pool(2) as pool:
        yield find
        for predictor in opened.values():
            predictor.close()


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], made: Callable[[str], Path]) -> Server:
    """A server that answers at every endpoint."""
    return start_server(*(made(tasks[0].name) / "package" for tasks in ENDPOINTS.values()))


@pytest.fixture(scope="module")
def extractive_server(start_server: Callable[..., Server], made: Callable[[str], Path]) -> Server:
    return start_server(made(EXTRACTIVE) / "package")


def ask(server: Server, endpoint: str, items: list[dict[str, Any]], **options: Any) -> httpx.Response:
    return server.client.post(f"/v1/{endpoint}", json={"inputs": items, **options})


def predict(predictor: Predictor, items: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    given = [predictor.task.item.model_validate(item) for item in items]
    results = predictor.answer(given, Options.model_validate(options)).results
    return [json.loads(result.model_dump_json()) for result in results]


def score(predictor: Predictor, items: list[dict[str, Any]], folder: Path, ending: str, **options: Any) -> Path:
    source, target = folder / "in.jsonl", folder / f"out.{ending}"
    source.write_text("".join(json.dumps(item) + "\n" for item in items))
    given = Options.model_validate(options)
    score_file(
        predictor,
        ScoringJob(
            sources=[str(source)],
            target=Target(str(target)),
            wanted=WantedColumns(options=given),
            overwrite=True,
        ),
        lambda *_: None,
    )
    return target


def answer_of(result: dict[str, Any], task: str) -> dict[str, Any]:
    return {name: result[name] for name in TASKS[task].answer.model_fields}


@pytest.mark.parametrize("task", TASKS)
def test_http_python_predict_and_score_give_equal_numbers(
    task: str,
    made: Callable[[str], Path],
    predictors: Callable[[str], Predictor],
    server: Server,
    extractive_server: Server,
    tmp_path: Path,
) -> None:
    items = make_items(task, ROWS)
    by_hand = predict(predictors(task), items)
    asked = extractive_server if task == EXTRACTIVE else server
    parts = [ask(asked, TASKS[task].endpoint, items[start : start + 50]).json() for start in range(0, ROWS, 50)]
    by_http = [result for part in parts for result in part["results"]]
    lines = score(predictors(task), items, tmp_path, "jsonl").read_text().splitlines()
    scored = [json.loads(line) for line in lines]
    with load(TASKS[task].endpoint, package=made(task) / "package") as model:
        assert [json.loads(result.model_dump_json()) for result in model.score(items)] == by_hand
    for one, other, row in zip(by_hand, by_http, scored, strict=True):
        expected = answer_of(one, task)
        assert answer_of(other, task) == expected
        for name, value in expected.items():
            if name == "scores" and f"score_{value[0]['label']}" in row:
                assert {entry["label"]: entry["score"] for entry in value} == {
                    entry["label"]: row[f"score_{entry['label']}"] for entry in value
                }
            else:
                assert row.get(f"prediction_{name}", row[name]) == value


@pytest.mark.parametrize("task", TASKS)
def test_every_answer_is_what_the_contract_says(task: str, server: Server, extractive_server: Server) -> None:
    asked, endpoint = (extractive_server if task == EXTRACTIVE else server), TASKS[task].endpoint
    # Answers are written without being checked: this holds them to their type.
    contract = answer_type(*ENDPOINTS[endpoint])
    for options in ({}, {"explain": True, "top_k": 1}, {"on_error": "report"}, {"certify": "typos"}):
        body = ask(asked, endpoint, make_items(task, 3), **options)
        answer = contract.model_validate_json(body.content, strict=True)
        left_out = set() if options.get("on_error") or answer.errors else {"errors"}
        assert json.loads(answer.model_dump_json(exclude=left_out)) == body.json()
        assert set(body.json()) == set(contract.model_fields) - left_out


@pytest.mark.parametrize("task", TASKS)
def test_a_text_of_five_thousand_words_is_answered_whole(task: str, predictors: Callable[[str], Predictor]) -> None:
    (item,) = make_items(task, 1)
    longest = next(iter(TASKS[task].columns))
    (result,) = predict(predictors(task), [item | {longest: "the film was good " * 1250}])
    assert result["windows"] > 1
    assert result["truncated"] is False


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["attention", "rollout"])
def test_explanations_share_one_among_the_words_of_the_fields_they_name(
    task: str, method: str, predictors: Callable[[str], Predictor]
) -> None:
    items = make_items(task, 20)
    for item, result in zip(items, predict(predictors(task), items, explain=method), strict=True):
        given = result["explanation"]
        explanations = given if isinstance(given, list) else [given]
        for explanation in explanations:
            assert sum(word["score"] for word in explanation["items"]) == pytest.approx(1, abs=1e-6)
            for word in explanation["items"]:
                field, _, number = word["field"].partition("/")
                text = item[field][int(number)] if number else item[field]
                assert text[word["start"] : word["end"]] == word["text"]


def test_each_entity_is_explained_on_its_own(predictors: Callable[[str], Predictor]) -> None:
    results = predict(predictors("ner"), make_items("ner", 40), explain="attention")
    assert any(len(result["entities"]) > 1 for result in results)
    for result in results:
        assert [entity["label"] for entity in result["entities"]] == [
            explanation["target"] for explanation in result["explanation"]
        ]


def test_the_chosen_answer_is_explained_with_its_own_words_only(predictors: Callable[[str], Predictor]) -> None:
    for result in predict(
        predictors("reading-comprehension"), make_items("reading-comprehension", 20), explain="rollout"
    ):
        fields = {word["field"] for word in result["explanation"]["items"]}
        assert fields == {"context", "question", f"choices/{result['choice']}"}


@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_every_entity_is_what_it_names_in_every_unit(predictors: Callable[[str], Predictor], text: str) -> None:
    for unit, cut in CUTS.items():
        for entity in _answer(predictors("ner"), {"text": text}, unit)["entities"]:
            assert cut(text, entity["start"], entity["end"]) == entity["text"] != ""


@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_every_span_is_what_it_names_in_every_unit(predictors: Callable[[str], Predictor], text: str) -> None:
    for unit, cut in CUTS.items():
        result = _answer(predictors(EXTRACTIVE), {"context": text, "question": "what?"}, unit)
        for span in result["scores"]:
            assert cut(text, span["start"], span["end"]) == span["label"]
        if result["answer"] is not None:
            assert cut(text, result["start"], result["end"]) == result["answer"]


CUTS: dict[str, Callable[[str, int, int], str]] = {
    "codepoint": lambda text, start, end: text[start:end],
    "utf16": lambda text, start, end: text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le"),
    "byte": lambda text, start, end: text.encode()[start:end].decode(),
}


def _answer(predictor: Predictor, item: dict[str, Any], unit: str) -> dict[str, Any]:
    options = Options.model_validate({"offset_unit": unit})
    try:
        (result,) = predictor.answer([predictor.task.item.model_validate(item)], options).results
    except ItemsRejected:
        reject()
    found: dict[str, Any] = json.loads(result.model_dump_json())
    return found


def test_entities_are_json_in_csv_and_structs_in_parquet(
    predictors: Callable[[str], Predictor], tmp_path: Path
) -> None:
    items = make_items("ner", 20)
    expected = [result["entities"] for result in predict(predictors("ner"), items)]
    with score(predictors("ner"), items, tmp_path, "csv").open() as file:
        assert [json.loads(row["entities"]) for row in csv.DictReader(file)] == expected
    stored = parquet.read_table(score(predictors("ner"), items, tmp_path, "parquet"))
    assert stored.column("entities").to_pylist() == expected


def test_columns_are_named_by_field(made: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("article,claim\nthe film was good,the film was bad\n")
    options = ("--premise-column", "article", "--hypothesis-column", "claim", "--package", made("nli") / "package")
    done = steadfast("score", "nli", source, "-o", tmp_path / "out.csv", *options)
    assert done.returncode == 0, done.stderr
    assert "entailment" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--premise-column", "article"), "no column 'hypothesis' or 'text_b'"),
        (("--text-column", "article"), "nli has no text; its inputs have: premise, hypothesis"),
    ],
)
def test_columns_that_are_not_there_are_told(
    options: tuple[str, ...], message: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("article,about\na,b\n")
    failed = steadfast(
        "score", "nli", source, "-o", tmp_path / "out.csv", *options, "--package", made("nli") / "package"
    )
    assert failed.returncode == 2
    assert message in failed.stderr


def test_choices_in_csv_are_json_lists(predictors: Callable[[str], Predictor], tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("context", "question", "choices"),
                ("good", "what", '["good", "bad"]'),
                ("good", "what", "good"),
                ("good", "what", "[" * 100_000),
            ]
        )
    job = ScoringJob(sources=[str(source)], target=Target(str(tmp_path / "out.jsonl")))
    summary = score_file(predictors("reading-comprehension"), job, lambda *_: None)
    rows = [json.loads(line) for line in job.target.path.read_text().splitlines()]
    assert summary.refused == 2
    assert rows[0]["answer"] in ("good", "bad")
    assert rows[1]["error"].startswith("choices: ")


def test_predict_takes_the_texts_of_an_input_in_their_order(made: Callable[[str], Path]) -> None:
    texts = ("the film was good", "what was good", "the film", "the plot", "the story")
    shown = steadfast(
        "predict", "reading-comprehension", *texts, "--json", "--package", made("reading-comprehension") / "package"
    )
    assert json.loads(shown.stdout)[0]["answer"] in texts[2:]


def test_predict_says_which_texts_a_task_reads(made: Callable[[str], Path]) -> None:
    failed = steadfast("predict", "nli", "only one", "--package", made("nli") / "package")
    assert failed.returncode == 2
    assert "nli reads premise, hypothesis, in this order; hypothesis: is missing" in failed.stderr


def test_predict_says_how_many_texts_a_task_reads_at_a_time(made: Callable[[str], Path]) -> None:
    failed = steadfast("predict", "nli", "one", "two", "three", "--package", made("nli") / "package")
    assert failed.returncode == 2
    assert "nli reads premise, hypothesis, in this order, and again: 2 texts at a time; 3 are given" in failed.stderr


def test_predict_of_a_folder_says_where_a_package_is_named(made: Callable[[str], Path]) -> None:
    failed = steadfast("predict", made("nli") / "package", "one", "two")
    assert failed.returncode == 2
    assert "is a folder; name a task first, and the folder as its package" in failed.stderr


def test_the_models_are_listed_with_what_they_answer_at(server: Server) -> None:
    models = {model["task"]: model for model in server.client.get("/v1/models").json()["models"]}
    assert set(models) == {tasks[0].name for tasks in ENDPOINTS.values()}
    assert models["sts"]["score_range"] == [0, 5]
    assert all(model["digest"] and model["limits"] and model["metrics"] for model in models.values())


@pytest.mark.parametrize(
    ("choices", "where", "message"),
    [(["a", "b"], "extractive", "finds the answer in the context"), (None, "server", "from 2 to 20 choices")],
)
def test_choices_are_asked_for_by_the_model_that_chooses(
    choices: list[str] | None, where: str, message: str, server: Server, extractive_server: Server
) -> None:
    item = {"context": "the film was good", "question": "what was good", "choices": choices}
    answer = ask(extractive_server if where == "extractive" else server, "reading-comprehension", [item])
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert answer.json()["errors"][0]["pointer"] == "/inputs/0/choices"
    assert message in answer.json()["detail"]


def test_an_empty_choice_is_named(server: Server) -> None:
    item = {"context": "the film was good", "question": "what was good", "choices": ["a", " "]}
    answer = ask(server, "reading-comprehension", [item])
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/inputs/0/choices/1"]


def test_a_question_that_costs_more_than_it_says_is_refused_at_once(predictors: Callable[[str], Predictor]) -> None:
    item = {"context": "good", "question": "what" + " " * 200_000 + "?", "choices": ["a"] * 20}
    predictor = predictors("reading-comprehension")
    with pytest.raises(ItemsRejected) as caught:
        predictor.submit([predictor.task.item.model_validate(item)], Options())
    (rejection,) = caught.value.rejected
    assert (rejection.reason.code, rejection.reason.field) == ("input_too_long", "question")


def test_more_entities_than_can_be_read_again_are_answered_without_explanation(server: Server) -> None:
    body = ask(server, "ner", [{"text": "al the " * 3_000}, {"text": "the film was by al"}], explain="attention").json()
    long, short = body["results"]
    assert len(long["entities"]) > 1_000
    assert long["explanation"] is None
    assert len(short["explanation"]) == len(short["entities"])
    (error,) = body["errors"]
    assert (error["index"], error["code"]) == (0, "explanation_too_long")
    assert "parts of the answer takes" in error["detail"]


def test_of_a_long_text_only_the_words_around_an_entity_are_listed(predictors: Callable[[str], Predictor]) -> None:
    (result,) = predict(predictors("ner"), [{"text": "the film was good " * 60 + "al"}], explain="rollout")
    entity, explanation = result["entities"][-1], result["explanation"][-1]
    assert entity["text"] == "al"
    assert explanation["items"][-1]["end"] == entity["end"]
    assert len(explanation["items"]) < 64


@pytest.mark.parametrize("task", TASKS)
def test_predict_shows_every_task_to_people(task: str, made: Callable[[str], Path]) -> None:
    (item,) = make_items(task, 1)
    texts = [text for value in item.values() for text in (value if isinstance(value, list) else [value])]
    shown = steadfast(
        "predict", TASKS[task].endpoint, *texts, "--explain", "attention", "--package", made(task) / "package"
    )
    assert shown.returncode == 0, shown.stderr
    # Entities and spans stand in brackets where there is no colour.
    assert texts[0] in re.sub(r"[\[\]]", "", shown.stdout)


def test_what_commands_a_terminal_is_not_shown(made: Callable[[str], Path]) -> None:
    choices = ("the film was \x1b[2Jgood", "the film was \x1b[2Jgood")
    package = made("reading-comprehension") / "package"
    texts = ("the film was good", "was it", *choices)
    shown = steadfast("predict", "reading-comprehension", *texts, "--explain", "rollout", "--package", package)
    assert "\x1b[2J" not in shown.stdout


def test_models_are_compared_whatever_they_answer(made: Callable[[str], Path]) -> None:
    folders = [made(task) / "package" for task in ("nli", "sts", "sts")]
    shown = steadfast("models", *folders, "--markdown")
    assert shown.returncode == 0, shown.stderr
    methods, figures, *_ = shown.stdout.split("\n\n")
    digest = read_manifest(folders[1]).digest[:8]
    assert methods.splitlines()[2:] == ["| nli | plain |", *[f"| sts {digest} | plain |"] * 2]
    assert [line.split(" | ")[2] for line in figures.splitlines()[2:]] == [
        *("accuracy", "f1"), *("spearman", "pearson") * 2,
    ]  # fmt: skip
