"""Texts with any number of labels over HTTP: which labels they have, and how each is explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.networks.loading import open_trained_model
from tests.service.conftest import Server
from tests.service.tiny import reseal
from tests.tiny import TOPICS, make_items

TASK = "multi-label-classification"
TEXTS = [item["text"] for item in make_items(TASK, 30)]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], made: Callable[[str], Path]) -> Server:
    return start_server(made(TASK) / "package")


def ask(server: Server, texts: list[str], **options: Any) -> list[dict[str, Any]]:
    response = server.client.post(f"/v1/{TASK}", json={"inputs": texts, **options})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def test_probabilities_are_sigmoids_of_the_checkpoints_logits(server: Server, made: Callable[[str], Path]) -> None:
    model = open_trained_model(made(TASK) / "trained")
    rows = [model.task.encode(model.task.item(text=text), model.reader, "window").rows[0] for text in TEXTS]
    expected = torch.from_numpy(np.stack(model.run(rows))).sigmoid()
    assert model.outputs.labels == tuple(sorted(TOPICS))
    for result, row in zip(ask(server, TEXTS), expected.tolist(), strict=True):
        scores = {one["label"]: one["score"] for one in result["scores"]}
        # The package is int8, and its logits are as far from those of torch as its gate allows.
        assert scores == pytest.approx(dict(zip(model.outputs.labels, row, strict=True)), abs=0.08)


def test_a_text_has_the_labels_that_reach_the_threshold(server: Server) -> None:
    results = ask(server, TEXTS)
    for result in results:
        assert result["labels"] == [one["label"] for one in result["scores"] if one["score"] >= 0.5]
    assert {len(result["labels"]) for result in results} >= {0, 1, 2}


def test_the_card_gives_each_threshold_for_the_task_that_it_is_of(
    start_server: Callable[..., Server], made: Callable[[str], Path], tmp_path: Path
) -> None:
    finding = Path(shutil.copytree(made("ner") / "package", tmp_path / "finding"))
    reseal(finding, outside_threshold=0.7)
    server = start_server(finding, made(TASK) / "package")
    cards = [server.client.get(f"/v1/models/{task}").json() for task in ("ner", TASK)]
    assert [(card["label_threshold"], card["outside_threshold"]) for card in cards] == [(None, 0.7), (0.5, None)]


def test_the_card_gives_the_threshold_that_labels_reach_and_none_for_other_tasks(
    start_server: Callable[..., Server], made: Callable[[str], Path], package: Path, tmp_path: Path
) -> None:
    lower = Path(shutil.copytree(made(TASK) / "package", tmp_path / "lower"))
    reseal(lower, label_threshold=0.2)
    server = start_server(lower, package)
    cards = {task: server.client.get(f"/v1/models/{task}").json() for task in (TASK, "sentiment")}
    assert [card["label_threshold"] for card in cards.values()] == [0.2, None]
    assert [card["label_threshold"] for card in server.client.get("/v1/models").json()["models"]] == [0.2, None]
    results = ask(server, TEXTS)
    for result in results:
        assert result["labels"] == [one["label"] for one in result["scores"] if one["score"] >= 0.2]
    assert any(0.2 <= one["score"] < 0.5 for result in results for one in result["scores"])


def test_fewer_scores_leave_those_of_the_labels(server: Server) -> None:
    for whole, cut in zip(ask(server, TEXTS), ask(server, TEXTS, top_k=1), strict=True):
        assert cut["labels"] == whole["labels"]
        assert cut["scores"] == whole["scores"][: max(1, len(whole["labels"]))]


@pytest.mark.parametrize("method", ["attention", "decomposition", "occlusion"])
def test_each_label_has_an_explanation_of_its_own(server: Server, method: str) -> None:
    for text, result in zip(TEXTS, ask(server, TEXTS, explain=method), strict=True):
        given = result["explanation"]
        assert [one["target"] for one in given] == result["labels"]
        for explanation in given:
            words = explanation["items"]
            assert [text[word["start"] : word["end"]] for word in words] == [word["text"] for word in words]


def test_scores_and_rest_add_up_to_the_labels_own_logit(server: Server) -> None:
    for result in ask(server, TEXTS, explain="decomposition"):
        scores = {one["label"]: one["score"] for one in result["scores"]}
        for explanation in result["explanation"]:
            y = sum(word["score"] for word in explanation["items"]) + explanation["rest"]
            assert torch.tensor(y).sigmoid().item() == pytest.approx(scores[explanation["target"]], abs=1e-3)


def test_a_label_is_explained_that_was_not_given(server: Server) -> None:
    options = {"explain": {"method": "occlusion", "target": "praise"}}
    results = ask(server, TEXTS, **options)
    assert all([one["target"] for one in result["explanation"]] == ["praise"] for result in results)
    assert any("praise" not in result["labels"] for result in results)
    response = server.client.post(
        f"/v1/{TASK}", json={"inputs": TEXTS[:1], "explain": {"method": "occlusion", "target": "joy"}}
    )
    assert response.status_code == 422
    assert "name one, case counts: 'blame', 'names', 'praise', 'small words'" in response.json()["detail"]


def test_the_lists_of_labels_pass_the_inference_protocol_as_json(server: Server) -> None:
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    (name,) = [model["name"] for model in server.client.get("/v1/models").json()["models"]]
    body = server.client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]}).json()
    labels = next(one["data"] for one in body["outputs"] if one["name"] == "labels")
    assert list(map(json.loads, labels)) == [result["labels"] for result in ask(server, TEXTS)]
