"""The labels that data files hold, under whatever name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tasks.classification import name_label
from models.tasks.labels.matching import plain_name
from models.tasks.nli import NLI
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import AnyTask, Outputs
from models.tasks.text_classification import TEXT_CLASSIFICATION
from models.text import Encoded

NOTHING = Encoded(rows=(), texts={}, truncated=False, windows=0)


@pytest.mark.parametrize(
    ("task", "value", "number"),
    [
        (SENTIMENT, "1", 1), (SENTIMENT, "1.0", 1), (SENTIMENT, " 0 ", 0), (SENTIMENT, 1.0, 1), (SENTIMENT, True, 1),
        (SENTIMENT, False, 0), (SENTIMENT, "POSITIVE", 1), (SENTIMENT, "Neg", 0), (SENTIMENT, "true", 1),
        (NLI, "Entailment", 0), (NLI, "2.0", 2), (NLI, "CONTRADICTORY", 2),
        (PARAPHRASE, "duplicate", 1), (PARAPHRASE, False, 0), (PARAPHRASE, "not_equivalent", 0),
    ],
)  # fmt: skip
def test_a_label_is_read_under_the_names_and_numbers_that_data_give_it(task: AnyTask, value: Any, number: int) -> None:
    assert task.read_target(value, NOTHING, task.outputs) == number


@pytest.mark.parametrize("value", ["-", "2", "1.5", 1.5, -1, None, "", "maybe", float("nan"), float("inf"), ["1"], "١"])
def test_another_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is none of: 0 or 'negative', 1 or 'positive'"):
        SENTIMENT.read_target(value, NOTHING, SENTIMENT.outputs)


@pytest.mark.parametrize("value", [True, "true", False])
def test_a_truth_value_means_nothing_for_inference(value: Any) -> None:
    with pytest.raises(ValueError, match="is none of"):
        NLI.read_target(value, NOTHING, NLI.outputs)


def test_a_models_own_label_goes_before_other_names() -> None:
    outputs = Outputs(("positive", "true", "Pos", "pos"))
    assert [SENTIMENT.read_target(value, NOTHING, outputs) for value in ("true", "Pos", "pos", "TRUE")] == [1, 2, 3, 1]
    with pytest.raises(ValueError, match="is none of"):
        SENTIMENT.read_target("POS", NOTHING, outputs)


def test_a_label_that_is_a_number_is_itself_and_not_a_place() -> None:
    stars = Outputs(("1", "2", "3", "4", "5"))
    assert [SENTIMENT.read_target(value, NOTHING, stars) for value in ("1", 1, 5, "5.0", 3.0)] == [0, 0, 4, 4, 2]
    assert SENTIMENT.read_target("1", NOTHING, Outputs(("1", "0"))) == 0


@pytest.mark.parametrize(
    ("value", "labels"),
    [(0, ("1", "2", "3")), ("0", ("1", "2", "3")), (2.0, ("10", "20", "30")), (2, ("-1", "0", "1")), (0, ("9", "b"))],
)
def test_a_number_that_is_none_of_such_labels_is_no_place_either(value: Any, labels: tuple[str, ...]) -> None:
    known = ", ".join(map(repr, labels))
    with pytest.raises(ValueError, match=f"is none of: {known}$"):
        TEXT_CLASSIFICATION.read_target(value, NOTHING, Outputs(labels))


@given(
    value=st.one_of(
        st.text(), st.integers(), st.booleans(), st.floats(), st.integers(-9, 999).map(float), st.just("1.0"), st.none()
    ),
    others=st.sets(st.text(min_size=1)),
)
def test_a_name_that_data_give_a_label_is_read_as_that_label(value: Any, others: set[str]) -> None:
    name = name_label(value)
    if name is None:
        with pytest.raises(ValueError, match="is none of"):
            TEXT_CLASSIFICATION.read_target(value, NOTHING, Outputs(("some", "others")))
        return
    known = {plain_name(name)}
    labels = (name, *(label for label in sorted(others) if name_label(label) and plain_name(label) not in known))
    assert TEXT_CLASSIFICATION.read_target(value, NOTHING, Outputs(labels)) == 0


def test_of_many_labels_a_message_lists_the_first() -> None:
    outputs = Outputs(tuple(f"intent {number}" for number in range(150)))
    with pytest.raises(ValueError, match=r"none of: 0 or 'intent 0', .*, 19 or 'intent 19' and 130 more$"):
        TEXT_CLASSIFICATION.read_target("x", NOTHING, outputs)


@pytest.mark.parametrize("task", [SENTIMENT, NLI, PARAPHRASE])
def test_other_names_lead_to_one_label_of_a_task(task: AnyTask) -> None:
    names = [plain_name(name) for label, others in task.known_as.items() for name in (label, *others)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("task", [SENTIMENT, NLI, PARAPHRASE])
def test_data_may_name_a_label_as_models_do(task: AnyTask) -> None:
    outputs = Outputs(tuple(task.known_as))
    for number, (label, others) in enumerate(task.known_as.items()):
        for name in (label, *others):
            for written in (name, name.upper(), name.replace(" ", "_"), f" {name.replace(' ', '-')} "):
                assert task.read_target(written, NOTHING, outputs) == number
