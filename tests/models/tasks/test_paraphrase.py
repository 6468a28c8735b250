"""Paraphrase: what an item may be, what logits mean, and what is measured."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.tasks.classification import LabelAnswer
from models.tasks.pairs import PairItem
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.task import Outputs, Prediction
from models.text import Encoded, Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=19))
"""Three special tokens leave room for 16 of text."""


def encode(first: int, second: int) -> Encoded:
    """A pair of texts of so many tokens."""
    return PARAPHRASE.encode(PairItem(text_a="good " * first, text_b="bad " * second), READER, "window")


def decode(logits: list[list[float]], encoded: Encoded) -> Prediction[LabelAnswer]:
    return PARAPHRASE.decode(list(np.array(logits, dtype=np.float32)), encoded, PARAPHRASE.outputs)


def test_the_first_text_is_the_first_segment() -> None:
    (row,) = encode(2, 3).rows
    assert (row.type_ids, row.fields) == ([0] * 4 + [1] * 4, ("text_a", "text_b"))


def test_one_row_is_a_softmax() -> None:
    answer = decode([[1.0, 3.0]], encode(2, 2)).answer
    assert answer.label == "paraphrase"
    assert answer.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-15)


def test_all_windows_of_both_texts_count_by_their_length() -> None:
    encoded = encode(30, 3)  # 13 tokens of room for the first text, of which neighbours share 3
    assert [len(row) for row in encoded.rows] == [19, 19, 16]
    prediction = decode([[0.0, 50.0], [50.0, 0.0], [0.0, 50.0]], encoded)
    assert prediction.answer.score == pytest.approx(35 / 54, abs=1e-15)
    assert (prediction.outcome, prediction.parts[0].rows) == (1, (0, 1, 2))


def test_two_texts_are_an_item() -> None:
    assert PairItem.model_validate({"text_a": "a", "text_b": "b"}).text_b == "b"


@pytest.mark.parametrize(
    "wrong", ["a", ["a", "b"], {"text_a": "a"}, {"text_a": "a", "text_b": 5}, {"text_a": "a", "text_b": "b", "more": 1}]
)
def test_anything_else_is_none(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        PairItem.model_validate(wrong)


@pytest.mark.parametrize(("value", "number"), [(0, 0), ("1", 1), ("different", 0), ("paraphrase", 1)])
def test_a_right_answer_is_given_by_number_or_name(value: Any, number: int) -> None:
    assert PARAPHRASE.read_target(value, encode(1, 1), PARAPHRASE.outputs) == number


def test_f1_is_that_of_the_paraphrases_alone() -> None:
    metrics = PARAPHRASE.measure([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], PARAPHRASE.outputs)
    # Two of three found, and one that is none.
    assert metrics == pytest.approx({"accuracy": 4 / 6, "f1": 4 / 6})


def test_f1_is_that_of_the_last_label_whatever_it_is_called() -> None:
    outputs = Outputs(("same", "other", "unsure"))
    assert PARAPHRASE.measure([2, 2, 0, 1], [2, 0, 0, 1], outputs) == pytest.approx({"accuracy": 3 / 4, "f1": 2 / 3})


def test_without_any_paraphrase_f1_is_zero() -> None:
    assert PARAPHRASE.measure([0, 0], [0, 0], PARAPHRASE.outputs) == {"accuracy": 1.0, "f1": 0.0}
