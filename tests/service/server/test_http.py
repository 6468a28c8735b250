"""Good requests over real HTTP, answered as the contract says."""

import math
import re
from typing import Any

import pytest

from models.tasks import ENDPOINTS
from tests.service.conftest import Server, wait_for

LONG = "the film was good and not boring " * 20


def test_an_answer_has_every_field_of_the_contract(server: Server) -> None:
    answer = server.ask(inputs=[{"text": "the film was good", "id": "a"}]).json()
    assert set(answer) == {"id", "model", "results", "usage", "timing_ms"}
    assert set(answer["model"]) == {"task", "name", "digest", "method", "precision"}
    (result,) = answer["results"]
    assert set(result) == {
        "index",
        "id",
        "label",
        "score",
        "scores",
        "tokens",
        "truncated",
        "windows",
        "unknown_share",
        "certificate",
        "explanation",
    }
    assert set(answer["usage"]) == {"items", "tokens"}
    assert set(answer["timing_ms"]) == {"queue", "tokenize", "infer", "total"}


def test_results_keep_the_order_and_the_ids_of_the_inputs(server: Server) -> None:
    results = server.ask(inputs=[{"text": "awful", "id": "x"}, "great", {"text": LONG}]).json()["results"]
    assert [(result["index"], result["id"], result["label"]) for result in results] == [
        (0, "x", "negative"),
        (1, None, "positive"),
        (2, None, "positive"),
    ]


def test_a_bare_string_is_short_for_an_item(server: Server) -> None:
    bare, item = server.ask(inputs=["good film", {"text": "good film"}]).json()["results"]
    assert bare | {"index": 1} == item


def test_scores_are_sorted_probabilities_led_by_the_label(server: Server) -> None:
    (result,) = server.ask(inputs=["the film was fine"]).json()["results"]
    values = [entry["score"] for entry in result["scores"]]
    assert values == sorted(values, reverse=True)
    assert math.isclose(sum(values), 1.0)
    assert result["scores"][0] == {"label": result["label"], "score": result["score"]}


def test_top_k_shortens_scores(server: Server) -> None:
    (result,) = server.ask(inputs=["good"], top_k=1).json()["results"]
    assert len(result["scores"]) == 1


def test_usage_counts_items_and_tokens(server: Server) -> None:
    answer = server.ask(inputs=["good", LONG]).json()
    assert answer["usage"] == {"items": 2, "tokens": sum(result["tokens"] for result in answer["results"])}


def test_long_texts_are_read_in_windows(server: Server) -> None:
    (result,) = server.ask(inputs=[LONG]).json()["results"]
    assert result["windows"] > 1
    assert not result["truncated"]


def test_a_long_text_is_cut_when_asked_for(server: Server) -> None:
    (result,) = server.ask(inputs=[LONG], truncation="right").json()["results"]
    assert (result["windows"], result["truncated"], result["tokens"]) == (1, True, 32)


@pytest.mark.parametrize("method", ["attention", "rollout"])
def test_an_explanation_weighs_the_words(server: Server, method: str) -> None:
    (result,) = server.ask(inputs=["The film was awful!"], explain=method).json()["results"]
    explanation = result["explanation"]
    assert (explanation["method"], explanation["target"], explanation["unit"]) == (method, "negative", "word")
    assert [word["text"] for word in explanation["items"]] == ["The", "film", "was", "awful", "!"]
    assert max(explanation["items"], key=lambda word: word["score"])["text"] == "awful"


def test_a_decomposition_says_for_and_against(server: Server) -> None:
    (result,) = server.ask(inputs=["great film, but boring"], explain="decomposition").json()["results"]
    explanation = result["explanation"]
    scores = {word["text"]: word["score"] for word in explanation["items"]}
    assert (explanation["target"], explanation["unit"]) == ("positive", "word")
    assert (scores["great"], scores["boring"]) == (6.0, -2.0)
    chances = {entry["label"]: entry["score"] for entry in result["scores"]}
    y = math.log(chances["positive"] / chances["negative"])
    assert explanation["rest"] + sum(scores.values()) == pytest.approx(y, abs=1e-6)


