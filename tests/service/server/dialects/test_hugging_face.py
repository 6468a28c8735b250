"""Hugging Face's dialect: clients of two generations get the scores of our own protocol, and errors that they show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import pipeline

from tests.service.conftest import ZOO, Server
from tests.service.server.dialects.conftest import EXTRACTIVE, ask_natively, items_of, run_client
from tests.tiny import TOPICS

ROWS = 4
MULTI_LABEL = "multi-label-classification"
NAMES = "Anna Smith of Siemens flew from Berlin to Paris 🙂 with Bob."
LABELS = ["sports", "politics", "cooking"]
TEXT = "The match ended three to one."


def ask(server: Server, task: str, body: object, **options: Any) -> httpx.Response:
    return server.client.post(f"/hf/{task}", json=body, **options)


def calls_of(server: Server) -> tuple[list[Any], list[Any]]:
    """Calls of the client, and what each gives by the scores of our own protocol."""
    calls: list[Any] = []
    expected: list[Any] = []
    for item in items_of("sentiment", ROWS):
        calls.append(("text_classification", [item["text"]], {}))
        expected.append(ask_natively(server, "sentiment", [item])[0]["scores"])
    for text in [NAMES, *(item["text"] for item in items_of("ner", ROWS))]:
        calls.append(("token_classification", [text], {"aggregation_strategy": "simple"}))
        (result,) = ask_natively(server, "ner", [text])
        expected.append([entity_of(entity) for entity in result["entities"]])
    for item in items_of(EXTRACTIVE, ROWS):
        calls.append(("question_answering", [], {"question": item["question"], "context": item["context"]}))
        (result,) = ask_natively(server, "reading-comprehension", [item], model=EXTRACTIVE)
        best = result["scores"][0]
        expected.append({"answer": best["label"], **{name: best[name] for name in ("score", "start", "end")}})
    others = [item["text_b"] for item in items_of("sts", ROWS)]
    calls.append(("sentence_similarity", ["the film was good"], {"other_sentences": others}))
    pairs = [{"text_a": "the film was good", "text_b": other} for other in others]
    expected.append([result["normalized"] for result in ask_natively(server, "sts", pairs)])
    calls.append(("zero_shot_classification", [TEXT], {"candidate_labels": LABELS}))
    entailed = entailments(server, TEXT, "This example is {}.")
    expected.append(ranked({label: score / sum(entailed.values()) for label, score in entailed.items()}))
    return calls, expected


def entity_of(entity: dict[str, Any]) -> dict[str, Any]:
    moved = {"entity_group": entity["label"], "word": entity["text"]}
    return moved | {name: entity[name] for name in ("score", "start", "end")}


def entailments(server: Server, text: str, template: str) -> dict[str, float]:
    pairs = [{"premise": text, "hypothesis": template.format(label)} for label in LABELS]
    results = ask_natively(server, "nli", pairs)
    return {label: chance(result, "entailment") for label, result in zip(LABELS, results, strict=True)}


def chance(result: dict[str, Any], label: str) -> float:
    return next(float(entry["score"]) for entry in result["scores"] if entry["label"] == label)


def ranked(scores: dict[str, float]) -> list[dict[str, Any]]:
    pairs = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in pairs]


def without_empty(answer: Any) -> Any:
    """The answer without the fields that a client knows and no server fills."""
    if isinstance(answer, list):
        return [without_empty(one) for one in answer]
    return {name: value for name, value in answer.items() if value is not None} if isinstance(answer, dict) else answer


@pytest.mark.parametrize("environment", ["installed", "hugging_face"], ids=["0.36", "1.33"])
def test_the_clients_get_the_scores_of_our_own_protocol(every_task: Server, environment: str) -> None:
    calls, expected = calls_of(every_task)
    answers = run_client("hugging_face", every_task, calls, environment=environment)
    assert without_empty(answers["sync"]) == expected
    assert without_empty(answers["async"]) == expected


@pytest.mark.parametrize("environment", ["installed", "hugging_face"], ids=["0.36", "1.33"])
def test_the_clients_show_what_is_wrong(every_task: Server, environment: str) -> None:
    calls: list[Any] = [("text_classification", [" "], {})]
    answers = run_client("hugging_face", every_task, calls, environment=environment)
    (failed,), (other,) = answers["sync"], answers["async"]
    assert (failed["status"], other["status"]) == (422, 422)
    assert "inputs: " in failed["message"]
    assert "no text" in failed["message"] or "no words" in failed["message"]


def test_a_list_of_inputs_gets_a_list_of_answers(every_task: Server) -> None:
    texts = ["a fine film", "a dull film"]
    alone = [ask(every_task, "text-classification", {"inputs": text}).json()[0] for text in texts]
    assert ask(every_task, "text-classification", {"inputs": texts}).json() == alone
    alone = [ask(every_task, "token-classification", {"inputs": text}).json() for text in (NAMES, "Rome")]
    assert ask(every_task, "token-classification", {"inputs": [NAMES, "Rome"]}).json() == alone
    question = {"question": "what was it", "context": "the film was good"}
    alone = ask(every_task, "question-answering", {"inputs": question}).json()
    assert ask(every_task, "question-answering", {"inputs": [question]}).json() == [alone]
    body = {"inputs": TEXT, "parameters": {"candidate_labels": LABELS}}
    alone = ask(every_task, "zero-shot-classification", body).json()
    assert ask(every_task, "zero-shot-classification", body | {"inputs": [TEXT]}).json() == [alone]


def test_top_k_shortens_the_labels_and_gives_more_spans(every_task: Server) -> None:
    body = {"inputs": "a fine film", "parameters": {"top_k": 1}}
    assert [len(labels) for labels in ask(every_task, "text-classification", body).json()] == [1]
    question = {"question": "what was it", "context": "the film was good"}
    spans = ask(every_task, "question-answering", {"inputs": question, "parameters": {"top_k": 3}}).json()
    assert [question["context"][span["start"] : span["end"]] for span in spans] == [span["answer"] for span in spans]
    assert len(spans) == 3


def test_no_answer_is_given_where_it_is_asked_for_and_likeliest(every_task: Server) -> None:
    answers = set()
    for item in items_of(EXTRACTIVE, 12):
        inputs = {"question": item["question"], "context": item["context"]}
        body = {"inputs": inputs, "parameters": {"handle_impossible_answer": True}}
        (native,) = ask_natively(every_task, "reading-comprehension", [item], model=EXTRACTIVE)
        found = ask(every_task, "question-answering", body).json()
        assert (found["answer"], found["score"]) == (native["answer"] or "", native["score"])
        answers.add(found["answer"] == "")
    assert answers == {True, False}


def test_labels_judged_apart_are_weighed_against_contradiction_alone(every_task: Server) -> None:
    template = "It is about {}."
    parameters = {"candidate_labels": ", ".join(LABELS), "multi_label": True, "hypothesis_template": template}
    found = ask(every_task, "zero-shot-classification", {"inputs": TEXT, "parameters": parameters}).json()
    pairs = [{"premise": TEXT, "hypothesis": template.format(label)} for label in LABELS]
    results = ask_natively(every_task, "nli", pairs)
    chances = [(chance(result, "entailment"), chance(result, "contradiction")) for result in results]
    assert found == ranked({label: yes / (yes + no) for label, (yes, no) in zip(LABELS, chances, strict=True)})


def test_a_single_label_is_weighed_against_contradiction(every_task: Server) -> None:
    """Of one label among itself the share is always 1; transformers' pipeline judges it apart, too."""
    template = "It is about {}."
    parameters = {"candidate_labels": LABELS[:1], "hypothesis_template": template}
    (found,) = ask(every_task, "zero-shot-classification", {"inputs": TEXT, "parameters": parameters}).json()
    (result,) = ask_natively(every_task, "nli", [{"premise": TEXT, "hypothesis": template.format(LABELS[0])}])
    yes, no = chance(result, "entailment"), chance(result, "contradiction")
    assert found == {"label": LABELS[0], "score": yes / (yes + no)}


