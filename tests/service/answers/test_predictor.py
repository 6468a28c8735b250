"""From items to answers with one package."""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.package import Faithfulness, open_package
from export.session import Arrays
from models.tasks.task import TextItem
from models.text import Row
from service.answers.answers import PendingAnswers
from service.answers.contract import Options
from service.answers.errors import BrokenModel, ItemsRejected, NotOffered
from service.answers.explanation import ExplainOptions
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.meter import Unmetered
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult
from tests.service.tiny import reseal

ROLLOUT = Options(explain=ExplainOptions(method="rollout"))
MIXED = [TextItem(text=text) for text in ("good", "", "bad", " ")]
"""The second and the fourth cannot be answered."""


def test_items_that_cannot_be_answered_are_reported_beside_the_results(predictor: Predictor) -> None:
    answers = predictor.answer(MIXED, Options(on_error="report"))
    assert [(result.index, result.label) for result in answers.results] == [(0, "positive"), (2, "negative")]
    assert [(one.index, one.reason.code) for one in answers.rejected] == [(1, "empty_input"), (3, "empty_input")]
    assert answers.tokens == sum(result.tokens for result in answers.results)


def test_one_item_that_cannot_be_answered_fails_all_before_anything_is_computed(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "submit", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(ItemsRejected, match=r"^input 2, text: ") as caught:
        predictor.submit(MIXED, Options())
    assert [one.index for one in caught.value.rejected] == [1, 3]


def test_the_times_of_the_stages_follow_one_another(predictor: Predictor) -> None:
    before = time.perf_counter()
    pending = predictor.submit(MIXED[:1], ROLLOUT)
    times = pending.result().times
    stages = (times.tokenize_s, times.queue_s, times.infer_s, times.render_s)
    assert min(stages) >= 0
    assert before <= pending.began <= pending.began + sum(stages) <= time.perf_counter()


def test_the_length_to_explain_counts_the_texts_of_explained_answers_only(predictor: Predictor) -> None:
    items = [TextItem(text="good"), TextItem(text="bad film")]
    assert predictor.submit(items, Options()).characters_to_explain == 0
    assert predictor.submit(items, ROLLOUT).characters_to_explain == 12


def test_only_what_the_graph_gives_is_offered(predictor: Predictor, attentive: Predictor) -> None:
    assert predictor.explanations == ("attention", "rollout", "decomposition", "occlusion")
    assert predictor.choose(ExplainOptions(method="rollout")) == "rollout"
    assert attentive.explanations == ("attention", "occlusion")
    with pytest.raises(NotOffered, match="gives no explanation 'rollout'; it gives: 'attention', 'occlusion'"):
        attentive.submit(MIXED[:1], ROLLOUT)


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        ({}, "decomposition"),
        ({"rollout": 0.4, "attention": 0.1, "decomposition": 0.2}, "rollout"),
        ({"of another version": 0.9}, "decomposition"),
    ],
)
def test_the_most_faithful_method_explains_unless_another_is_asked_for(
    package: Path, tmp_path: Path, measured: dict[str, float], best: str
) -> None:
    folder = Path(shutil.copytree(package, tmp_path / "measured"))
    stated = {name: faithfulness(value) for name, value in measured.items()}
    reseal(folder, faithfulness={name: one.model_dump() for name, one in stated.items()})
    with Pool(1) as pool, Predictor(open_package(folder), EngineLimits(), pool) as predictor:
        for method in (None, "attention"):
            options = Options.model_validate({"explain": {"method": method}})
            (result,) = predictor.answer(MIXED[:1], options).results
            assert result.explanation.method == (method or best)
            assert result.explanation.faithfulness == stated.get(method or best)


def test_of_packages_without_decomposition_the_first_method_explains(attentive: Predictor) -> None:
    assert attentive.choose(ExplainOptions()) == "attention"


def faithfulness(comprehensiveness: float) -> Faithfulness:
    return Faithfulness(
        rows=9,
        comprehensiveness=comprehensiveness,
        comprehensiveness_interval=(0.0, 1.0),
        sufficiency=0.0,
        sufficiency_interval=(-1.0, 1.0),
        random_comprehensiveness=0.0,
        random_sufficiency=0.0,
        cost=1.5,
    )


def test_the_name_is_that_of_the_manifest(predictor: Predictor) -> None:
    assert predictor.name.digest == predictor.package.manifest.digest
    assert (predictor.name.task, predictor.name.method, predictor.name.precision) == ("sentiment", "plain", "fp32")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_gives_no_answer(
    predictor: Predictor, number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: Future[EngineResult] = Future()
    computed.set_result(EngineResult([{"logits": np.array([0, number], dtype=np.float32)}], 0.0, 0.0))
    monkeypatch.setattr(Engine, "submit", lambda *_, **__: computed)
    with pytest.raises(BrokenModel, match="an output is not finite"):
        predictor.answer(MIXED[:1], Options())


class QueueLength(Unmetered):
    """A meter that knows how many rows wait."""

    rows = 0

    def queue(self, rows: int, tokens: int) -> None:
        del tokens
        self.rows = rows


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_an_answer_that_nobody_waits_for_is_not_computed(made: Callable[[str], Path], task: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(rows: Sequence[Row], _: Sequence[str]) -> list[Arrays]:
        entered.set()
        assert go_on.wait(30)
        return [{} for _ in rows]

    package, queue = open_package(made(task) / "package"), QueueLength()
    with (
        Pool(1, queue) as pool,
        Engine(hold_up, EngineLimits(), pool) as other,
        Predictor(package, EngineLimits(), pool) as predictor,
    ):
        items, options = [package.task.item(text="Ada met Bo.")], ROLLOUT
        other.submit(predictor.sample_rows()[:1], ("logits",))
        assert entered.wait(30)
        given_up, wanted = predictor.submit(items, options), predictor.submit(items, options)
        assert given_up.future.cancel()
        assert queue.rows == 1
        go_on.set()
        assert len(wanted.result().results) == 1


def test_an_explanation_that_nobody_waits_for_is_not_computed(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers at tokens are explained by a second run."""
    asked: list[tuple[str, ...]] = []
    handed_in: Future[PendingAnswers] = Future()
    submit = Engine.submit

    def cancel_before_the_second(engine: Engine, rows: Sequence[Row], outputs: tuple[str, ...], **options: Any) -> Any:
        asked.append(outputs)
        future = submit(engine, rows, outputs, **options)
        if len(asked) == 2:
            handed_in.result(30).future.cancel()
        return future

    monkeypatch.setattr(Engine, "submit", cancel_before_the_second)
    with Pool(1) as pool, Predictor(open_package(made("ner") / "package"), EngineLimits(), pool) as predictor:
        pending = predictor.submit([predictor.task.item(text="Ada met Bo.")], ROLLOUT)
        handed_in.set_result(pending)
        with pytest.raises(CancelledError):
            pending.result()
    assert asked == [("logits",), ("rollout",)]
