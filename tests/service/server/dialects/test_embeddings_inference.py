"""The dialect of Text Embeddings Inference: its pair rule, similarity, reranking, and Haystack's ranker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Server
from tests.service.server.dialects.conftest import ask_natively, items_of, run_client
from tests.tiny import TOPICS

QUERY = "a man is eating food"
TEXTS = ["the sun is bright", "a man eats a meal", "a woman plays the violin"]


def ask(server: Server, path: str, **body: Any) -> httpx.Response:
    return server.client.post(path, json=body)


def labels_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"score": entry["score"], "label": entry["label"]} for entry in result["scores"]]


def likeness(server: Server, one: str, others: list[str]) -> list[dict[str, Any]]:
    return ask_natively(server, "sts", [{"text_a": one, "text_b": other} for other in others])


def test_a_list_of_two_texts_is_one_pair(every_task: Server) -> None:
    (result,) = ask_natively(every_task, "nli", [{"premise": "It rained.", "hypothesis": "It was wet."}])
    assert ask(every_task, "/tei/predict", inputs=["It rained.", "It was wet."]).json() == labels_of(result)


def test_a_batch_is_a_list_of_lists(every_task: Server) -> None:
    texts = ["a fine film", "a dull film"]
    expected = [labels_of(result) for result in ask_natively(every_task, "sentiment", texts)]
    assert ask(every_task, "/tei/predict", inputs=[[text] for text in texts]).json() == expected
    assert ask(every_task, "/tei/predict", inputs="a fine film").json() == expected[0]
    assert ask(every_task, "/tei/predict", inputs=["a fine film"]).json() == expected[0]
    items = items_of("nli", 4)
    expected = [labels_of(result) for result in ask_natively(every_task, "nli", items)]
    assert ask(every_task, "/tei/predict", inputs=[list(item.values()) for item in items]).json() == expected


def test_pairs_get_labels_of_ones_own_where_no_inference_is_served(
    start_server: Callable[..., Server], made: Callable[[str], Path]
) -> None:
    server = start_server(made("pair-classification") / "package")
    items = items_of("pair-classification", 3)
    expected = [labels_of(result) for result in ask_natively(server, "pair-classification", items)]
    assert {len(labels) for labels in expected} == {len(TOPICS)}
    assert ask(server, "/tei/predict", inputs=[list(item.values()) for item in items]).json() == expected
    refused = ask(server, "/tei/predict", inputs="a text")
    assert (refused.status_code, refused.json()["error_type"]) == (404, "Validation")


def test_any_number_of_labels_is_given_where_no_single_label_is(
    start_server: Callable[..., Server], made: Callable[[str], Path]
) -> None:
    task = "multi-label-classification"
    server = start_server(made(task) / "package")
    texts = [item["text"] for item in items_of(task, 12)]
    expected = [labels_of(result) for result in ask_natively(server, task, texts)]
    assert {len(labels) for labels in expected} == {len(TOPICS)}
    assert any(sum(one["score"] for one in labels) > 1.2 for labels in expected)
    assert ask(server, "/tei/predict", inputs=[[text] for text in texts]).json() == expected
    assert ask(server, "/tei/predict", inputs=texts[0]).json() == expected[0]
    refused = ask(server, "/tei/predict", inputs=["a text", "another"])
    assert (refused.status_code, refused.json()["error_type"]) == (404, "Validation")


def test_similarity_is_the_score_of_sts_from_0_to_1(every_task: Server) -> None:
    answer = ask(every_task, "/tei/similarity", inputs={"source_sentence": QUERY, "sentences": TEXTS})
    assert answer.json() == [result["normalized"] for result in likeness(every_task, QUERY, TEXTS)]


def test_the_likest_text_comes_first(every_task: Server) -> None:
    results = likeness(every_task, QUERY, TEXTS)
    ranks = ask(every_task, "/tei/rerank", query=QUERY, texts=TEXTS).json()
    assert ranks[0]["index"] == 1
    assert [rank["score"] for rank in ranks] == sorted((one["normalized"] for one in results), reverse=True)
    assert all(rank == {"index": rank["index"], "score": results[rank["index"]]["normalized"]} for rank in ranks)


def test_raw_scores_and_texts_come_where_they_are_asked_for(every_task: Server) -> None:
    results = likeness(every_task, QUERY, TEXTS)
    ranks = ask(every_task, "/tei/rerank", query=QUERY, texts=TEXTS, raw_scores=True, return_text=True).json()
    assert {(rank["text"], rank["score"]) for rank in ranks} == {
        (text, result["score"]) for text, result in zip(TEXTS, results, strict=True)
    }


def test_equal_scores_keep_the_order_of_the_texts(every_task: Server) -> None:
    ranks = ask(every_task, "/tei/rerank", query=QUERY, texts=[TEXTS[0]] * 5).json()
    assert [rank["index"] for rank in ranks] == [0, 1, 2, 3, 4]


def test_long_texts_are_read_whole_unless_they_are_to_be_cut(every_task: Server) -> None:
    text = "a fine film " * 200 + "which was awful " * 200
    whole, cut = (
        ask_natively(every_task, "sentiment", [text], truncation=truncation)[0] for truncation in ("window", "right")
    )
    assert ask(every_task, "/tei/predict", inputs=text).json() == labels_of(whole)
    assert ask(every_task, "/tei/predict", inputs=text, truncate=True).json() == labels_of(cut) != labels_of(whole)


def test_haystacks_ranker_gets_the_order_and_the_scores(every_task: Server) -> None:
    results = likeness(every_task, QUERY, TEXTS)
    scores = [result["normalized"] for result in results]
    expected = sorted(([text, score] for text, score in zip(TEXTS, scores, strict=True)), key=lambda pair: -pair[1])
    assert run_client("ranker", every_task, (QUERY, TEXTS))["answers"] == [expected, expected]


def test_haystacks_ranker_shows_what_is_wrong(every_task: Server) -> None:
    assert "Response: " in (said := run_client("ranker", every_task, (QUERY, [" "]))["error"])
    assert '"error_type": "Empty"' in said
    assert "texts/0: " in said


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("predict", {"inputs": []}, 422, "Validation", "must be a text, a pair"),
        ("predict", {"inputs": ["a", "b", "c"]}, 422, "Validation", "must be a text, a pair"),
        ("predict", {"inputs": [["a"], ["b", "c"]]}, 422, "Validation", "all single texts or all pairs"),
        ("predict", {"inputs": "a", "raw_scores": True}, 422, "Validation", "/raw_scores: must be false"),
        ("predict", {"inputs": [["a"], [" "]]}, 422, "Empty", "inputs/1: "),
        ("predict", {"inputs": [["a"]] * 65}, 413, "Validation", "65 texts; send at most 64"),
        ("rerank", {"query": "a", "texts": []}, 422, "Validation", "/texts: must hold at least 1 entry"),
        ("rerank", {"query": "a", "texts": ["b"], "truncation_direction": "Left"}, 422, "Validation", "'Right'"),
        ("similarity", {"inputs": {"source_sentence": "a"}}, 422, "Validation", "/inputs/sentences: is missing"),
        ("embed", {"inputs": "a"}, 404, "Validation", "there are: POST /tei/predict, "),
    ],
)
def test_what_does_not_fit_is_told_as_tei_tells_it(
    every_task: Server, path: str, body: dict[str, Any], status: int, kind: str, message: str
) -> None:
    answer = ask(every_task, f"/tei/{path}", **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == kind
    assert message in answer.json()["error"]


def test_info_says_what_reranks_and_how_much_it_takes(every_task: Server) -> None:
    info = every_task.client.get("/tei/info").json()
    cards = every_task.client.get("/v1/models").json()["models"]
    (card,) = (card for card in cards if card["task"] == "sts")
    assert (info["model_id"], info["model_sha"], info["max_client_batch_size"]) == ("sts", card["digest"], 64)
    assert info["max_input_length"] == card["limits"]["max_item_tokens"]


def test_health_is_200_without_a_body(every_task: Server) -> None:
    answer = every_task.client.get("/tei/health")
    assert (answer.status_code, answer.content) == (200, b"")
