"""CheckList's suite: what passes, what fails, and what does not count."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.files.parts import DataError
from models.measuring.checklist import _CHECKS, LABELS, Case, Opinion, failure_rates, form_opinion, read_cases
from models.tasks.classification import LabelAnswer
from models.tasks.task import LabelScore


def _opinion(positive: float) -> Opinion:
    scores = (LabelScore(label="positive", score=positive), LabelScore(label="negative", score=1 - positive))
    best = max(scores, key=lambda score: score.score)
    return form_opinion(LabelAnswer(label=best.label, score=best.score, scores=scores))


def _judge(kind: str, positives: Sequence[float], expected: str | None = None, test: str = "any") -> bool | None:
    number = None if expected is None else LABELS.index(expected)
    case = Case(test=test, type=kind, inputs=("text",) * len(positives), expected=number)
    return _CHECKS[kind](case, [_opinion(positive) for positive in positives])


@pytest.mark.parametrize(
    ("positive", "label"), [(0.0, "negative"), (0.3, "negative"), (0.4, "neutral"), (0.6, "neutral"), (0.7, "positive")]
)
def test_a_model_of_two_labels_is_neutral_where_it_is_unsure(positive: float, label: str) -> None:
    assert _opinion(positive).label == label


def test_a_model_that_has_neutral_says_so_itself() -> None:
    scores = tuple(LabelScore(label=label, score=score) for label, score in zip(LABELS, (0.2, 0.3, 0.5), strict=True))
    assert form_opinion(LabelAnswer(label="positive", score=0.5, scores=scores)).label == "positive"


@pytest.mark.parametrize(
    ("expected", "positive", "passed"),
    [
        ("positive", 0.9, True), ("positive", 0.5, False), ("neutral", 0.5, True), ("neutral", 0.9, False),
        ("negative", 0.1, True), (None, 0.9, True), (None, 0.5, True), (None, 0.1, False),
    ],
)  # fmt: skip
def test_mft_asks_for_the_label_or_anything_but_negative(expected: str | None, positive: float, passed: bool) -> None:
    assert _judge("MFT", [positive], expected) is passed


def test_denied_praise_need_not_be_neutral() -> None:
    assert _judge("MFT", [0.9], "neutral", "Q & A: no") is True
    assert _judge("MFT", [0.1], "neutral", "Q & A: no") is False


def test_inv_lets_a_label_change_that_hardly_moves() -> None:
    assert _judge("INV", [0.9, 0.8, 0.99]) is True
    assert _judge("INV", [0.7, 0.65]) is True
    assert _judge("INV", [0.7, 0.8, 0.5]) is False


@pytest.mark.parametrize(
    ("test", "positives", "passed"),
    [
        ("intensifiers", [0.8, 0.75], True),
        ("intensifiers", [0.8, 0.6], False),
        ("intensifiers", [0.2, 0.1], True),
        ("intensifiers", [0.2, 0.4], False),
        ("intensifiers", [0.5, 0.9], None),
        ("reducers", [0.8, 0.95], False),
        ("reducers", [0.8, 0.2], True),
        ("add positive phrases", [0.5, 0.3], False),
        ("add positive phrases", [0.2, 0.9], True),
        ("add negative phrases", [0.5, 0.55, 0.7], False),
    ],
)
def test_dir_watches_the_way_a_probability_moves(test: str, positives: list[float], passed: bool | None) -> None:
    assert _judge("DIR", positives, test=test) is passed


def test_rates_are_shares_of_the_cases_that_apply() -> None:
    kinds = ("MFT", "MFT", "MFT", "DIR", "DIR")
    tests = ("a", "a", "b", "reducers", "reducers")
    cases = [Case(test=test, type=kind, inputs=("x",), expected=None) for test, kind in zip(tests, kinds, strict=True)]
    rates = failure_rates(cases, [True, False, False, None, True])
    assert rates == {
        "MFT": {"failure_rate": 2 / 3, "rows": 3, "failure_rate/a": 0.5, "failure_rate/b": 1.0},
        "DIR": {"failure_rate": 0.0, "rows": 1, "failure_rate/reducers": 0.0},
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"test": "new", "type": "DIR", "inputs": ["a"], "expected": None}, "what DIR 'new' expects is not known"),
        ({"test": "new", "type": "ABC", "inputs": ["a"], "expected": None}, "what ABC 'new' expects is not known"),
        ({"test": "new", "type": "MFT", "inputs": [], "expected": 1}, "is no case of a suite"),
    ],
)  # fmt: skip
def test_a_suite_that_is_not_understood_is_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    (tmp_path / "suite.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=f"suite: record 1.*{message}"):
        read_cases(str(tmp_path), "suite")