def test_occlusion_says_how_far_the_logits_fall_without_a_word(server: Server) -> None:
    (result,) = server.ask(inputs=["great film, but boring"], explain="occlusion").json()["results"]
    scores = {word["text"]: word["score"] for word in result["explanation"]["items"]}
    assert (scores["great"], scores["boring"]) == (6.0, -2.0)


@pytest.mark.parametrize("on_error", ["fail", "report"])
def test_an_explanation_that_would_be_too_long_is_reported_beside_the_answer(server: Server, on_error: str) -> None:
    answer = server.ask(inputs=["good", "great " * 129], explain="occlusion", on_error=on_error).json()
    assert [result["label"] for result in answer["results"]] == ["positive", "positive"]
    assert [result["explanation"] is None for result in answer["results"]] == [False, True]
    assert answer["errors"] == [
        {
            "index": 1,
            "code": "explanation_too_long",
            "detail": "129 words to leave out in turn; at most 128 are: shorten the text",
        }
    ]


def test_without_a_method_the_decomposition_is_given(server: Server) -> None:
    for explain in (True, {}, {"method": None}):
        (result,) = server.ask(inputs=["great film"], explain=explain).json()["results"]
        assert result["explanation"]["method"] == "decomposition"


def test_any_label_may_be_explained(server: Server) -> None:
    explain = {"method": "rollout", "target": "positive"}
    (result,) = server.ask(inputs=["The film was awful!"], explain=explain).json()["results"]
    assert (result["label"], result["explanation"]["target"]) == ("negative", "positive")


def test_a_wrong_target_is_refused_with_those_that_there_are(server: Server) -> None:
    refused = server.ask(inputs=["good"], explain={"target": "neutral"}).json()
    assert refused["detail"] == "no answer 'neutral' can be explained; name one, case counts: 'negative', 'positive'"


def test_the_words_that_count_most_are_listed_in_the_order_of_the_text(server: Server) -> None:
    text = "great film, was not awful"
    whole, short = (
        server.ask(inputs=[text], explain={"method": "attention", "top_k": top_k}).json()["results"][0]["explanation"]
        for top_k in (None, 2)
    )
    assert [word["text"] for word in short["items"]] == ["great", "awful"]
    assert short["items"] == [word for word in whole["items"] if word["text"] in ("great", "awful")]
    assert short["rest"] is None


def test_the_rest_does_not_depend_on_how_many_words_are_listed(server: Server) -> None:
    whole, short = (
        server.ask(inputs=["great film, was not awful"], explain=explain).json()["results"][0]["explanation"]
        for explain in ("decomposition", {"method": "decomposition", "top_k": 1})
    )
    assert len(short["items"]) == 1
    assert short["rest"] == whole["rest"]


def test_tokens_are_listed_when_asked_for(server: Server) -> None:
    explain = {"method": "attention", "unit": "token"}
    (result,) = server.ask(inputs=["unhappy films!"], explain=explain).json()["results"]
    explanation = result["explanation"]
    assert explanation["unit"] == "token"
    assert [(token["text"], token["start"], token["end"]) for token in explanation["items"]] == [
        ("un", 0, 2),
        ("happy", 2, 7),
        ("film", 8, 12),
        ("s", 12, 13),
        ("!", 13, 14),
    ]
    assert sum(token["score"] for token in explanation["items"]) == pytest.approx(1)


@pytest.mark.parametrize(("unit", "start"), [("codepoint", 2), ("utf16", 3), ("byte", 5)])
def test_offsets_count_in_the_unit_asked_for(server: Server, unit: str, start: int) -> None:
    (result,) = server.ask(inputs=["😀 good"], explain="attention", offset_unit=unit).json()["results"]
    assert result["explanation"]["items"][1]["start"] == start


