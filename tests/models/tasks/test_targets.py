"""The sums of logits that speak for answers, and the answers that can be explained in place of the one given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tasks import TASKS
from models.tasks.task import AnyTask, Logits, Prediction, Targets, contrast
from models.text import Encoded, Reader, ReadingLimits
from tests.tiny import make_items, make_tokenizer, outputs_of

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=24))
AIMED = [name for name, task in TASKS.items() if task.targets is not None]
SEEDS = st.integers(0, 2**32 - 1)


def encode(task: AnyTask, number: int) -> Encoded:
    item = make_items(task.name, 20)[number]
    longest = next(iter(task.columns))
    # Of several windows.
    encoded: Encoded = task.encode(
        task.item.model_validate(item | {longest: f"{item[longest]} " * (1 + number % 4)}), READER, "window"
    )
    return encoded


def draw_logits(task: AnyTask, encoded: Encoded, seed: int) -> list[Logits]:
    draw = np.random.default_rng(seed)
    single = 1 if task.head == "multiple-choice" else len(outputs_of(task).labels)
    at_tokens = task.head in ("token-classification", "question-answering")
    return [draw.normal(size=(len(row), single) if at_tokens else single).astype(np.float32) for row in encoded.rows]


def decode(task: AnyTask, number: int, seed: int) -> tuple[Encoded, list[Logits], Prediction[Any]]:
    encoded = encode(task, number)
    logits = draw_logits(task, encoded, seed)
    return encoded, logits, task.decode(logits, encoded, outputs_of(task))


def targets_of(task: AnyTask) -> Targets:
    assert task.targets is not None
    return task.targets


@given(logits=st.lists(st.floats(-20, 20), min_size=2, max_size=13), label=st.integers(0, 12))
def test_a_label_speaks_against_the_mean_of_the_others(logits: list[float], label: int) -> None:
    label %= len(logits)
    others = logits[:label] + logits[label + 1 :]
    y = sum(weight * logits[place] for (place,), weight in contrast(label, len(logits)).items())
    assert y == pytest.approx(logits[label] - sum(others) / len(others), abs=1e-9)


def test_a_single_logit_speaks_for_itself() -> None:
    assert contrast(0, 1) == {(0,): 1.0}
    assert contrast(1, 2, 7) == {(7, 0): -1.0, (7, 1): 1.0}


@settings(deadline=None, max_examples=60)
@given(task=st.sampled_from(sorted(TASKS)), number=st.integers(0, 19), seed=SEEDS)
def test_every_target_lies_within_the_logits_of_its_rows(task: str, number: int, seed: int) -> None:
    _, logits, prediction = decode(TASKS[task], number, seed)
    for part in prediction.parts:
        assert part.target
        for row in part.rows:
            assert all(logits[row][place].ndim == 0 for place in part.target)


@settings(deadline=None, max_examples=60)
@given(task=st.sampled_from(AIMED), number=st.integers(0, 19), seed=SEEDS)
def test_to_ask_for_the_answer_itself_changes_nothing(task: str, number: int, seed: int) -> None:
    encoded, logits, prediction = decode(TASKS[task], number, seed)
    targets = targets_of(TASKS[task])
    for part in prediction.parts:
        answer = prediction.outcome if task == "reading-comprehension" else part.name
        place = targets.find(answer, encoded, outputs_of(TASKS[task]))
        assert part in targets.aim(place, [part], logits, encoded, outputs_of(TASKS[task]))


@settings(deadline=None, max_examples=30)
@given(number=st.integers(0, 19), seed=SEEDS)
def test_the_ends_of_a_span_speak_for_it(number: int, seed: int) -> None:
    task = TASKS["extractive-reading-comprehension"]
    encoded, logits, prediction = decode(task, number, seed)
    (part,) = prediction.parts
    for row in part.rows:
        y = sum(float(logits[row][place]) * weight for place, weight in part.target.items())
        if prediction.answer.answer is None:
            assert y == pytest.approx(float(logits[row][0].sum()), abs=1e-6)
            continue
        spans = dict(encoded.rows[row].spans("context"))
        (first, _), (last, _) = part.target
        assert spans[first].start == prediction.answer.start
        assert spans[last].end == prediction.answer.end


@settings(deadline=None, max_examples=30)
@given(number=st.integers(0, 19), seed=SEEDS)
def test_an_entity_is_explained_as_the_likelier_of_a_kinds_labels(number: int, seed: int) -> None:
    task = TASKS["ner"]
    encoded, logits, prediction = decode(task, number, seed)
    place = targets_of(task).find("location", encoded, task.outputs)
    for part in prediction.parts:
        (aimed,) = targets_of(task).aim(place, [part], logits, encoded, task.outputs)
        ((token, label),) = [at for at, weight in aimed.target.items() if weight == 1.0]
        at_token = logits[part.rows[0]][part.read_at]
        numbers = [task.outputs.labels.index(f"{prefix}-location") for prefix in "BI"]
        assert (aimed.name, aimed.rows, aimed.read_at, token) == ("location", part.rows, part.read_at, part.read_at)
        assert label == max(numbers, key=lambda one: at_token[one])


@pytest.mark.parametrize(
    ("task", "asked", "said"),
    [
        (
            "sentiment",
            "Positive",
            "no answer 'Positive' can be explained; name one, case counts: 'negative', 'positive'",
        ),
        ("sentiment", 1, "no answer 1 can be explained; name one, case counts: 'negative', 'positive'"),
        ("sts", "5", "no answer '5' can be explained; name one, case counts: 'similarity'"),
        (
            "ner",
            "x" * 101,
            f"no answer '{'x' * 99}…' can be explained; name one, case counts: "
            "'corporation', 'creative-work', 'group', 'location', 'person', 'product'",
        ),
        ("reading-comprehension", "fly", "no choice is called so; give a choice's text, or its place: {places}"),
        ("reading-comprehension", 20, "no choice has the place 20; give a choice's text, or its place: {places}"),
        ("reading-comprehension", -1, "no choice has the place -1; give a choice's text, or its place: {places}"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_what_can(task: str, asked: str | int, said: str) -> None:
    encoded = encode(TASKS[task], 0)
    last = max(row.group for row in encoded.rows)
    with pytest.raises(ValueError, match="no ") as refused:
        targets_of(TASKS[task]).find(asked, encoded, outputs_of(TASKS[task]))
    assert str(refused.value) == said.format(places="0 or 1" if last == 1 else f"0 to {last}")


def test_a_choice_is_found_by_its_text_and_by_its_place() -> None:
    task = TASKS["reading-comprehension"]
    encoded = encode(task, 0)
    for place in range(1 + max(row.group for row in encoded.rows)):
        assert targets_of(task).find(place, encoded, task.outputs) == place
        text = encoded.texts[f"choices/{place}"]
        assert encoded.texts[f"choices/{targets_of(task).find(text, encoded, task.outputs)}"] == text
