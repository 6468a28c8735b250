"""Faithfulness measured over the real engine: against closed forms with the tiny package, and for every task."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from export.package import MANIFEST_FILE, Faithfulness, file_digest, open_package
from models.measuring.faithfulness import PERCENTS, measure_drops
from models.tasks import TASKS
from models.tasks.task import Item, TextItem
from service.answers.contract import Options
from service.answers.explanation import ExplanationMethod
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.measuring.explained import RANDOM
from service.measuring.faithfulness import (
    TOKENIZER_CONFIG_FILE,
    MeasuredExplanations,
    NothingToMeasure,
    find_mask_id,
    measure_explanations,
)
from tests.service.tiny import OPINIONS, VOCABULARY, reseal
from tests.tiny import make_items

METHODS = get_args(ExplanationMethod)
TEXTS = ("the film was great", "not a bad film and fine", "boring", "the film was awful and good and great")


def _quiet(name: str, done: int, total: int) -> None:
    del name, done, total


def _items(*texts: str) -> list[TextItem]:
    return [TextItem(text=text) for text in texts]


def _opinion(word: str) -> float:
    return OPINIONS.get(word, 1 / 64)


def _probability(words: Sequence[str], label_sign: int) -> float:
    """The tiny package's probability of a label: both logits are the sum of the opinions, one of them negated."""
    # [CLS] and [SEP] have an opinion too, because they are none of the words in OPINIONS.
    total = sum(map(_opinion, words)) + 2 / 64
    return 1 / (1 + math.exp(-2 * label_sign * total))


@pytest.fixture
def measured(predictor: Predictor) -> MeasuredExplanations:
    return measure_explanations(predictor, _items(*TEXTS), _quiet, others=("attention", RANDOM))


def test_the_measures_of_a_sum_over_words_have_a_closed_form(measured: MeasuredExplanations) -> None:
    expected = []
    for text in TEXTS:
        words = text.split()
        sign = 1 if sum(map(_opinion, words)) + 2 / 64 > 0 else -1

        def support(removed: frozenset[int], words: Sequence[str] = words, sign: int = sign) -> float:
            return _probability([word for place, word in enumerate(words) if place not in removed], sign)

        expected.append(measure_drops([abs(_opinion(word)) for word in words], support))
    found = measured.methods["attention"].deletion
    for place, percent in enumerate(PERCENTS):
        means = [
            np.mean([getattr(one, name)[place] for one in expected]) for name in ("comprehensiveness", "sufficiency")
        ]
        # The graph adds in float32, the sigmoid above in float64.
        assert found.by_percent[percent] == pytest.approx(means, abs=1e-6)
    assert found.rows == len(TEXTS)


def test_every_method_stands_beside_random_words(measured: MeasuredExplanations) -> None:
    assert list(measured.methods) == [*METHODS, RANDOM]
    assert list(measured.methods["attention"].deletion.less) == [RANDOM]
    assert list(measured.methods["rollout"].deletion.less) == ["attention", RANDOM]
    less = measured.methods["attention"].deletion.less[RANDOM].comprehensiveness
    means = [measured.methods[name].deletion.comprehensiveness.mean for name in ("attention", RANDOM)]
    assert less.mean == pytest.approx(means[0] - means[1])
    assert less.mean > 0


def test_only_methods_have_a_cost_and_stand_in_the_manifest(measured: MeasuredExplanations) -> None:
    assert measured.methods[RANDOM].cost is None
    stated = measured.for_manifest()
    assert list(stated) == list(METHODS)
    one = measured.methods["attention"]
    assert stated["attention"] == Faithfulness(
        rows=4,
        comprehensiveness=one.deletion.comprehensiveness.mean,
        comprehensiveness_interval=one.deletion.comprehensiveness.interval,
        sufficiency=one.deletion.sufficiency.mean,
        sufficiency_interval=one.deletion.sufficiency.interval,
        random_comprehensiveness=measured.methods[RANDOM].deletion.comprehensiveness.mean,
        random_sufficiency=measured.methods[RANDOM].deletion.sufficiency.mean,
        cost=one.cost or 0.0,
    )
    assert stated["attention"].cost > 0


def test_measuring_again_gives_the_same(predictor: Predictor, measured: MeasuredExplanations) -> None:
    again = measure_explanations(predictor, _items(*TEXTS), _quiet, others=("attention", RANDOM))
    assert {name: one.deletion for name, one in again.methods.items()} == {
        name: one.deletion for name, one in measured.methods.items()
    }


def test_items_that_cannot_be_read_are_left_out(predictor: Predictor) -> None:
    alone = measure_explanations(predictor, _items("the film was great"), _quiet)
    beside = measure_explanations(predictor, _items(" ", "the film was great", "\u200b"), _quiet)
    assert (alone.rows, beside.rows) == (1, 1)
    assert beside.methods["attention"].deletion == alone.methods["attention"].deletion