def test_bad_items_are_reported_beside_the_results_when_asked_for(server: Server) -> None:
    answer = server.ask(inputs=["good", " ", "bad"], on_error="report").json()
    assert [result["index"] for result in answer["results"]] == [0, 2]
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [(1, "empty_input")]
    assert answer["usage"]["items"] == 2


def test_nothing_but_bad_items_is_still_a_report(server: Server) -> None:
    answer = server.ask(inputs=["", "\t"], on_error="report").json()
    assert answer["results"] == []
    assert len(answer["errors"]) == 2


def test_inputs_of_unlike_kinds_are_reported_one_by_one(server: Server) -> None:
    inputs: list[Any] = [
        "good",
        None,
        5,
        [],
        {"text": 5},
        {"text": "x", "lang": "en"},
        {"text": "x", "id": "i" * 257},
        {},
        " ",
        "bad",
    ]
    answer = server.ask(inputs=inputs, on_error="report").json()
    assert [result["index"] for result in answer["results"]] == [0, 9]
    assert answer["results"][0]["scores"] == server.ask(inputs=["good"]).json()["results"][0]["scores"]
    codes = {error["index"]: error["code"] for error in answer["errors"]}
    assert codes == {**dict.fromkeys(range(1, 8), "validation"), 8: "empty_input"}
    details = {error["index"]: error["detail"] for error in answer["errors"]}
    assert "lang" in details[5]
    assert "id" in details[6]
    refused = server.ask(inputs=inputs)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation")


def test_a_report_of_a_long_name_is_short(server: Server) -> None:
    answer = server.ask(inputs=["good", {"text": "a", "x" * 180_000: 1}], on_error="report")
    assert answer.status_code == 200
    assert len(answer.content) < 2_000


@pytest.mark.parametrize(
    "wrong", [{"on_error": "perhaps"}, {"inputs": []}, {"inputs": "good"}, {"inputs": [None] * 65}]
)
def test_a_report_is_of_inputs_and_not_of_the_request(server: Server, wrong: dict[str, Any]) -> None:
    refused = server.ask(**{"inputs": [None], "on_error": "report", **wrong})
    assert refused.status_code in (413, 422)


def test_an_answer_does_not_depend_on_its_batch_mates(server: Server) -> None:
    texts = [f"the film {number} was {'good' * (number % 3)} {'x ' * (number * 7 % 23)}" for number in range(60)]
    together = server.ask(inputs=texts, explain="rollout").json()["results"]
    alone = [server.ask(inputs=[text], explain="rollout").json()["results"][0] for text in texts]
    assert together == [result | {"index": index} for index, result in enumerate(alone)]


def test_the_callers_request_id_comes_back(server: Server) -> None:
    response = server.client.post("/v1/sentiment", json={"inputs": ["a"]}, headers={"X-Request-ID": "mine-1"})
    assert response.headers["x-request-id"] == response.json()["id"] == "mine-1"


@pytest.mark.parametrize("unusable", ["", "with\ttab", "x" * 129, "é"])
def test_an_unusable_request_id_is_replaced(server: Server, unusable: str) -> None:
    response = server.client.get("/v1/models", headers=[(b"X-Request-ID", unusable.encode())])
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_the_timing_is_in_a_header_too(server: Server) -> None:
    response = server.ask(inputs=["good"])
    shown = {
        part.split(";dur=")[0]: float(part.split(";dur=")[1]) for part in response.headers["server-timing"].split(", ")
    }
    # The header is rounded to microseconds.
    assert shown == pytest.approx(response.json()["timing_ms"], abs=1e-3)


def test_a_certificate_says_whether_a_typo_changes_the_answer(server: Server) -> None:
    turned, held = server.ask(inputs=["👩‍🚀 boring", "bad"], certify="typos", offset_unit="utf16").json()["results"]
    assert turned["certificate"]["edits"] == turned["certificate"]["tried"] > 100
    assert turned["certificate"]["holds"] is False
    assert turned["certificate"]["counterexample"].items() >= {"field": "text", "text": "boring", "start": 6}.items()
    assert held["certificate"] == {"family": "typos", "edits": 0, "tried": 0, "holds": True, "counterexample": None}


