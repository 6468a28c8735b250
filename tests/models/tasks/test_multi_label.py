"""Any number of labels for a text: how they are read, decoded, compared and measured."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from models.tasks.task import LabelScore, Logits, Outputs, Prediction, sigmoid
from models.tasks.text_classification import MULTI_LABEL_CLASSIFICATION as TASK
from models.tasks.text_classification import LabelsAnswer, name_labels, read_labels, split_labels
from models.text import Encoded, Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))
NOTHING = Encoded(rows=(), texts={}, truncated=False, windows=0)
LABELS = ("blame", "praise", "question")
OUTPUTS = Outputs(LABELS)
FINITE = st.floats(-200, 200, width=32)
ROWS = st.lists(st.lists(FINITE, min_size=3, max_size=3), min_size=1, max_size=4)


def decode(rows: Sequence[Sequence[float]], outputs: Outputs = OUTPUTS) -> Prediction[LabelsAnswer]:
    return TASK.decode([np.array(row, dtype=np.float32) for row in rows], NOTHING, outputs)


def answer(*scores: float) -> LabelsAnswer:
    """The answer with these probabilities, in the order of the labels."""
    ranked = sorted(zip(scores, LABELS, strict=True), key=lambda pair: -pair[0])
    given = tuple(label for score, label in ranked if score >= 0.5)
    return LabelsAnswer(labels=given, scores=tuple(LabelScore(label=label, score=score) for score, label in ranked))


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=9))
def test_a_labels_probability_is_torchs_sigmoid(logits: list[float]) -> None:
    expected = torch.tensor(logits, dtype=torch.float64).sigmoid().numpy()
    np.testing.assert_allclose(sigmoid(np.array(logits, dtype=np.float32)), expected, rtol=1e-12, atol=1e-300)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.floats(0, 1))
def test_each_label_is_judged_alone_in_its_best_window(rows: list[list[float]], threshold: float) -> None:
    prediction = decode(rows, Outputs(LABELS, label_threshold=threshold))
    best = torch.tensor(rows, dtype=torch.float64).sigmoid().amax(0).tolist()
    scores = {one.label: one.score for one in prediction.answer.scores}
    assert scores == pytest.approx(dict(zip(LABELS, best, strict=True)), abs=1e-12)
    ranked = [one.score for one in prediction.answer.scores]
    assert ranked == sorted(ranked, reverse=True)
    assert set(prediction.answer.labels) == {label for label in LABELS if scores[label] >= threshold}
    assert prediction.answer.labels == tuple(one.label for one in prediction.answer.scores)[: len(prediction.parts)]
    assert prediction.outcome == tuple(float(label in prediction.answer.labels) for label in LABELS)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_a_label_is_explained_by_its_own_logit_where_that_is_highest(rows: list[list[float]]) -> None:
    prediction = decode(rows, Outputs(LABELS, label_threshold=0.0))
    assert [part.name for part in prediction.parts] == list(prediction.answer.labels)
    for part in prediction.parts:
        number = LABELS.index(part.name)
        (row,) = part.rows
        assert dict(part.target) == {(number,): 1.0}
        assert rows[row][number] == max(window[number] for window in rows)


def test_any_label_can_be_asked_for_where_none_was_given() -> None:
    logits: list[Logits] = [np.array([-3.0, -1.0, -2.0], np.float32), np.array([-4.0, -5.0, -1.0], np.float32)]
    prediction = TASK.decode(logits, NOTHING, OUTPUTS)
    assert TASK.targets is not None
    assert (prediction.answer.labels, prediction.parts, prediction.answer.headlines()) == ((), (), ("no labels",))
    place = TASK.targets.find("question", NOTHING, OUTPUTS)
    (part,) = TASK.targets.aim(place, prediction.parts, logits, NOTHING, OUTPUTS)
    assert (part.name, part.rows, dict(part.target)) == ("question", (1,), {(2,): 1.0})


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["praise", "blame"], ("blame", "praise")), ([], ()), ("", ()), (" ", ()), ("[]", ()), ("praise", ("praise",)),
        ("praise|blame", ("blame", "praise")), ("praise; question", ("praise", "question")),
        ("question, Blame", ("blame", "question")), ('["blame", "question"]', ("blame", "question")),
        ([2, 0], ("blame", "question")), ("0,2", ("blame", "question")), (1, ("praise",)), (["1.0"], ("praise",)),
        (("blame",), ("blame",)),
    ],
)  # fmt: skip
def test_labels_are_read_in_every_form_that_data_give_them(value: Any, labels: tuple[str, ...]) -> None:
    assert TASK.read_target(value, NOTHING, OUTPUTS) == tuple(float(label in labels) for label in LABELS)


@pytest.mark.parametrize("value", [None, {"a": 1}, True])
def test_a_value_that_is_no_list_of_labels_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a list of labels, empty where a text has none"):
        TASK.read_target(value, NOTHING, OUTPUTS)


@pytest.mark.parametrize("value", [["praise", "joy"], "praise|joy", [3], [None], [["praise"]], "joy"])
def test_a_list_with_another_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is none of: 0 or 'blame', 1 or 'praise', 2 or 'question'"):
        TASK.read_target(value, NOTHING, OUTPUTS)


def test_a_label_with_a_mark_in_its_name_is_itself() -> None:
    outputs = Outputs(("arts, music", "sport"))
    assert TASK.read_target("arts, music", NOTHING, outputs) == (1.0, 0.0)
    assert TASK.read_target("arts, music|sport", NOTHING, outputs) == (1.0, 1.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b c", "d-e", "7"]), unique=True))
def test_a_list_and_its_text_hold_the_same_labels(labels: list[str]) -> None:
    for text in ("|".join(labels), "; ".join(labels), ",".join(labels), json.dumps(labels)):
        assert split_labels(text) == labels
        assert list(TASK.name_labels(text)) == labels


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.tuples(st.integers(0, 1), st.integers(0, 1))] * 3), min_size=1, max_size=20))
def test_metrics_are_those_that_counting_gives(pairs: list[tuple[tuple[int, int], ...]]) -> None:
    right = [tuple(float(one[0]) for one in pair) for pair in pairs]
    found = [tuple(float(one[1]) for one in pair) for pair in pairs]
    measured = TASK.measure(right, found, OUTPUTS)
    hits = [sum(pair[label] == (1, 1) for pair in pairs) for label in range(3)]
    misses = [sum(pair[label][0] != pair[label][1] for pair in pairs) for label in range(3)]
    of_label = [2 * hit / (2 * hit + miss) if hit + miss else 0.0 for hit, miss in zip(hits, misses, strict=True)]
    total = 2 * sum(hits) + sum(misses)
    assert measured["micro_f1"] == pytest.approx(2 * sum(hits) / total if total else 0.0)
    assert measured["macro_f1"] == pytest.approx(sum(of_label) / 3)
    assert measured["exact_match"] == pytest.approx(sum(a == b for a, b in zip(right, found, strict=True)) / len(pairs))
    library = precision_recall_fscore_support(np.array(right), np.array(found), average=None, zero_division=0)[2]
    assert of_label == pytest.approx(list(library))


def test_an_answer_is_right_with_exactly_the_right_labels() -> None:
    goal = TASK.goal((1.0, 0.0, 1.0), NOTHING, OUTPUTS)
    assert goal is not None
    found = [goal.judge(given, given, lambda _, span: span) for given in (answer(0.9, 0.2, 0.6), answer(0.9, 0.5, 0.6))]
    assert [one.is_right for one in found] == [True, False]
    assert [one.support for one in found] == pytest.approx([0.9 * 0.8 * 0.6, 0.9 * 0.5 * 0.6])


def test_an_answer_is_another_by_its_labels_and_not_by_their_order() -> None:
    assert not TASK.changed(answer(0.9, 0.8, 0.1), answer(0.8, 0.9, 0.4))
    assert TASK.changed(answer(0.9, 0.8, 0.1), answer(0.9, 0.4, 0.1))
    assert TASK.changed(answer(0.1, 0.1, 0.1), answer(0.1, 0.5, 0.1))


@pytest.mark.parametrize(("least", "is_sure"), [(0.5, True), (0.6, True), (0.61, False), (0.9, False)])
def test_an_answer_is_as_sure_as_its_least_sure_label_given_or_not(least: float, is_sure: bool) -> None:
    assert answer(0.9, 0.7, 0.4).is_sure(least) == is_sure
    assert answer(0.1, 0.25, 0.4).is_sure(least) == is_sure


def test_each_label_is_claimed_with_its_probability() -> None:
    logits: list[Logits] = [np.array([2.0, -1.0, 0.5], np.float32), np.array([-2.0, -3.0, 1.5], np.float32)]
    prediction = TASK.decode(logits, NOTHING, OUTPUTS)
    supports = [claim.support(logits, NOTHING) for claim in TASK.claims(prediction, NOTHING, OUTPUTS)]
    assert supports == pytest.approx([one.score for one in prediction.answer.scores[:2]], abs=1e-12)


def test_a_long_text_is_read_in_windows_and_has_the_labels_of_each() -> None:
    encoded = TASK.encode(TASK.item(text="good " * 40), READER, "window")
    assert len(encoded.rows) > 1
    logits = [np.full(3, -9, np.float32) for _ in encoded.rows]
    logits[1][2] = 4.0
    assert TASK.decode(logits, encoded, OUTPUTS).answer.labels == ("question",)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("['late', 'broken']", ["late", "broken"]),
        ("{'late'}", ["late"]),
        ('{"choices": ["late", "broken"]}', ["late", "broken"]),
        ({"choices": ["late"]}, ["late"]),
        ("[late, broken]", None),
        ("{late", None),
        ({"other": ["late"]}, None),
    ],
)
def test_lists_of_other_writers_are_read_and_what_looks_like_one_is_no_label(
    value: Any, labels: list[str] | None
) -> None:
    assert split_labels(value) == labels


@pytest.mark.parametrize("value", [[0, 1, 0], [1.0, 0.0, 0.0], "[0, 0, 0]", ["late", "late"], "late|late"])
def test_a_list_that_names_a_label_twice_is_refused_and_gives_no_names(value: Any) -> None:
    outputs = Outputs(("late", "broken", "rude"))
    with pytest.raises(
        ValueError, match="one is there twice; where a list has a 0 or 1 for each label, give the names"
    ):
        read_labels(value, NOTHING, outputs)
    assert name_labels(value) == ()
