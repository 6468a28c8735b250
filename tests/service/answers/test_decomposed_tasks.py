"""Decompositions of every task by a real graph: each part of an answer is explained in its rows, for its target."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from export.session import Session
from models.tasks import TASKS
from service.answers.batch import RowScores
from service.answers.contract import Options
from service.answers.predictor import Predictor
from tests.tiny import make_items

TARGETS = {"sentiment": "negative", "nli": "neutral", "ner": "person", "reading-comprehension": 1}
"""By task, an answer to ask for that is not always the one given."""

ONE_WINDOW = ("nli", "ner", "reading-comprehension", "extractive-reading-comprehension", "multi-label-classification")
"""Tasks whose parts come from a single window of a long text."""


@pytest.mark.parametrize(
    ("task", "target"), [*((task, None) for task in TASKS), *TARGETS.items()], ids=lambda value: str(value)
)
def test_every_part_is_explained_for_its_own_target(
    task: str, target: str | int | None, opened: Callable[[str], Predictor]
) -> None:
    predictor = opened(task)
    session = Session(predictor.package.graph, pad_id=predictor.package.manifest.pad_id)
    first, *others = make_items(task, 6)
    longest = next(iter(TASKS[task].columns))
    items = [first | {longest: first[longest] + " the film was good and bad" * 20}, *others]
    explain = {"method": "decomposition", "target": target}
    pending = predictor.submit(
        [predictor.task.item.model_validate(item) for item in items], Options.model_validate({"explain": explain})
    )
    several = 0
    for item, predicted in zip(pending.items, pending.future.result().predictions, strict=True):
        assert isinstance(predicted.scores, list)
        for part, scores in zip(predicted.prediction.parts, predicted.scores, strict=True):
            assert isinstance(scores, RowScores)
            rows = [replace(item.encoded.rows[row], read_at=part.read_at, target=part.target) for row in part.rows]
            alone = [session.run([row], ("logits", "decomposition"))[0] for row in rows]
            for found, expected in zip(scores.of_rows, alone, strict=True):
                np.testing.assert_allclose(found, expected["decomposition"], atol=1e-5)
            sums = [sum(weight * float(row["logits"][at]) for at, weight in part.target.items()) for row in alone]
            assert scores.y == pytest.approx(np.average(sums, weights=[len(row) for row in rows]), abs=1e-5)
            several += len(rows) > 1
    assert several or task in ONE_WINDOW


@pytest.mark.parametrize("task", TASKS)
def test_the_words_and_the_rest_add_up_for_every_task(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 6)]
    for unit in ("word", "token"):
        options = Options.model_validate({"explain": {"method": "decomposition", "unit": unit}})
        pending = predictor.submit(items, options)
        results, predictions = pending.result().results, pending.future.result().predictions
        for result, predicted in zip(results, predictions, strict=True):
            given = result.explanation if isinstance(result.explanation, tuple) else (result.explanation,)
            assert isinstance(predicted.scores, list)
            for explanation, scores in zip(given, predicted.scores, strict=True):
                assert explanation.rest + sum(one.score for one in explanation.items) == pytest.approx(
                    scores.y, abs=1e-5
                )
