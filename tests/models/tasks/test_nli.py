"""NLI: what an item may be, which windows decide, and what labels mean."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.tasks.classification import LabelAnswer
from models.tasks.nli import NLI, NliItem
from models.tasks.task import Outputs, Prediction
from models.text import Encoded, Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=19))
"""Three special tokens leave room for 16 of text."""


def encode(premise: int, hypothesis: int) -> Encoded:
    """A pair of texts of so many tokens."""
    return NLI.encode(NliItem(premise="good " * premise, hypothesis="bad " * hypothesis), READER, "window")


def decode(logits: list[list[float]], encoded: Encoded, *labels: str) -> Prediction[LabelAnswer]:
    outputs = Outputs(labels) if labels else NLI.outputs
    return NLI.decode(list(np.array(logits, dtype=np.float32)), encoded, outputs)


def softmax(*logits: float) -> list[float]:
    total = sum(np.exp(logit) for logit in logits)
    return [float(np.exp(logit) / total) for logit in logits]


def scores(prediction: Prediction[LabelAnswer]) -> dict[str, float]:
    return {entry.label: entry.score for entry in prediction.answer.scores}


def test_the_premise_is_the_first_segment() -> None:
    (row,) = encode(2, 3).rows
    assert row.type_ids == [0] * 4 + [1] * 4
    assert row.fields == ("premise", "hypothesis")


def test_one_row_is_a_softmax() -> None:
    prediction = decode([[2.0, 1.0, 0.0]], encode(2, 2))
    expected = dict(zip(NLI.outputs.labels, softmax(2, 1, 0), strict=True))
    assert scores(prediction) == pytest.approx(expected, abs=1e-15)
    assert (prediction.answer.label, prediction.outcome) == ("entailment", 0)


def test_the_window_that_is_least_neutral_decides() -> None:
    encoded = encode(30, 4)
    logits = [[0.5, 3.0, 0.0], [0.0, 3.0, 1.0], [-1.0, 0.0, 2.0]]
    assert len(encoded.rows) == len(logits)
    prediction = decode(logits, encoded)
    expected = dict(zip(NLI.outputs.labels, softmax(-1, 0, 2), strict=True))
    assert scores(prediction) == pytest.approx(expected, abs=1e-15)
    assert prediction.parts[0].rows == (2,)


def test_of_equally_neutral_windows_the_first_decides() -> None:
    assert decode([[0.0, 3.0, 1.0]] * 3, encode(30, 4)).parts[0].rows == (0,)


def test_the_parts_of_a_long_hypothesis_are_averaged_by_the_length_of_the_rows_that_decide() -> None:
    encoded = encode(3, 30)  # 13 tokens of room for the hypothesis, of which neighbours share 3
    assert [(row.group, len(row)) for row in encoded.rows] == [(0, 19), (1, 19), (2, 16)]
    prediction = decode([[50.0, 0.0, 0.0], [0.0, 50.0, 0.0], [0.0, 0.0, 50.0]], encoded)
    assert scores(prediction) == pytest.approx({"entailment": 19 / 54, "neutral": 19 / 54, "contradiction": 16 / 54})
    assert prediction.parts[0].rows == (0, 1, 2)


def test_of_two_long_texts_a_window_of_the_premise_decides_for_each_window_of_the_hypothesis() -> None:
    encoded = encode(14, 14)
    assert [(row.group, len(row)) for row in encoded.rows] == [(0, 19), (0, 19), (1, 19), (1, 19)]
    neutral, entailed, contradicted = [0.0, 50.0, 0.0], [50.0, 0.0, 0.0], [0.0, 0.0, 50.0]
    prediction = decode([neutral, entailed, contradicted, neutral], encoded)
    assert scores(prediction) == pytest.approx({"entailment": 0.5, "contradiction": 0.5, "neutral": 0.0}, abs=1e-15)
    assert prediction.parts[0].rows == (1, 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_the_labels_changes_nothing(order: tuple[int, int, int]) -> None:
    logits = [[0.5, 3.0, 0.0], [0.0, 3.0, 1.0], [-1.0, 0.0, 2.0]]
    labels = [NLI.outputs.labels[place] for place in order]
    prediction = decode([[row[place] for place in order] for row in logits], encode(30, 4), *labels)
    assert scores(prediction) == pytest.approx(scores(decode(logits, encode(30, 4))), abs=1e-15)
    assert labels[prediction.outcome] == "contradiction"


@pytest.mark.parametrize("silent", ["not_entailment", "non-entailment"])
def test_of_two_labels_the_negative_one_is_what_silence_says(silent: str) -> None:
    prediction = decode([[3.0, 0.0], [0.0, 2.0], [9.0, 0.0]], encode(30, 4), silent, "entailment")
    assert (prediction.answer.label, prediction.parts[0].rows) == ("entailment", (1,))


@given(
    logits=st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=9, max_size=9),
    premise=st.integers(1, 20),
    hypothesis=st.integers(1, 20),
)
def test_probabilities_are_ordered_and_add_up_to_one(logits: list[list[float]], premise: int, hypothesis: int) -> None:
    encoded = encode(premise, hypothesis)
    found = [entry.score for entry in decode(logits[: len(encoded.rows)], encoded).answer.scores]
    assert found == sorted(found, reverse=True)
    assert sum(found) == pytest.approx(1, abs=1e-12)


def test_a_premise_and_a_hypothesis_are_an_item() -> None:
    assert NliItem.model_validate({"premise": "a", "hypothesis": "b", "id": "c"}).id == "c"


@pytest.mark.parametrize(
    "wrong",
    [
        "a",
        ["a", "b"],
        {"premise": "a"},
        {"hypothesis": "b"},
        {"premise": "a", "hypothesis": None},
        {"premise": "a", "hypothesis": "b", "label": 1},
    ],
)
def test_anything_else_is_none(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        NliItem.model_validate(wrong)


@pytest.mark.parametrize(("value", "number"), [(2, 2), ("2", 2), ("contradiction", 0), ("neutral", 2)])
def test_a_right_answer_is_read_by_the_models_own_labels(value: Any, number: int) -> None:
    outputs = Outputs(("contradiction", "entailment", "neutral"))
    assert NLI.read_target(value, encode(1, 1), outputs) == number


@pytest.mark.parametrize("value", [3, -1, "unknown", None, True, 0.5])
def test_any_other_answer_lists_the_models_own_labels(value: Any) -> None:
    with pytest.raises(ValueError, match="is none of: 0 or 'entailment', 1 or 'not_entailment'"):
        NLI.read_target(value, encode(1, 1), Outputs(("entailment", "not_entailment")))


def test_accuracy_and_f1_agree_with_counting() -> None:
    metrics = NLI.measure([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], NLI.outputs)
    # By label: found right, found, there are: 1 of 2 of 2; 2 of 3 of 2; 1 of 1 of 2.
    assert metrics == pytest.approx({"accuracy": 4 / 6, "f1": (2 / 4 + 4 / 5 + 2 / 3) / 3})
