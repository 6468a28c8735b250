"""Occlusion: each word's score is how far the logits of the answer fall without it, in the background."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from export.package import open_package
from models.tasks.task import TextItem, contrast
from models.tasks.token_positions import find_tokens, first_tokens
from models.text import Encoded, Row
from models.words import Span
from service.answers.answers import Answers, PendingAnswers
from service.answers.contract import Options
from service.answers.errors import ItemsRejected
from service.answers.explanation import Explanation
from service.answers.predictor import Predictor
from service.engine.errors import Overloaded
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from tests.service.answers.test_decomposition import answer as explain_by_decomposition
from tests.service.answers.test_decomposition import margin, total
from tests.service.answers.test_explanation import TEXTS
from tests.service.tiny import OPINIONS
from tests.tiny import make_items

VOCABULARY = [*OPINIONS, "the", "film", "was", ",", "!"]


def ask(predictor: Predictor, *texts: str, truncation: str = "window", **explain: Any) -> Answers:
    options = Options.model_validate({"explain": {"method": "occlusion", **explain}, "truncation": truncation})
    return predictor.answer([TextItem(text=text) for text in texts], options)


def answer(predictor: Predictor, text: str, **explain: Any) -> Any:
    (result,) = ask(predictor, text, **explain).results
    return result


@settings(deadline=None, max_examples=80)
@given(words=st.lists(st.sampled_from(VOCABULARY), min_size=2, max_size=30), target=st.sampled_from([None, "negative"]))
def test_where_words_only_add_up_it_gives_what_decomposition_gives(
    predictor: Predictor, words: list[str], target: str | None
) -> None:
    text = " ".join(words)
    occluded = answer(predictor, text, target=target).explanation
    decomposed = explain_by_decomposition(predictor, text, target=target).explanation
    assert occluded.rest == pytest.approx(decomposed.rest, abs=1e-5)
    assert occluded.model_dump(exclude={"method", "rest"}) == decomposed.model_dump(exclude={"method", "rest"})


@settings(deadline=None, max_examples=60)
@example(text="good 0\x1f0 bad film", unit="word")
@given(
    text=st.one_of(TEXTS.map(lambda text: text[:60]), TEXTS.map(lambda text: f"good {text[:40]} bad film " * 4)),
    unit=st.sampled_from(["word", "token"]),
)
def test_a_score_is_the_margin_less_that_of_the_text_without_the_word(
    predictor: Predictor, text: str, unit: str
) -> None:
    try:
        answers = ask(predictor, text, unit=unit)
    except ItemsRejected:
        reject()
    (result,) = answers.results
    if answers.unexplained:
        return
    y = margin(predictor, text, result.label)
    assert total(result.explanation) == pytest.approx(y, abs=1e-4)
    for word in result.explanation.items:
        without = text[: word.start] + text[word.end :]
        try:
            expected = y - margin(predictor, without, result.label)
        except ItemsRejected:
            expected = y
        assert word.score == pytest.approx(expected, abs=1e-4)


def test_the_only_word_has_all_of_the_margin(predictor: Predictor) -> None:
    explanation = answer(predictor, " great ").explanation
    assert [(word.text, word.score) for word in explanation.items] == [("great", 6.0 + 2 * 2 / 64)]
    assert explanation.rest == 0.0


def test_what_was_cut_off_has_nothing_and_does_not_move_in(predictor: Predictor) -> None:
    seen, unseen = "good film " * 15, "awful " * 5
    cut = answer(predictor, seen + unseen, truncation="right").explanation
    alone = answer(predictor, seen).explanation
    assert cut.items[:30] == alone.items
    assert [word.score for word in cut.items[30:]] == [0.0] * 5
    assert cut.rest == alone.rest


def test_a_text_that_takes_more_tokens_without_a_sign_is_explained_all_the_same(predictor: Predictor) -> None:
    text = "good-film " + "good " * 27
    (result,) = ask(predictor, text, truncation="error").results
    assert (result.tokens, result.windows) == (32, 1)
    assert len(result.explanation.items) == 30


def test_words_and_tokens_are_bounded(package: Path) -> None:
    texts = ["good " * 4, "good " * 5, "films " * 4, "x" * 513, "a", "films " * 8]
    with (
        Pool(1) as pool,
        Predictor(open_package(package), EngineLimits(), pool, max_occlusion_words=4) as predictor,
    ):
        by_word, by_token = (ask(predictor, *texts, unit=unit) for unit in ("word", "token"))
    assert [result.explanation is None for result in by_word.results] == [False, True, False, True, False, True]
    assert [(one.index, str(one.reason)) for one in by_word.unexplained] == [
        (1, "5 words to leave out in turn; at most 4 are: shorten the text"),
        (3, "513 characters to read again without each word; at most 512 are: shorten the text"),
        (5, "18 tokens to read again without each word; at most 16 are: shorten the text"),
    ]
    assert [(one.index, str(one.reason)) for one in by_token.unexplained][1] == (
        2,
        "8 tokens to leave out in turn; at most 4 are: shorten the text",
    )


def test_items_are_explained_one_by_one_in_the_background(
    predictor: Predictor, handed_in: list[tuple[int, bool]]
) -> None:
    ask(predictor, "good film", "awful", "the film was good")
    assert handed_in == [(3, False), (2, True), (0, True), (4, True)]


def test_while_the_background_is_overfull_nothing_is_begun(
    predictor: Predictor, handed_in: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Engine, __: str) -> None:
        raise Overloaded("9 rows are waiting already", 1)

    monkeypatch.setattr(Engine, "refuse_background_overload", refuse)
    with pytest.raises(Overloaded):
        ask(predictor, "good film")
    assert predictor.answer([TextItem(text="good")], Options()).results
    assert handed_in == [(1, False)]


def test_an_explanation_that_nobody_waits_for_is_not_gone_on_with(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending: Future[PendingAnswers] = Future()
    submit, asked = Engine.submit, list[int]()

    def cancel_in_the_second_item(engine: Engine, rows: Sequence[Row], *outputs: Any, **options: Any) -> Any:
        asked.append(len(rows))
        future = submit(engine, rows, *outputs, **options)
        if len(asked) == 3:
            pending.result(30).future.cancel()
        return future

    monkeypatch.setattr(Engine, "submit", cancel_in_the_second_item)
    options = Options.model_validate({"explain": "occlusion"})
    pending.set_result(predictor.submit([TextItem(text="good " * number) for number in (2, 3, 4)], options))
    with pytest.raises(CancelledError):
        pending.result().result()
    assert asked == [3, 2, 3]


def explained(predictor: Predictor, item: Mapping[str, Any], **explain: Any) -> tuple[Any, list[Explanation]]:
    options = Options.model_validate({"explain": {"method": "occlusion", **explain}})
    (result,) = predictor.answer([predictor.task.item.model_validate(item)], options).results
    given = result.explanation
    return result, list(given) if isinstance(given, tuple) else [given]


def without(item: Mapping[str, Any], field: str, start: int, end: int) -> dict[str, Any]:
    """The item without some characters, and without one of the blanks around them."""
    name, _, number = field.partition("/")
    texts = list(item[name]) if number else [item[name]]
    place = int(number or 0)
    text = texts[place]
    thinned = " ".join(filter(None, (text[:start].rstrip(), text[end:].lstrip())))
    keeps_gap = text[:start].endswith(" ") or text[end:].startswith(" ") or not text[:start] or not text[end:]
    texts[place] = thinned if keeps_gap else text[:start] + text[end:]
    return {**item, name: texts if number else texts[0]}


def read(predictor: Predictor, item: Mapping[str, Any]) -> tuple[Encoded, list[Any]]:
    pending = predictor.submit([predictor.task.item.model_validate(item)], Options())
    pending.result()
    encoded = pending.items[0].encoded
    return encoded, list(predictor.compute(encoded.rows))


@pytest.mark.parametrize("task", ["nli", "sts", "paraphrase"])
def test_of_a_pair_the_words_of_both_texts_are_left_out(opened: Callable[[str], Predictor], task: str) -> None:
    predictor = opened(task)
    for item in make_items(task, 4):
        result, (explanation,) = explained(predictor, item)
        labels = predictor.package.manifest.labels
        label = labels.index(getattr(result, "label", labels[0]))
        (whole,) = read(predictor, item)[1]

        def y(logits: Any, label: int = label, count: int = len(labels)) -> float:
            return sum(weight * float(logits[place]) for place, weight in contrast(label, count).items())

        assert {word.field for word in explanation.items} == set(item)
        for word in explanation.items:
            (left,) = read(predictor, without(item, word.field, word.start, word.end))[1]
            assert word.score == pytest.approx(y(whole) - y(left), abs=1e-4)
        assert total(explanation) == pytest.approx(y(whole), abs=1e-4)


@pytest.mark.parametrize("target", [None, 0, 1])
def test_of_choices_the_explained_one_is_asked_again(
    opened: Callable[[str], Predictor], handed_in: list[tuple[int, bool]], target: int | None
) -> None:
    predictor = opened("reading-comprehension")
    for item in make_items("reading-comprehension", 4):
        handed_in.clear()
        result, (explanation,) = explained(predictor, item, target=target)
        choice = result.choice if target is None else target
        assert explanation.target == item["choices"][choice]
        assert handed_in[1] == (len(explanation.items), True)
        whole = read(predictor, item)[1][choice]
        assert {word.field for word in explanation.items} == {"context", "question", f"choices/{choice}"}
        for word in explanation.items:
            left = read(predictor, without(item, word.field, word.start, word.end))[1][choice]
            assert word.score == pytest.approx(float(whole[0] - left[0]), abs=1e-4)


def test_an_entity_is_read_where_its_first_word_stands_now(opened: Callable[[str], Predictor]) -> None:
    predictor = opened("ner")
    labels = predictor.package.manifest.labels
    seen = 0
    for item in make_items("ner", 12):
        result, explanations = explained(predictor, item)
        encoded, whole = read(predictor, item)
        for entity, explanation in zip(result.entities, explanations, strict=True):
            row, position = first_tokens(encoded)[word_at(encoded, entity.start)]
            at_token = whole[row][position]
            target = contrast(int(at_token.argmax()), len(labels))

            def y(logits: Any, target: Mapping[tuple[int, ...], float] = target) -> float:
                return sum(weight * float(logits[place]) for place, weight in target.items())

            for word in explanation.items:
                expected = y(at_token)
                if not word.start <= entity.start < word.end:
                    left, logits = read(predictor, without(item, "text", word.start, word.end))
                    gone = len(item["text"]) - len(left.texts["text"]) if word.start < entity.start else 0
                    row, position = first_tokens(left)[word_at(left, entity.start - gone)]
                    expected -= y(logits[row][position])
                assert word.score == pytest.approx(expected, abs=1e-4)
                seen += 1
            assert total(explanation) == pytest.approx(y(at_token), abs=1e-4)
    assert seen > 20


def word_at(encoded: Encoded, start: int) -> int:
    (number,) = (number for number, word in enumerate(encoded.words) if word.start <= start < word.end)
    return number


def test_a_span_is_read_at_its_ends_and_ends_that_are_left_out_count_nothing(
    opened: Callable[[str], Predictor],
) -> None:
    predictor = opened("extractive-reading-comprehension")
    kinds = set()
    for item in make_items("extractive-reading-comprehension", 12):
        result, (explanation,) = explained(predictor, item)
        encoded, (whole,) = read(predictor, item)
        kinds.add(result.answer is None)
        for word in explanation.items:
            left, (logits,) = read(predictor, without(item, word.field, word.start, word.end))
            y, rest = 0.0, 0.0
            for end in (0, 1):
                at = 0 if result.answer is None else find_tokens(encoded.rows[0], Span(result.start, result.end))[end]
                y += float(whole[at][end])
                characters = dict(encoded.rows[0].spans("context")).get(at)
                now: int | None = 0
                if characters is not None:
                    now = find_now(item["context"], left, characters.start, word)
                rest += 0.0 if now is None else float(logits[now][end])
            assert word.score == pytest.approx(y - rest, abs=1e-4)
        assert math.isfinite(explanation.rest or np.nan)
    assert kinds == {True, False}


def find_now(context: str, left: Encoded, start: int, word: Any) -> int | None:
    """The token that has a character of the context now; None where it is left out."""
    if word.field == "context":
        if word.start <= start < word.end:
            return None
        start -= len(context) - len(left.texts["context"]) if word.start < start else 0
    (position,) = (at for at, span in left.rows[0].spans("context") if span.start <= start < span.end)
    return position
