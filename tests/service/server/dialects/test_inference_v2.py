"""The Open Inference Protocol v2: Triton's client in all its forms, and what it does not send."""

import json
import struct
from typing import Any

import httpx
import pytest

from models.tasks import TASKS
from tests.service.conftest import Server
from tests.service.server.dialects.conftest import ask_natively, items_of, run_client

ROWS = 3
LARGE = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}


def columns_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [item[name] for item in items] for name in items[0]}


def requests() -> list[tuple[str, list[dict[str, Any]]]]:
    """By model, items of each task, with as many choices each."""
    asked = [(task, items_of(task, ROWS)) for task in TASKS]
    for task, items in asked:
        if task == "reading-comprehension":
            for item in items:
                item["choices"] = item["choices"][:2]
    return asked


def expected_of(model: str, results: list[dict[str, Any]], labels: list[str]) -> dict[str, Any]:
    """The tensors that hold results."""
    columns: dict[str, Any] = {}
    for name in TASKS[model].answer.model_fields:
        values = [result[name] for result in results]
        if isinstance(values[0], list):
            if name == "scores" and {entry["label"] for entry in values[0]} == set(labels):
                rows = [{entry["label"]: entry["score"] for entry in value} for value in values]
                columns[name] = [[row[label] for label in labels] for row in rows]
            else:
                columns[name] = values
        else:
            nothing = "" if name in ("answer", "label") else -1
            columns[name] = [nothing if value is None else value for value in values]
    return columns


def read_lists(answer: dict[str, Any]) -> dict[str, Any]:
    """The columns with JSON in texts read."""
    return {
        name: [json.loads(text) for text in column]
        if name in ("entities", "labels", "scores") and isinstance(column[0], str)
        else column
        for name, column in answer.items()
        if name != "id"
    }


def test_tritons_client_gets_the_scores_of_our_own_protocol_in_every_form(every_task: Server) -> None:
    asked = requests()
    found = run_client("inference_v2", every_task, [(model, columns_of(items)) for model, items in asked])
    cards = {card["name"]: card for card in every_task.client.get("/v1/models").json()["models"]}
    for (model, items), answers in zip(asked, found["answers"], strict=True):
        results = ask_natively(every_task, TASKS[model].endpoint, items, model=model)
        expected = expected_of(model, results, cards[model]["labels"])
        for form, answer in answers.items():
            assert answer["id"] == "a1", answer
            assert read_lists(answer) == expected, (model, form)


def test_tritons_client_sees_the_server_and_its_models(every_task: Server) -> None:
    found = run_client("inference_v2", every_task, [("nli", columns_of(items_of("nli", 1)))])
    cards = {card["name"]: card for card in every_task.client.get("/v1/models").json()["models"]}
    version = cards["nli"]["digest"][:12]
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, False])
    assert found["server"]["name"] == "steadfast"
    assert found["model"]["versions"] == [version]
    assert [tensor["name"] for tensor in found["model"]["inputs"]] == ["premise", "hypothesis"]
    outputs = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in found["model"]["outputs"]}
    assert outputs == {"label": ("BYTES", [-1]), "score": ("FP64", [-1]), "scores": ("FP64", [-1, 3])}
    assert found["config"]["parameters"]["labels"]["string_value"] == "entailment,neutral,contradiction"
    assert {(one["name"], one["state"]) for one in found["index"]} == {(name, "READY") for name in cards}


def test_tritons_client_shows_what_is_wrong(every_task: Server) -> None:
    asked = [("sentiment", {"text": ["good", " "]}), ("nli", {"text": ["good"]})]
    empty, other = (answers["json"] for answers in run_client("inference_v2", every_task, asked)["answers"])
    assert empty["status"] == "422"
    assert "input 1: " in empty["message"]
    assert "nli takes the inputs premise, hypothesis, not 'text'" in other["message"]


def infer(server: Server, path: str = "sentiment", **body: Any) -> httpx.Response:
    return server.client.post(f"/v2/models/{path}/infer", json={"inputs": [LARGE]} | body)


