"""Answers of a BiLSTM, explained in the words of the texts as they were given."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from export.package import open_package
from service.answers.contract import Options
from service.answers.errors import NotOffered
from service.answers.explanation import ExplainOptions
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from tests.service.conftest import Server


@pytest.fixture(scope="module")
def single(made_bilstm: Callable[[str], Path]) -> Iterator[Predictor]:
    with (
        Pool(1) as pool,
        Predictor(open_package(made_bilstm("sentiment") / "package"), EngineLimits(), pool) as predictor,
    ):
        yield predictor


@pytest.fixture(scope="module")
def pair(made_bilstm: Callable[[str], Path]) -> Iterator[Predictor]:
    with Pool(1) as pool, Predictor(open_package(made_bilstm("nli") / "package"), EngineLimits(), pool) as predictor:
        yield predictor


def _ask(predictor: Predictor, *items: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    given = [predictor.task.item.model_validate(item) for item in items]
    results = predictor.answer(given, Options.model_validate(options)).results
    return [json.loads(result.model_dump_json()) for result in results]


def test_each_word_has_the_attention_of_its_token(single: Predictor) -> None:
    text = "The FILM of 1999 was good, Élan 中!"
    (result,) = _ask(single, {"text": text}, explain="attention")
    words = result["explanation"]["items"]
    assert [word["text"] for word in words] == ["The", "FILM", "of", "1999", "was", "good", ",", "Élan", "中", "!"]
    assert all(text[word["start"] : word["end"]] == word["text"] for word in words)
    options = Options(explain=ExplainOptions(method="attention"))
    pending = single.submit([single.task.item.model_validate({"text": text})], options)
    given: Any = pending.future.result().predictions[0].scores
    (scores,) = given[0].of_rows
    assert [word["score"] for word in words] == pytest.approx(scores.tolist(), abs=1e-6)
    assert sum(word["score"] for word in words) == pytest.approx(1)


def test_of_a_pair_all_words_are_listed_and_the_first_text_has_all_of_the_score(pair: Predictor) -> None:
    texts = {"premise": "the PLOT was good", "hypothesis": "the story was bad 😀!"}
    (result,) = _ask(pair, texts, explain="attention")
    words = result["explanation"]["items"]
    assert [(word["field"], word["text"]) for word in words] == [
        *(("premise", word) for word in ("the", "PLOT", "was", "good")),
        *(("hypothesis", word) for word in ("the", "story", "was", "bad", "😀", "!")),
    ]
    assert all(texts[word["field"]][word["start"] : word["end"]] == word["text"] for word in words)
    assert sum(word["score"] for word in words[:4]) == pytest.approx(1)
    assert all(word["score"] > 0 for word in words[:4])
    assert all(word["score"] == 0 for word in words[4:])


@pytest.mark.parametrize(("good", "label"), [("lovely", "positive"), ("awful", "negative")])
def test_it_answers_by_the_words_that_decide(single: Predictor, good: str, label: str) -> None:
    assert _ask(single, {"text": f"the plot was {good}"})[0]["label"] == label


def test_an_answer_is_the_same_alone_and_beside_others(pair: Predictor) -> None:
    items = [
        {"premise": "the film was good", "hypothesis": "bad"},
        {"premise": "good", "hypothesis": "the story was al and the film was great"},
    ]
    together = _ask(pair, *items)
    assert [result["scores"] for result in together] == [_ask(pair, item)[0]["scores"] for item in items]


def test_a_long_text_is_read_and_explained_whole(single: Predictor) -> None:
    (result,) = _ask(single, {"text": "the plot was good . " * 40}, explain="attention")
    assert result["windows"] > 1
    assert len(result["explanation"]["items"]) == 200
    assert all(word["score"] > 0 for word in result["explanation"]["items"])


def test_rollout_is_refused(single: Predictor, pair: Predictor) -> None:
    for predictor in (single, pair):
        assert "rollout" not in predictor.explanations
        with pytest.raises(NotOffered, match="gives no explanation 'rollout'; it gives: 'attention', "):
            predictor.choose(ExplainOptions(method="rollout"))


def test_over_http_it_answers_and_refuses_rollout(
    start_server: Callable[..., Server], made_bilstm: Callable[[str], Path]
) -> None:
    server = start_server(made_bilstm("sentiment") / "package")
    assert server.ask(inputs=["the plot was lovely"], explain="attention").json()["results"][0]["label"] == "positive"
    refused = server.ask(inputs=["the plot was lovely"], explain="rollout")
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/explain"]
