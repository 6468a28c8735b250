"""The claims of answers: what supports them, and which words they never lose."""

from typing import Any

import numpy as np
import pytest

from models.measuring.removal import RemovableWords, Word
from models.tasks import TASKS
from models.tasks.extractive import EXTRACTIVE_READING
from models.tasks.ner import NER
from models.tasks.reading_comprehension import READING_COMPREHENSION, ReadingItem
from models.tasks.sts import STS
from models.tasks.task import AnyTask, Logits, Prediction
from models.text import Encoded, Reader, ReadingLimits
from models.words import Span, split_words
from tests.tiny import make_tokenizer, outputs_of

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=128))
SINGLE = (
    "sentiment",
    "nli",
    "paraphrase",
    "text-classification",
    "pair-classification",
    "reading-comprehension",
    "extractive-reading-comprehension",
)


def _read(task: AnyTask, values: dict[str, Any]) -> Encoded:
    encoded: Encoded = task.encode(task.item.model_validate(values), READER, "window")
    return encoded


def _logits(task: AnyTask, encoded: Encoded, seed: int = 0) -> list[Logits]:
    draw = np.random.default_rng(seed)
    by_token = task.head in ("token-classification", "question-answering")
    width = len(outputs_of(task).labels)
    return [
        draw.normal(size=(len(row), width) if by_token else (width,)).astype(np.float32) * 3 for row in encoded.rows
    ]


def _words(encoded: Encoded) -> list[Word]:
    return [(field, word) for field, text in encoded.texts.items() for word in split_words(text)]


@pytest.mark.parametrize("name", SINGLE)
def test_the_whole_item_supports_an_answer_as_far_as_its_score(name: str) -> None:
    task = TASKS[name]
    for seed, values in enumerate(task.probe_items):
        encoded = _read(task, values)
        logits = _logits(task, encoded, seed)
        prediction = task.decode(logits, encoded, outputs_of(task))
        (claim,) = task.claims(prediction, encoded, outputs_of(task))
        assert claim.support(logits, encoded) == pytest.approx(prediction.answer.score, abs=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_other_logits_support_a_claim_between_0_and_1(name: str) -> None:
    task = TASKS[name]
    encoded = _read(task, task.probe_items[0])
    prediction: Prediction[Any] = task.decode(_logits(task, encoded, 1), encoded, outputs_of(task))
    claims = task.claims(prediction, encoded, outputs_of(task))
    assert len(claims) == len(prediction.parts)
    for seed in range(5):
        assert all(0 <= claim.support(_logits(task, encoded, seed), encoded) <= 1 for claim in claims)


@pytest.mark.parametrize("name", TASKS)
def test_all_words_but_those_kept_can_go(name: str) -> None:
    task = TASKS[name]
    encoded = _read(task, task.probe_items[0])
    prediction: Prediction[Any] = task.decode(_logits(task, encoded, 1), encoded, outputs_of(task))
    for claim in task.claims(prediction, encoded, outputs_of(task)):
        words = [
            (field, word)
            for field, word in _words(encoded)
            if not any(field == of and word.start < kept.end and word.end > kept.start for of, kept in claim.kept)
        ]
        bare = RemovableWords(encoded, words).without(range(len(words)))
        assert 0 <= claim.support(_logits(task, bare), bare) <= 1


@pytest.mark.parametrize(("score", "support", "is_negative"), [(4.0, 0.8, False), (1.0, 0.8, True), (9.0, 1.0, False)])
def test_a_low_similarity_claims_that_the_texts_are_unlike(score: float, support: float, is_negative: bool) -> None:
    encoded = _read(STS, {"text_a": "a good film", "text_b": "the plot"})
    logits = [np.array([score], dtype=np.float32)]
    (claim,) = STS.claims(STS.decode(logits, encoded, STS.outputs), encoded, STS.outputs)
    assert claim.support(logits, encoded) == pytest.approx(support)
    assert claim.is_negative is is_negative
    other = 1.0 if is_negative else 0.0
    assert claim.support([np.array([0.0], dtype=np.float32)], encoded) == other


def test_an_entity_keeps_its_words_and_is_supported_by_its_first_words_label() -> None:
    encoded = _read(NER, {"text": "the good film was fine"})
    labels = NER.outputs.labels
    logits = np.zeros((len(encoded.rows[0]), len(labels)), dtype=np.float32)
    for position, label in ((2, "B-person"), (3, "I-person")):
        logits[position, labels.index(label)] = 4.0
    logits[[1, 4, 5], labels.index("O")] = 4.0
    (claim,) = NER.claims(NER.decode([logits], encoded, NER.outputs), encoded, NER.outputs)
    assert claim.kept == (("text", Span(4, 13)),)
    expected = np.exp(4) / (np.exp(4) + len(labels) - 1)
    assert claim.support([logits], encoded) == pytest.approx(expected)
    # Without the first word the entity's first token is one place further left.
    thinned = RemovableWords(encoded, [("text", Span(0, 3))]).without([0])
    assert claim.support([np.delete(logits, 1, axis=0)], thinned) == pytest.approx(expected)


def test_choices_keep_their_words() -> None:
    values = {"context": "the film was good", "question": "was it fine", "choices": ["good", "very bad"]}
    encoded = _read(READING_COMPREHENSION, values)
    prediction = READING_COMPREHENSION.decode(_logits(READING_COMPREHENSION, encoded), encoded, STS.outputs)
    (claim,) = READING_COMPREHENSION.claims(prediction, encoded, READING_COMPREHENSION.outputs)
    assert claim.kept == (("choices/0", Span(0, 4)), ("choices/1", Span(0, 8)))


def _extractive_logits(encoded: Encoded, start: int, end: int, nothing: float) -> list[Logits]:
    (row,) = encoded.rows
    logits = np.full((len(row), 2), -2.0, dtype=np.float32)
    positions = [position for position, _ in row.spans("context")]
    logits[positions[start], 0] = logits[positions[end], 1] = 5.0
    logits[0] = nothing
    return [logits]


def test_a_span_keeps_its_words_and_is_found_where_others_are_gone() -> None:
    task = EXTRACTIVE_READING
    encoded = task.encode(ReadingItem(context="the film was very good", question="was it fine"), READER, "window")
    logits = _extractive_logits(encoded, 3, 4, -5.0)
    (claim,) = task.claims(task.decode(logits, encoded, task.outputs), encoded, task.outputs)
    assert claim.kept == (("context", Span(13, 22)),)
    thinned = RemovableWords(encoded, [("context", Span(0, 3))]).without([0])
    assert claim.support(_extractive_logits(thinned, 2, 3, -5.0), thinned) > 0.99
    assert claim.support(_extractive_logits(thinned, 0, 0, 9.0), thinned) < 0.01


def test_no_answer_is_supported_by_its_probability_even_without_a_context() -> None:
    task = EXTRACTIVE_READING
    encoded = task.encode(ReadingItem(context="the film", question="was it fine"), READER, "window")
    logits = _extractive_logits(encoded, 0, 0, 9.0)
    prediction = task.decode(logits, encoded, task.outputs)
    (claim,) = task.claims(prediction, encoded, task.outputs)
    assert (claim.kept, claim.support(logits, encoded)) == ((), prediction.answer.no_answer_score)
    bare = RemovableWords(encoded, [word for word in _words(encoded) if word[0] == "context"]).without([0, 1])
    assert claim.support(_logits(task, bare), bare) == 1.0