def test_ignored_labels_are_left_out(every_task: Server) -> None:
    body: dict[str, Any] = {"inputs": NAMES}
    kinds = {entity["entity_group"] for entity in ask(every_task, "token-classification", body).json()}
    left = ask(every_task, "token-classification", body | {"parameters": {"ignore_labels": ["person"]}}).json()
    assert {entity["entity_group"] for entity in left} == kinds - {"person"} != kinds


@pytest.mark.parametrize(
    ("task", "body", "status", "message"),
    [
        ("text-classification", {"inputs": 3}, 422, "must be a text, or a list of texts"),
        ("text-classification", {"inputs": ["good", " "]}, 422, "inputs/1: "),
        ("text-classification", {"inputs": []}, 422, "must be a text, or a list of texts"),
        ("text-classification", {"inputs": ["a"] * 65}, 413, "65 texts; send at most 64"),
        ("text-classification", {"inputs": "a", "parameters": {"top_k": 0}}, 422, "/parameters/top_k: must be at"),
        ("text-classification", {"inputs": "a", "parameters": {"function_to_apply": "none"}}, 422, "must be 'softmax'"),
        (
            "text-classification",
            {"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}},
            422,
            "'softmax', by",
        ),
        ("text-classification/other", {"inputs": "a"}, 404, "no such model for this task; there are: sentiment"),
        ("token-classification", {"inputs": "a", "parameters": {"aggregation_strategy": "none"}}, 422, "'simple', "),
        ("zero-shot-classification", {"inputs": "a"}, 422, "/parameters/candidate_labels: is missing"),
        (
            "zero-shot-classification",
            {"inputs": "a", "parameters": {"candidate_labels": ["b"], "hypothesis_template": "c"}},
            422,
            "must hold {} once",
        ),
        (
            "zero-shot-classification",
            {"inputs": ["a"] * 13, "parameters": {"candidate_labels": list("bcdef")}},
            413,
            "65 pairs of a text and a label",
        ),
        ("sentence-similarity", {"inputs": "a"}, 422, "/inputs: must be an object"),
        ("question-answering", {"inputs": {"question": "a"}}, 422, "must be an object with question and context"),
        ("fill-mask", {"inputs": "a"}, 404, "no task 'fill-mask'; choose one of: text-classification, "),
        ("a/b/c", {"inputs": "a"}, 404, "there are: POST /hf/{task}, POST /hf/{task}/{model}"),
    ],
)
def test_what_does_not_fit_is_told_in_one_field(
    every_task: Server, task: str, body: object, status: int, message: str
) -> None:
    answer = ask(every_task, task, body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.json()) == {"error"}
    assert message in answer.json()["error"]


def test_a_model_that_chooses_answers_finds_none_in_texts(start_server: Callable[..., Server]) -> None:
    server = start_server(ZOO / "reading-comprehension")
    said = (
        "reading-comprehension chooses among answers that are given, and finds none in a text; "
        "serve a package for extractive-reading-comprehension, which zoo/ has none for"
    )
    question = {"question": "a", "context": "b"}
    for address in ("question-answering", "question-answering/reading-comprehension"):
        answer = ask(server, address, {"inputs": question})
        assert (answer.status_code, answer.json()) == (404, {"error": said})
    answers = run_client("hugging_face", server, [("question_answering", [], question)], environment="installed")
    assert [failed["status"] for (failed,) in answers.values()] == [404, 404]
    # The asynchronous client of the older generation shows no sentence of any server.
    assert said in answers["sync"][0]["message"]


def test_labels_of_ones_own_are_given_by_their_model_or_where_no_other_is_served(
    start_server: Callable[..., Server], made: Callable[[str], Path], package: Path
) -> None:
    own = made("text-classification") / "package"
    text = "the plot was good"
    alone, beside = start_server(own), start_server(package, own)
    (result,) = ask_natively(alone, "text-classification", [text])
    assert len(result["scores"]) == len(TOPICS)
    assert ask(alone, "text-classification", {"inputs": text}).json() == [result["scores"]]
    assert ask(beside, "text-classification/text-classification", {"inputs": text}).json() == [result["scores"]]
    (other,) = ask_natively(beside, "sentiment", [text])
    for address in ("text-classification", "text-classification/tiny"):
        assert ask(beside, address, {"inputs": text}).json() == [other["scores"]]
    unknown = ask(beside, "text-classification/none", {"inputs": text})
    said = "no such model for this task; there are: tiny, text-classification"
    assert (unknown.status_code, unknown.json()) == (404, {"error": said})
    labels = alone.client.post("/tei/predict", json={"inputs": text}).json()
    assert labels == [{"score": one["score"], "label": one["label"]} for one in result["scores"]]
    calls: list[Any] = [("text_classification", [text], {})]
    answers = run_client("hugging_face", alone, calls, environment="installed")
    assert without_empty(answers["sync"]) == [result["scores"]]


def test_any_number_of_labels_is_given_by_its_model_or_where_no_other_is_served(
    start_server: Callable[..., Server], made: Callable[[str], Path]
) -> None:
    own, single = made(MULTI_LABEL), made("text-classification") / "package"
    alone, beside = start_server(own / "package"), start_server(single, own / "package")
    texts = [item["text"] for item in items_of(MULTI_LABEL, 12)]
    expected = [result["scores"] for result in ask_natively(alone, MULTI_LABEL, texts)]
    assert ask(alone, "text-classification", {"inputs": texts}).json() == expected
    assert ask(beside, f"text-classification/{MULTI_LABEL}", {"inputs": texts}).json() == expected
    others = [result["scores"] for result in ask_natively(beside, "text-classification", texts)]
    assert ask(beside, "text-classification", {"inputs": texts}).json() == others != expected
    stock = pipeline("text-classification", model=str(own / "trained"), top_k=None)
    for labels, theirs in zip(expected, stock(texts), strict=True):
        assert [one["score"] for one in labels] == sorted((one["score"] for one in labels), reverse=True)
        # The package is int8, and its logits are as far from those of torch as its gate allows.
        probabilities = {one["label"]: one["score"] for one in theirs}
        assert {one["label"]: one["score"] for one in labels} == pytest.approx(probabilities, abs=0.08)
    assert any(sum(one["score"] for one in labels) > 1.2 for labels in expected)
    body = {"inputs": texts, "parameters": {"top_k": 1, "function_to_apply": "sigmoid"}}
    assert ask(alone, "text-classification", body).json() == [labels[:1] for labels in expected]
    refused = ask(alone, "text-classification", {"inputs": "a", "parameters": {"function_to_apply": "softmax"}})
    said = f"/parameters/function_to_apply: must be 'sigmoid', by which {MULTI_LABEL} was trained"
    assert (refused.status_code, refused.json()) == (422, {"error": said})
    calls: list[Any] = [("text_classification", [texts[0]], {"function_to_apply": "sigmoid"})]
    answers = run_client("hugging_face", alone, calls, environment="installed")
    assert without_empty(answers["sync"]) == expected[:1]


def test_a_model_that_finds_no_answers_is_told_another_that_does(every_task: Server) -> None:
    inputs = {"question": "a", "context": "b"}
    answer = ask(every_task, "question-answering/reading-comprehension", {"inputs": inputs})
    assert answer.status_code == 404
    assert answer.json()["error"].endswith(f"; ask {EXTRACTIVE}")


def test_answers_are_json_that_every_parser_reads(every_task: Server) -> None:
    answer = ask(every_task, "token-classification", {"inputs": NAMES})
    assert json.loads(answer.content.decode()) == answer.json()
    assert "\\u" not in answer.text