def test_without_any_explained_answer_nothing_is_measured(predictor: Predictor) -> None:
    with pytest.raises(NothingToMeasure, match="measure longer texts"):
        measure_explanations(predictor, _items(" "), _quiet)


@pytest.mark.parametrize(("most", "rows"), [(None, 4), (1, 1), (6, 1), (14, 2), (17, 3), (100, 4)])
def test_only_as_many_items_are_measured_as_the_tokens_allow(predictor: Predictor, most: int | None, rows: int) -> None:
    # The texts have 6, 8, 3 and 10 tokens, special ones included.
    assert measure_explanations(predictor, _items(*TEXTS), _quiet, most_tokens=most).rows == rows


def test_progress_counts_items(predictor: Predictor) -> None:
    seen: list[tuple[str, int, int]] = []
    measure_explanations(predictor, _items(*TEXTS * 5), lambda *told: seen.append(told))
    assert seen == [("explanations", done, 20) for done in (0, 16, 20)]


@pytest.fixture
def opened(made: Callable[[str], Path]) -> Iterator[Callable[[str], Predictor]]:
    """By task, a predictor with a package that was trained and exported."""
    with Pool(1) as pool:
        predictors: list[Predictor] = []

        def load(task: str) -> Predictor:
            predictors.append(Predictor(open_package(made(task) / "package"), EngineLimits(), pool))
            return predictors[-1]

        yield load
        for predictor in predictors:
            predictor.close()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_measured_by_both_ways_of_removing(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items: list[Item] = [TASKS[task].item.model_validate(one) for one in make_items(task, 12)]
    measured = measure_explanations(predictor, items, _quiet)
    assert list(measured.methods) == [*predictor.explanations, RANDOM]
    for one in measured.methods.values():
        assert one.mask is not None
        for report in (one.deletion, one.mask):
            for pair in report.by_percent.values():
                assert all(-1 <= value <= 1 for value in pair)
    by_mask = measured.methods["attention"].mask
    assert by_mask is not None
    assert by_mask.comprehensiveness != measured.methods["attention"].deletion.comprehensiveness


@pytest.mark.parametrize("named", ["bad", {"content": "bad", "lstrip": False}])
def test_the_mask_is_the_one_that_the_tokenizer_names(package: Path, tmp_path: Path, named: object) -> None:
    folder = Path(shutil.copytree(package, tmp_path / "masked"))
    assert find_mask_id(open_package(folder), open_package(folder).reader()) is None
    (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps({"mask_token": named}))
    files = json.loads((folder / MANIFEST_FILE).read_bytes())["files"]
    reseal(folder, files=files | {TOKENIZER_CONFIG_FILE: file_digest(folder / TOKENIZER_CONFIG_FILE)})
    masked = open_package(folder)
    assert find_mask_id(masked, masked.reader()) == VOCABULARY.index("bad")
    with Pool(1) as pool, Predictor(masked, EngineLimits(), pool) as predictor:
        one = measure_explanations(predictor, _items("the film was great"), _quiet).methods["attention"]
    assert one.mask is not None
    # Of four words the one that counts is masked, or the three others are.
    words = ["the", "film", "was", "great"]
    whole = _probability(words, 1)
    assert one.mask.by_percent[1] == pytest.approx(
        (whole - _probability(["the", "film", "was", "bad"], 1), whole - _probability(["bad"] * 3 + ["great"], 1)),
        abs=1e-6,
    )


def test_no_method_is_more_faithful_to_a_sum_over_words_than_leaving_each_out(measured: MeasuredExplanations) -> None:
    exact = measured.methods["occlusion"].deletion.by_percent
    for one in measured.methods.values():
        for percent, (comprehensiveness, sufficiency) in one.deletion.by_percent.items():
            assert exact[percent][0] >= comprehensiveness - 1e-6
            assert exact[percent][1] <= sufficiency + 1e-6


@pytest.mark.parametrize("is_low", [True, False])
def test_a_similarity_is_tested_for_its_own_half_of_the_range(is_low: bool, opened: Callable[[str], Predictor]) -> None:
    """Of single words, leaving each out finds the one whose loss moves the score most toward the other half."""
    predictor = opened("sts")
    items = [TASKS["sts"].item.model_validate(one) for one in make_items("sts", 40)]
    results = predictor.answer(items, Options()).results
    chosen = [item for item, one in zip(items, results, strict=True) if (one.normalized < 0.5) is is_low][:6]
    assert chosen
    measured = measure_explanations(predictor, chosen, _quiet)
    most = {name: one.deletion.by_percent[1][0] for name, one in measured.methods.items()}
    # int8 gives a row the same logits in any batch, and the score may be cut off at an end of its range.
    assert most["occlusion"] >= max(most.values()) - 1e-6
    assert most["occlusion"] > most[RANDOM]