def test_a_version_is_the_beginning_of_the_digest(every_task: Server) -> None:
    version = every_task.client.get("/v2/models/sentiment").json()["versions"][0]
    assert every_task.client.get(f"/v2/models/sentiment/versions/{version}/ready").status_code == 200
    answer = infer(every_task, f"sentiment/versions/{version}").json()
    assert (answer["model_name"], answer["model_version"]) == ("sentiment", version)
    refused = infer(every_task, "sentiment/versions/1")
    assert refused.status_code == 404
    assert f"has no version '1', but {version}" in refused.json()["error"]


def test_only_the_outputs_that_are_asked_for_come(every_task: Server) -> None:
    answer = infer(every_task, outputs=[{"name": "score"}]).json()
    assert [tensor["name"] for tensor in answer["outputs"]] == ["score"]
    refused = infer(every_task, outputs=[{"name": "logits"}])
    assert "sentiment gives the outputs label, score, scores, not 'logits'" in refused.json()["error"]


def test_two_tensors_of_one_name_are_refused(every_task: Server) -> None:
    answer = infer(every_task, inputs=[LARGE, LARGE])
    assert (answer.status_code, answer.json()["error"]) == (
        422, "two inputs have one name; send one tensor for each"
    )  # fmt: skip


def test_a_column_of_one_text_a_row_is_as_good_as_a_list(every_task: Server) -> None:
    flat = infer(every_task, inputs=[LARGE | {"shape": [2], "data": ["good", "bad"]}]).json()
    column = infer(every_task, inputs=[LARGE | {"shape": [2, 1], "data": [["good"], ["bad"]]}]).json()
    assert flat == column


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"datatype": "FP32"}, "text: must have the datatype BYTES"),
        ({"shape": [1, 2]}, "text: must have the shape [items] or [items, 1]"),
        ({"shape": [2]}, "text: holds 1 texts, and its shape says 2"),
        ({"shape": []}, "/inputs/0/shape: must hold at least 1 entry"),
        ({"shape": [-1]}, "/inputs/0/shape/0: must be at least 0"),
        ({"data": [1]}, "text: must hold texts"),
        ({"data": None}, "text: has no data"),
        ({"shape": [0], "data": []}, "the inputs hold no items"),
        ({"shape": [65], "data": ["a"] * 65}, "65 items; send at most 64"),
        ({"parameters": {"binary_data_size": 4}}, "binary_data_size must be a number of bytes behind the JSON"),
        ({"name": "texts"}, "sentiment takes the inputs text, not 'texts'"),
    ],
)
def test_a_tensor_that_does_not_fit_is_told(every_task: Server, tensor: dict[str, Any], message: str) -> None:
    answer = infer(every_task, inputs=[LARGE | tensor])
    assert answer.status_code in (413, 422)
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("packed", "size", "message"),
    [
        (b"\x01\x00", 2, "ends within the length of a text"),
        (struct.pack("<I", 9) + b"a", 5, "ends within a text"),
        (struct.pack("<I", 1) + b"\xff", 5, "holds a text that is not UTF-8"),
        (struct.pack("<I", 4) + b"good", 4, "bytes behind the JSON belong to no tensor"),
        (struct.pack("<I", 4) + b"good", True, "belong to no tensor"),
    ],
)
def test_binary_data_that_do_not_fit_are_told(every_task: Server, packed: bytes, size: int, message: str) -> None:
    tensor = {name: value for name, value in LARGE.items() if name != "data"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = every_task.client.post("/v2/models/sentiment/infer", content=head + packed, headers=headers)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "100000", "9" * 20, ""])
def test_a_length_that_is_none_is_refused(every_task: Server, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    answer = every_task.client.post("/v2/models/sentiment/infer", json={"inputs": [LARGE]}, headers=headers)
    assert answer.status_code == 400
    assert "is the length of the JSON" in answer.json()["error"]


def test_models_are_probed_without_a_key_and_described_with_one(every_task: Server) -> None:
    for path in ("none", "sentiment/versions/0"):
        refused = every_task.client.get(f"/v2/models/{path}/ready")
        assert (refused.status_code, refused.json()) == (404, {"error": "no model of this name and version is ready"})
    assert every_task.client.get("/v2/health/live").content == b""
    assert "no model 'none'; there are: " in every_task.client.get("/v2/models/none").json()["error"]
    assert every_task.client.post("/v2/repository/models/nli/load").status_code == 404
