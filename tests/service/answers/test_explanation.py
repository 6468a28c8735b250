"""Word scores: what the contract promises for any text, and the rules by example."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from models.tasks.task import AnswerPart, TextItem
from models.text import Encoded, Reader, ReadingLimits
from service.answers.batch import RowScores
from service.answers.contract import Options
from service.answers.errors import ItemsRejected
from service.answers.explanation import Explanation
from service.answers.offsets import OffsetUnit
from service.answers.predictor import Predictor
from service.answers.rendering import ExplanationStyle, explain
from service.answers.units import TokenScores
from tests.tiny import make_byte_tokenizer

ALPHABETS = (
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("the good film was "),
    st.sampled_from("👩‍👩‍👧🏽🇩🇪❤️é́مرحبا שלום 漢字かな한국어 \t\r\n\u200d\u200b\u00ad\ufeff\x00\x1b0123.,-'"),
)
TEXTS = st.one_of(*(st.text(alphabet, max_size=120) for alphabet in ALPHABETS))


def answer(predictor: Predictor, text: str, method: str = "rollout", unit: OffsetUnit = "codepoint") -> Explanation:
    options = Options.model_validate({"explain": method, "offset_unit": unit})
    try:
        (result,) = predictor.answer([TextItem(text=text)], options).results
    except ItemsRejected:
        reject()
    explanation: Explanation = result.explanation
    return explanation


def read(predictor: Predictor, text: str, *, truncation: str = "window") -> Encoded:
    try:
        pending = predictor.submit([TextItem(text=text)], Options.model_validate({"truncation": truncation}))
    except ItemsRejected:
        reject()
    pending.future.cancel()
    return pending.items[0].encoded


def explained(encoded: Encoded, scores: Sequence[TokenScores]) -> Explanation:
    part = AnswerPart("x", rows=tuple(range(len(encoded.rows))), target={})
    (explanation,) = explain(ExplanationStyle(method="attention"), [part], encoded, [RowScores(scores)])
    return explanation


@settings(deadline=None, max_examples=200)
@given(text=TEXTS, method=st.sampled_from(["attention", "rollout"]))
def test_shares_are_finite_not_negative_and_add_up_to_one(predictor: Predictor, text: str, method: str) -> None:
    scores = [word.score for word in answer(predictor, text, method).items]
    assert all(math.isfinite(score) and score >= 0 for score in scores)
    assert math.isclose(sum(scores), 1, abs_tol=1e-6)


@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
def test_words_are_in_order_disjoint_and_cut_out_of_the_text_as_given(predictor: Predictor, text: str) -> None:
    words = answer(predictor, text).items
    assert all(text[word.start : word.end] == word.text != "" for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))


@settings(deadline=None, max_examples=100)
@given(text=TEXTS)
def test_every_unit_names_the_same_words(predictor: Predictor, text: str) -> None:
    words = answer(predictor, text).items
    by_byte, by_utf16 = answer(predictor, text, unit="byte").items, answer(predictor, text, unit="utf16").items
    assert [text.encode()[word.start : word.end].decode() for word in by_byte] == [word.text for word in words]
    utf16 = text.encode("utf-16-le")
    assert [utf16[2 * word.start : 2 * word.end].decode("utf-16-le") for word in by_utf16] == [
        word.text for word in words
    ]


def test_the_pieces_of_a_word_add_up_and_special_tokens_do_not_count(predictor: Predictor) -> None:
    encoded = read(predictor, "unhappy film")
    assert encoded.rows[0].encoding.tokens == ["[CLS]", "un", "##happy", "film", "[SEP]"]
    scores = np.array([9, 1, 2, 5, 9], dtype=np.float32)
    explanation = explained(encoded, [scores])
    assert [(word.text, word.score) for word in explanation.items] == [("unhappy", 3 / 8), ("film", 5 / 8)]


def test_the_sign_of_a_token_does_not_count(predictor: Predictor) -> None:
    encoded = read(predictor, "good film")
    scores = np.array([0, -1, 1, 0], dtype=np.float32)
    assert [word.score for word in explained(encoded, [scores]).items] == [
        0.5,
        0.5,
    ]


def test_a_word_in_two_windows_takes_the_larger_score(predictor: Predictor) -> None:
    encoded = read(predictor, "a " * 30 + "b " * 10)
    assert len(encoded.rows) == 2
    scores = [np.full(len(row), weight, dtype=np.float32) for row, weight in zip(encoded.rows, (1, 3), strict=True)]
    items = explained(encoded, scores).items
    first_of_second = encoded.rows[1].spans("text")[0][1].start // 2
    assert {round(word.score / items[0].score) for word in items[:first_of_second]} == {1}
    assert {round(word.score / items[0].score) for word in items[first_of_second:]} == {3}


def test_a_word_in_two_windows_takes_the_score_of_the_larger_absolute_value(predictor: Predictor) -> None:
    encoded = read(predictor, "a " * 30 + "b " * 10)
    scores = [np.full(len(row), weight, dtype=np.float32) for row, weight in zip(encoded.rows, (2, -3), strict=True)]
    part = AnswerPart("x", rows=(0, 1), target={})
    (explanation,) = explain(ExplanationStyle(method="decomposition"), [part], encoded, [RowScores(scores, 10.0)])
    first_of_second = encoded.rows[1].spans("text")[0][1].start // 2
    assert [word.score for word in explanation.items] == [2.0] * first_of_second + [-3.0] * (40 - first_of_second)
    assert explanation.rest == 10.0 - sum(word.score for word in explanation.items)


@pytest.mark.parametrize("top_k", [1, 2, 3, 9])
def test_the_largest_absolute_scores_are_listed_the_first_of_equal_ones(predictor: Predictor, top_k: int) -> None:
    encoded = read(predictor, "good film was bad")
    scores = np.array([9, 1, -2, 0, 2, 9], dtype=np.float32)
    style = ExplanationStyle(method="decomposition", top_k=top_k)
    (explanation,) = explain(style, [AnswerPart("x", rows=(0,), target={})], encoded, [RowScores([scores], 5.0)])
    ranked = ["film", "bad", "good", "was"][:top_k]
    assert [word.text for word in explanation.items] == [
        word for word in ("good", "film", "was", "bad") if word in ranked
    ]
    assert explanation.rest == 4.0


@settings(deadline=None, max_examples=100)
@given(text=TEXTS)
def test_tokens_are_in_order_disjoint_and_cut_out_of_the_text_as_given(predictor: Predictor, text: str) -> None:
    options = Options.model_validate({"explain": {"method": "attention", "unit": "token"}})
    try:
        (result,) = predictor.answer([TextItem(text=text)], options).results
    except ItemsRejected:
        reject()
    tokens = result.explanation.items
    assert all(text[token.start : token.end] == token.text.strip() == token.text != "" for token in tokens)
    assert all(one.end <= other.start for one, other in pairwise(tokens))
    assert math.isclose(sum(token.score for token in tokens), 1, abs_tol=1e-6)


def test_tokens_of_the_same_characters_are_one() -> None:
    tokenizer = make_byte_tokenizer()
    text = "ab 😀 a"
    encoded = Reader(tokenizer, ReadingLimits(max_tokens=16)).read(text)
    part = AnswerPart("x", rows=(0,), target={})
    shares = [np.ones(len(encoded.rows[0]), dtype=np.float32)]
    style = ExplanationStyle(method="decomposition", unit="token")
    (explanation,) = explain(style, [part], encoded, [RowScores(shares, 9.0)])
    assert [(token.text, token.score) for token in explanation.items] == [("ab", 1.0), ("😀", 4.0), ("a", 1.0)]


@settings(deadline=None, max_examples=100)
@given(text=TEXTS.map(lambda text: f"good {text} " * 30))
def test_of_an_answer_from_one_window_its_words_and_no_others_are_listed(predictor: Predictor, text: str) -> None:
    encoded = read(predictor, text)
    if len(encoded.rows) == 1:
        reject()
    everything = explained(encoded, [np.ones(len(row), dtype=np.float32) for row in encoded.rows]).items
    for number, row in enumerate(encoded.rows):
        spans = [span for _, span in row.spans("text")]
        start, end = min(span.start for span in spans), max(span.end for span in spans)
        shares = [np.ones(len(row), dtype=np.float32)]
        part = AnswerPart("x", rows=(number,), target={})
        (explanation,) = explain(ExplanationStyle(method="attention"), [part], encoded, [RowScores(shares)])
        wanted = [word for word in everything if word.start < end and word.end > start]
        assert [(word.start, word.end) for word in explanation.items] == [(word.start, word.end) for word in wanted]


def test_words_that_were_cut_off_are_listed_with_nothing(predictor: Predictor) -> None:
    encoded = read(predictor, "good " * 40, truncation="right")
    items = explained(encoded, [np.ones(32, dtype=np.float32)]).items
    assert len(items) == 40
    assert [word.score for word in items[30:]] == [0.0] * 10


def test_words_share_alike_when_no_token_counts(predictor: Predictor) -> None:
    encoded = read(predictor, "good film")
    items = explained(encoded, [np.zeros(4, dtype=np.float32)]).items
    assert [word.score for word in items] == [0.5, 0.5]


def test_a_text_that_has_words_only_for_the_eye_is_refused(predictor: Predictor) -> None:
    with pytest.raises(ItemsRejected) as caught:
        predictor.submit([TextItem(text="\u200b\u200d")], Options())
    assert [rejection.reason.code for rejection in caught.value.rejected] == ["empty_input"]


@pytest.mark.parametrize("text", ["don't", "3.14", "👩🏽‍🚀", "🇩🇪", "é"])
def test_what_a_reader_takes_for_one_word_is_one(predictor: Predictor, text: str) -> None:
    assert [word.text for word in answer(predictor, text).items] == [text]