@pytest.mark.parametrize("on_error", ["fail", "report"])
def test_an_input_with_too_many_edits_is_reported_beside_the_answer(server: Server, on_error: str) -> None:
    answer = server.ask(inputs=["bad", "great " * 100], certify="typos", on_error=on_error).json()
    assert [result["label"] for result in answer["results"]] == ["negative", "positive"]
    assert [result["certificate"] is None for result in answer["results"]] == [False, True]
    ((index, code),) = [(error["index"], error["code"]) for error in answer["errors"]]
    assert (index, code) == (1, "certificate_too_long")


def test_a_family_without_certificates_is_refused(server: Server) -> None:
    response = server.ask(inputs=["bad"], certify="names")
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/certify"


def test_options_in_the_address_are_refused_and_not_passed_over(server: Server) -> None:
    response = server.client.post("/v1/sentiment?explain=true", json={"inputs": ["bad"]})
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert "the address has the parameter 'explain', and none is read: put it into" in response.json()["detail"]


@pytest.mark.parametrize("probe", ["/livez", "/readyz"])
def test_probes_answer_with_a_request_id(server: Server, probe: str) -> None:
    response = server.client.get(probe)
    assert response.status_code == 200
    assert "x-request-id" in response.headers


def test_models_are_listed_with_what_they_say_of_themselves(server: Server) -> None:
    (card,) = server.client.get("/v1/models").json()["models"]
    assert card == server.client.get("/v1/models/sentiment").json()
    assert card["labels"] == ["negative", "positive"]
    assert card["explanations"] == ["attention", "rollout", "decomposition", "occlusion"]
    assert (card["limits"]["max_items"], card["limits"]["max_occlusion_words"]) == (64, 128)
    assert card["limits"]["max_certify_rows"] == 4096
    assert card["metrics"] == {"validation": {"accuracy": 1.0}}
    assert re.fullmatch("[0-9a-f]{64}", card["digest"])


def test_the_openapi_document_comes_from_the_types(server: Server) -> None:
    document = server.client.get("/docs.json").json()
    request = document["components"]["schemas"]["SentimentRequest"]
    assert request["additionalProperties"] is False
    assert request["properties"]["inputs"]["maxItems"] == 64
    assert {"type": "null"} in request["properties"]["explain"]["anyOf"]
    assert {"type": "string"} in document["components"]["schemas"]["TextItem"]["anyOf"]
    assert set(document["paths"]["/v1/sentiment"]["post"]["responses"]) >= {"200", "400", "413", "415", "422", "429"}


def test_every_reference_of_the_openapi_document_leads_somewhere(server: Server) -> None:
    text = server.client.get("/docs.json").text
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names <= set(server.client.get("/docs.json").json()["components"]["schemas"])


def test_each_request_is_one_line_of_log_without_its_text(server: Server) -> None:
    server.client.post("/v1/sentiment", json={"inputs": ["zebra quagga"]}, headers={"X-Request-ID": "logged"})
    server.client.post("/v1/sentiment", json={"zebra quagga": ["x"]}, headers={"X-Request-ID": "logged"})

    def logged() -> list[dict[str, Any]]:
        return [line for line in server.log_lines() if line.get("request_id") == "logged"]

    wait_for(lambda: len(logged()) == 2)  # the line is written after the answer
    lines = logged()
    assert [(line["event"], line["status"]) for line in lines] == [("request", 200), ("request", 422)]
    assert {"items", "tokens", "queue_ms", "tokenize_ms", "infer_ms", "duration_ms"} <= set(lines[0])
    assert "zebra" not in server.log.read_text()


@pytest.mark.parametrize("task", ENDPOINTS)
def test_every_task_has_its_address(server: Server, task: str) -> None:
    # 415, not 404: the address exists and reads JSON only.
    assert server.client.post(f"/v1/{task}").status_code == 415
