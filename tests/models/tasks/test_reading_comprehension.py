"""Multiple choice: what an item may be, how choices are compared, and what data files may say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.tasks.reading_comprehension import READING_COMPREHENSION, ReadingAnswer, ReadingItem
from models.tasks.task import Prediction, read_item
from models.text import BadInput, Encoded, Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=19))
"""Three special tokens leave room for 16 of text."""

TASK = READING_COMPREHENSION


def item(context: int, *choices: str) -> ReadingItem:
    """A context of so many tokens, a question of one, and choices."""
    return ReadingItem(context="good " * context, question="was", choices=choices)


def decode(logits: list[float], encoded: Encoded) -> Prediction[ReadingAnswer]:
    return TASK.decode([np.array([logit], dtype=np.float32) for logit in logits], encoded, TASK.outputs)


def test_every_choice_has_its_rows_with_the_context_and_the_question() -> None:
    encoded = TASK.encode(item(14, "bad", "the plot was dull"), READER, "window")
    assert [(row.group, row.fields) for row in encoded.rows] == [
        (0, ("context", "question", "choices/0")),
        (1, ("context", "question", "choices/1")),
        (1, ("context", "question", "choices/1")),
    ]


@pytest.mark.parametrize("count", [2, 3, 20])
def test_choices_share_one_softmax(count: int) -> None:
    choices = [f"the {number}" for number in range(count)]
    logits = [float(np.sin(number)) * 3 for number in range(count)]
    prediction = decode(logits, TASK.encode(item(2, *choices), READER, "window"))
    exponentials = np.exp(np.array(logits, dtype=np.float32).astype(np.float64))
    expected = dict(enumerate((exponentials / exponentials.sum()).tolist()))
    assert {score.choice: score.score for score in prediction.answer.scores} == pytest.approx(expected, abs=1e-15)
    assert [score.label for score in prediction.answer.scores] == [
        choices[score.choice] for score in prediction.answer.scores
    ]


def test_the_answer_is_the_most_probable_choice_as_it_was_given() -> None:
    answer = decode([0.0, 2.0, 1.0], TASK.encode(item(2, "Bad", " It is FINE!", "dull"), READER, "window")).answer
    assert (answer.answer, answer.choice, answer.score) == (" It is FINE!", 1, answer.scores[0].score)


def test_the_window_that_speaks_most_for_a_choice_speaks_for_it() -> None:
    encoded = TASK.encode(item(30, "bad", "dull"), READER, "window")
    assert [row.group for row in encoded.rows] == [0, 0, 0, 1, 1, 1]
    prediction = decode([0.0, 1.0, -9.0, 0.5, 0.0, 3.0], encoded)
    assert prediction.answer.scores[0].score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-15)
    assert (prediction.answer.choice, prediction.parts[0].rows) == (1, (5,))


def test_a_tie_goes_to_the_first_choice_and_its_first_window() -> None:
    prediction = decode([2.0] * 6, TASK.encode(item(30, "bad", "dull"), READER, "window"))
    assert (prediction.answer.choice, prediction.answer.score, prediction.parts[0].rows) == (0, 0.5, (0,))


def test_equal_choices_are_answered_by_their_place() -> None:
    prediction = decode([0.0, 1.0], TASK.encode(item(2, "bad", "bad"), READER, "window"))
    assert (prediction.answer.answer, prediction.outcome) == ("bad", 1)


@given(logits=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=2, max_size=20))
def test_probabilities_are_finite_ordered_and_add_up_to_one(logits: list[float]) -> None:
    answer = decode(logits, TASK.encode(item(1, *["bad"] * len(logits)), READER, "window")).answer
    scores = [score.score for score in answer.scores]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-12)
    assert sorted(score.choice for score in answer.scores) == list(range(len(logits)))


@pytest.mark.parametrize("count", [0, 1, 21])
def test_fewer_than_2_or_more_than_20_choices_are_no_item(count: int) -> None:
    with pytest.raises(ValidationError):
        item(1, *["bad"] * count)


@pytest.mark.parametrize(
    "wrong",
    [
        "a",
        {"context": "a", "choices": ["b", "c"]},
        {"context": "a", "question": "b", "choices": "c"},
        {"context": "a", "question": "b", "choices": ["c", 5]},
    ],
)
def test_anything_else_is_none(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        ReadingItem.model_validate(wrong)


def test_without_choices_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(BadInput, match="this model chooses an answer, from 2 to 20 choices") as caught:
        TASK.encode(ReadingItem(context="good", question="was"), READER, "window")
    assert caught.value.field == "choices"


@pytest.mark.parametrize("choices", ['["bad", "a, b"]', ["bad", "a, b"]])
def test_choices_are_read_as_a_list_or_as_one_written_in_json(choices: Any) -> None:
    read = read_item(ReadingItem, {"context": "[1]", "question": "was", "choices": choices})
    assert (read.context, read.choices) == ("[1]", ("bad", "a, b"))


@pytest.mark.parametrize("choices", ["bad, dull", "[1, 2]", "{}", '"bad"', None, '["bad"]'])
def test_choices_written_otherwise_are_refused(choices: Any) -> None:
    with pytest.raises((ValidationError, BadInput)):
        TASK.encode(read_item(ReadingItem, {"context": "a", "question": "b", "choices": choices}), READER, "window")


@pytest.mark.parametrize(("value", "number"), [(0, 0), (2, 2), ("1", 1)])
def test_a_right_answer_is_a_place_counted_from_0(value: Any, number: int) -> None:
    encoded = TASK.encode(item(30, "bad", "dull", "poor"), READER, "window")
    assert TASK.read_target(value, encoded, TASK.outputs) == number


@pytest.mark.parametrize("value", [3, -1, "3", "A", "bad", None, True, 1.0, "-1"])
def test_any_other_answer_says_how_many_places_there_are(value: Any) -> None:
    encoded = TASK.encode(item(30, "bad", "dull", "poor"), READER, "window")
    with pytest.raises(ValueError, match="is no place among 3 choices, which are counted from 0"):
        TASK.read_target(value, encoded, TASK.outputs)


def test_accuracy_is_the_share_of_right_choices() -> None:
    assert TASK.measure([0, 1, 2, 0], [0, 2, 2, 1], TASK.outputs) == {"accuracy": 0.5}
