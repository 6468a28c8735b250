"""Named entities: what a word is, which token speaks for it, and what is found where windows meet."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Tokenizer

from models.entity_tags import OUTSIDE
from models.tasks import ner
from models.tasks.ner import (
    NER,
    Entity,
    NerAnswer,
    NerExample,
    find_entities,
)
from models.tasks.task import Logits, Outputs, Prediction, TextItem, read_item
from models.tasks.texts.entity_words import split_for_tagging
from models.tasks.token_positions import first_tokens
from models.text import BadInput, Encoded, Reader, ReadingLimits, Row
from models.words import Span, split_words
from service.answers.offsets import OffsetUnit, convert_spans
from tests.tiny import make_byte_tokenizer, make_tokenizer

WORDS = make_tokenizer().backend_tokenizer
MAX_TOKENS = 18
"""Two special tokens leave room for 16 of text, of which neighbouring windows share 4."""

READER = Reader(WORDS, ReadingLimits(max_tokens=MAX_TOKENS))
OUTPUTS = Outputs((OUTSIDE, "B-person", "I-person", "B-place", "I-place"))

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "ab é\u0301👩‍🚀🏽🇩🇪漢한مر \t\r\n\x00\u200b-&@#_'s.!:/?Uwcom3", max_size=60
)


def encode(text: str, reader: Reader = READER) -> Encoded:
    return NER.encode(TextItem(text=text), reader, "window")


def encode_annotated(*tokens: str) -> Encoded:
    return ner.encode(NerExample(tokens=tokens), READER, "window")


def words_of(text: str) -> list[str]:
    return [text[slice(*word)] for word in split_for_tagging(text)]


def label_by_token(encoded: Encoded, **labels: str) -> Prediction[NerAnswer]:
    """The prediction of a model that gives these tokens these labels, and no label to any other token."""

    def label(row: Row) -> Logits:
        names = [labels.get(token, OUTSIDE) for token in row.encoding.tokens]
        return np.array([[8.0 * (name == other) for other in OUTPUTS.labels] for name in names], dtype=np.float32)

    return NER.decode([label(row) for row in encoded.rows], encoded, OUTPUTS)


def label_at_random(encoded: Encoded, seed: int) -> Prediction[NerAnswer]:
    draw = np.random.default_rng(seed)
    logits = [draw.normal(size=(len(row), len(OUTPUTS.labels))).astype(np.float32) for row in encoded.rows]
    return NER.decode(logits, encoded, OUTPUTS)


def test_a_word_is_outside_of_entities_only_where_the_model_is_sure_enough() -> None:
    encoded = encode("great film plot")
    sure = {"great": 0.5, "film": 0.9, "plot": 0.7}

    def label(row: Row) -> Logits:
        outside = np.array([[sure.get(token, 1 - 1e-6)] for token in row.encoding.tokens])
        kinds = (1 - outside) * np.array([[0.5, 0.2, 0.2, 0.1]])
        found: Logits = np.log(np.hstack([outside, kinds])).astype(np.float32)
        return found

    logits = [label(row) for row in encoded.rows]
    found = {
        threshold: [
            one.text
            for one in NER.decode(logits, encoded, replace(OUTPUTS, outside_threshold=threshold)).answer.entities
        ]
        for threshold in (0.0, 0.6, 0.8, 0.95)
    }
    assert found == {0.0: [], 0.6: ["great"], 0.8: ["great", "plot"], 0.95: ["great", "film", "plot"]}


@given(seed=st.integers(0, 2**32 - 1), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_higher_threshold_takes_no_word_out_of_an_entity(seed: int, thresholds: tuple[float, float]) -> None:
    encoded = encode("Ada met Grace in Paris")
    draw = np.random.default_rng(seed)
    logits = [draw.normal(size=(len(row), len(OUTPUTS.labels))).astype(np.float32) for row in encoded.rows]
    lower, higher = (
        NER.decode(logits, encoded, replace(OUTPUTS, outside_threshold=threshold)).outcome
        for threshold in sorted(thresholds)
    )
    assert all(one in (other, OUTSIDE) for one, other in zip(lower, higher, strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada met Grace.", ["Ada", "met", "Grace", "."]),
        ("a Coca-Cola, please", ["a", "Coca-Cola", ",", "please"]),
        ("AT&T's phones", ["AT&T", "'s", "phones"]),
        ("@user likes #tag", ["@user", "likes", "#tag"]),
        ("@_user_ @@user #", ["@_user_", "@", "@user", "#"]),
        ("the U.S. army", ["the", "U.S.", "army"]),
        ("the U.S.-led, e.g. the U.S...", ["the", "U.S.-led", ",", "e.g.", "the", "U.S", ".", ".", "."]),
        (
            "George W. Bush, J.R.R. Tolkien and I. Then",
            ["George", "W.", "Bush", ",", "J.R.R.", "Tolkien", "and", "I", ".", "Then"],
        ),
        ("Name:Taylor Swift?then", ["Name", ":", "Taylor", "Swift", "?", "then"]),
        (
            "Paris:Rome London--Paris Gardena/Compton",
            ["Paris", ":", "Rome", "London", "-", "-", "Paris", "Gardena", "/", "Compton"],
        ),
        (
            "London\u2013Paris\u2014Rome boy+rat a=b",
            ["London", "–", "Paris", "—", "Rome", "boy", "+", "rat", "a", "=", "b"],
        ),
        ("The end.Then Tom&Jerry", ["The", "end", ".", "Then", "Tom", "&", "Jerry"]),
        ("AC/DC w/o R&B M&M's", ["AC/DC", "w/o", "R&B", "M&M", "'s"]),
        (
            "12:30 2:29.34 1996\u201397 3.5 6-3 $2/month",
            ["12:30", "2:29.34", "1996–97", "3.5", "6-3", "$", "2", "/", "month"],
        ),
        ("RT@user hi#topic eBay_US", ["RT", "@user", "hi", "#topic", "eBay_US"]),
        (
            "foo.bar@example.com, example.org/a_b. (www.example.org)",
            ["foo.bar@example.com", ",", "example.org/a_b", ".", "(", "www.example.org", ")"],
        ),
        ("state-of-the-art", ["state-of-the-art"]),
        ("Apple's, O’Brien’s, don't", ["Apple", "'s", ",", "O’Brien", "’s", ",", "don't"]),
        ("http://example.org/a-b?c=d ok", ["http://example.org/a-b?c=d", "ok"]),
        ("on 9/11 for $3.50!", ["on", "9/11", "for", "$", "3.50", "!"]),
        ("well-", ["well", "-"]),
        ("a - b", ["a", "-", "b"]),
        ("张艺谋的电影。", ["张", "艺", "谋", "的", "电", "影", "。"]),
        ("서울에서 مرحبا", ["서울에서", "مرحبا"]),
        ("so😍good👩‍🚀", ["so", "😍", "good", "👩‍🚀"]),
        ("e\u0301te\u0301-na\u00efve", ["e\u0301te\u0301-na\u00efve"]),
        (" \t\u200b", []),
        ("", []),
    ],
)
def test_words_are_near_to_how_entities_are_annotated(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(text=TEXTS)
def test_words_are_disjoint_in_order_and_hold_what_unicodes_words_hold(text: str) -> None:
    words = split_for_tagging(text)
    assert all(word.start < word.end for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))
    held, expected = ({place for word in found for place in range(*word)} for found in (words, split_words(text)))
    assert held == expected


@given(labels=st.lists(st.sampled_from([OUTSIDE, "B-a", "I-a", "B-b", "I-b", "B-c-d", "I-c-d"]), max_size=12))
def test_entities_are_those_that_conlleval_finds(labels: list[str]) -> None:
    found = [(kind, words[0], words[-1]) for words, kind in find_entities(labels)]
    assert found == get_entities(labels)


@pytest.mark.parametrize(
    ("labels", "entities"),
    [
        ("O O", []),
        ("B-a I-a O B-a", [("a", 0, 2), ("a", 3, 4)]),
        ("B-a B-a", [("a", 0, 1), ("a", 1, 2)]),
        ("I-a I-a", [("a", 0, 2)]),
        ("B-a I-b", [("a", 0, 1), ("b", 1, 2)]),
        ("I-a O I-a", [("a", 0, 1), ("a", 2, 3)]),
    ],
)
def test_labels_that_cannot_follow_each_other_begin_an_entity(labels: str, entities: list[Any]) -> None:
    assert [(kind, words.start, words.stop) for words, kind in find_entities(labels.split())] == entities


def _places(encoded: Encoded, whole: Row) -> dict[int, tuple[int, int]]:
    """`first_tokens` by definition: of each word's first token in the whole text, the copy farthest from the ends."""
    offsets = whole.encoding.offsets[1:-1]
    places = {}
    for number, word in enumerate(encoded.words):
        inside = [index for index, (start, end) in enumerate(offsets) if start < word.end and end > word.start]
        copies = []
        begin = 0
        for row_number, row in enumerate(encoded.rows):
            length = len(row) - 2
            if inside and begin <= inside[0] < begin + length:
                position = inside[0] - begin + 1
                copies.append((-min(position, len(row) - 1 - position), row_number, position))
            begin += 12  # 16 but for the 4 that are shared
        if copies:
            places[number] = min(copies)[1:]
    return places


@pytest.mark.parametrize("tokenizer", [WORDS, make_byte_tokenizer(), make_byte_tokenizer(prefix_space=True)])
@settings(deadline=None)
@given(text=TEXTS)
def test_a_word_is_read_at_its_first_token_where_that_is_farthest_from_the_ends(
    tokenizer: Tokenizer, text: str
) -> None:
    try:
        encoded = encode(text, Reader(tokenizer, ReadingLimits(max_tokens=MAX_TOKENS)))
        (whole,) = encode(text, Reader(tokenizer, ReadingLimits(max_tokens=1_000))).rows
    except BadInput:
        reject()
    assert first_tokens(encoded) == _places(encoded, whole)


def test_a_sign_of_many_bytes_is_read_at_the_first_of_them() -> None:
    encoded = encode("a 漢 b", Reader(make_byte_tokenizer(), ReadingLimits(max_tokens=MAX_TOKENS)))
    assert encoded.rows[0].encoding.tokens == ["<s>", "a", "Ġ", "æ", "¼", "¢", "Ġb", "</s>"]
    assert first_tokens(encoded) == {0: (0, 1), 1: (0, 3), 2: (0, 6)}


def test_a_space_put_before_texts_changes_no_words_place() -> None:
    with_space, without = (
        encode("a b " * 20, Reader(make_byte_tokenizer(prefix_space=given), ReadingLimits(max_tokens=MAX_TOKENS)))
        for given in (True, False)
    )
    assert len(without.rows) > 2
    assert first_tokens(with_space) == first_tokens(without)


def test_a_word_that_the_tokenizer_drops_is_outside_every_entity() -> None:
    encoded = encode("good \u0301 great")
    assert len(encoded.words) == 3
    prediction = label_by_token(encoded, good="B-person", great="I-person")
    assert prediction.outcome == ("B-person", OUTSIDE, "I-person")


def test_signs_alone_are_no_entity_but_may_be_part_of_one() -> None:
    encoded = encode("good . great ! film")
    prediction = label_by_token(encoded, **{"good": "B-person", ".": "I-person", "!": "B-place"})
    assert [entity.text for entity in prediction.answer.entities] == ["good ."]
    assert prediction.outcome == ("B-person", "I-person", OUTSIDE, OUTSIDE, OUTSIDE)


@given(before=st.integers(0, 40), after=st.integers(0, 40), length=st.integers(1, 20))
def test_an_entity_is_found_once_wherever_it_stands(before: int, after: int, length: int) -> None:
    text = "the " * before + "good " + "great " * (length - 1) + "film " * after
    encoded = encode(text)
    (entity,) = label_by_token(encoded, good="B-person", great="I-person").answer.entities
    assert (entity.label, entity.text) == ("person", " ".join(["good"] + ["great"] * (length - 1)))
    assert entity.start == 4 * before


@given(before=st.integers(0, 40), after=st.integers(0, 40))
def test_pieces_inside_a_word_say_nothing_of_it_even_where_a_window_begins_with_them(before: int, after: int) -> None:
    encoded = encode("the " * before + "zebra " + "film " * after)  # z ##e ##b ##r ##a
    inside = {"##e": "B-place", "##b": "I-place", "##r": "B-place", "##a": "I-place"}
    (entity,) = label_by_token(encoded, z="B-person", **inside).answer.entities
    assert (entity.label, entity.text) == ("person", "zebra")


def test_neighbours_of_one_kind_stay_two_where_the_second_begins_anew() -> None:
    answer = label_by_token(encode("good great good"), good="B-person", great="I-person").answer
    assert [entity.text for entity in answer.entities] == ["good great", "good"]


def test_the_score_is_the_mean_of_the_words_probabilities() -> None:
    encoded = encode("good unable film")  # un ##able is one word of two tokens
    logits = np.zeros((len(encoded.rows[0]), len(OUTPUTS.labels)), dtype=np.float32)
    logits[1, 1], logits[2, 2], logits[3, 4], logits[4, 0] = 2, 1, 9, 9
    (entity,) = NER.decode([logits], encoded, OUTPUTS).answer.entities
    expected = (np.exp(2) / (np.exp(2) + 4) + np.exp(1) / (np.exp(1) + 4)) / 2
    assert entity.text == "good unable"
    assert entity.score == pytest.approx(expected, abs=1e-12)


def test_every_entity_is_explained_at_its_first_token() -> None:
    encoded = encode("the " * 20 + "good great")
    (part,) = label_by_token(encoded, good="B-person", great="I-person").parts
    assert (part.name, part.rows, part.read_at) == ("person", (1,), 9)
    assert encoded.rows[1].encoding.tokens[9] == "good"


def test_a_text_without_entities_has_none_to_explain() -> None:
    prediction = label_by_token(encode("the film"))
    assert (prediction.answer.entities, prediction.parts, prediction.outcome) == ((), (), (OUTSIDE, OUTSIDE))


@pytest.mark.parametrize("make", [lambda: WORDS, make_byte_tokenizer])
@settings(deadline=None)
@given(text=TEXTS, seed=st.integers(0, 99))
def test_entities_are_parts_of_the_text_in_order(make: Callable[[], Tokenizer], text: str, seed: int) -> None:
    try:
        encoded = encode(text, Reader(make(), ReadingLimits(max_tokens=MAX_TOKENS)))
    except BadInput:
        reject()
    prediction = label_at_random(encoded, seed)
    entities = prediction.answer.entities
    assert all(entity.text == text[entity.start : entity.end] != "" for entity in entities)
    assert all(one.end <= other.start for one, other in pairwise(entities))
    assert len(prediction.outcome) == len(split_for_tagging(text))


@pytest.mark.parametrize(("unit", "encoding", "width"), [("utf16", "utf-16-le", 2), ("byte", "utf-8", 1)])
@settings(deadline=None)
@given(text=TEXTS, seed=st.integers(0, 99))
def test_moved_offsets_cut_the_same_text_out_of_other_units(
    unit: OffsetUnit, encoding: str, width: int, text: str, seed: int
) -> None:
    try:
        answer = label_at_random(encode(text), seed).answer
    except BadInput:
        reject()

    def move(field: str, spans: Sequence[Span]) -> Sequence[Span]:
        assert field == "text"
        return convert_spans(text, spans, unit)

    moved = answer.moved(move)
    units = text.encode(encoding)
    assert [entity.text for entity in moved.entities] == [
        units[width * entity.start : width * entity.end].decode(encoding) for entity in moved.entities
    ]
    assert [entity.score for entity in moved.entities] == [entity.score for entity in answer.entities]


def test_offsets_in_another_unit_by_hand() -> None:
    entity = Entity(label="place", text="漢", start=2, end=3, score=0.5)
    answer = NerAnswer(entities=(entity,)).moved(lambda _, spans: convert_spans("😀 漢", spans, "byte"))
    assert answer.entities == (Entity(label="place", text="漢", start=5, end=8, score=0.5),)


def test_annotated_words_are_kept_as_they_are() -> None:
    tokens = ("The", "Coca", "-", "Cola", "New York", "don't", "🇩🇪")
    encoded = encode_annotated(*tokens)
    (text,) = encoded.texts.values()
    assert tuple(text[slice(*word)] for word in encoded.words) == tokens


def test_annotated_words_get_a_label_each() -> None:
    encoded = encode_annotated("good", "the film", "great", "it's")
    prediction = label_by_token(encoded, good="B-person", film="B-place", great="B-person")
    assert prediction.outcome == ("B-person", OUTSIDE, "B-person", OUTSIDE)


def test_tokens_may_be_written_in_json() -> None:
    assert read_item(NerExample, {"tokens": '["a", "b"]'}) == NerExample(tokens=("a", "b"))


@pytest.mark.parametrize("wrong", [5, {}, {"text": None}, {"text": "a", "tokens": ["a"]}, {"tokens": ["a"]}])
def test_an_item_is_a_text_and_nothing_else(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TextItem.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"tokens": []}, {"tokens": "a b"}, {"tokens": ["a", 1]}, {"text": "a"}])
def test_an_example_is_one_word_or_more(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        NerExample.model_validate(wrong)


@pytest.mark.parametrize("value", [[0, 1, 2], ["O", "B-person", "I-person"], ("O", 1, "2")])
def test_right_answers_are_labels_by_number_or_name(value: Any) -> None:
    assert NER.read_target(value, encode("the good film"), OUTPUTS) == (0, 1, 2)


@pytest.mark.parametrize("value", [[0, 1], [0, 1, 2, 0], "OBI", None, 3, {"tags": [0, 0, 0]}])
def test_anything_but_a_label_for_each_word_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="tags are a list with a label for each of the 3 tokens, not "):
        NER.read_target(value, encode("the good film"), OUTPUTS)


@pytest.mark.parametrize("wrong", [5, "B-planet", None, True])
def test_an_unknown_label_lists_those_there_are(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is none of: 0 or 'O', 1 or 'B-person', 2 or 'I-person'"):
        NER.read_target([0, wrong, 0], encode("the good film"), OUTPUTS)


@st.composite
def labelled_texts(draw: st.DrawFn) -> tuple[list[list[int]], list[list[str]]]:
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    label = st.integers(0, len(OUTPUTS.labels) - 1)
    targets, found = ([draw(st.lists(label, min_size=length, max_size=length)) for length in lengths] for _ in range(2))
    return targets, [[OUTPUTS.labels[number] for number in numbers] for numbers in found]


@given(case=labelled_texts())
def test_metrics_agree_with_counting_whole_entities(case: tuple[list[list[int]], list[list[str]]]) -> None:
    targets, outcomes = case
    names = [[OUTPUTS.labels[number] for number in numbers] for numbers in targets]
    expected, found = (
        {(number, *entity) for number, labels in enumerate(texts) for entity in find_entities(labels)}
        for texts in (names, outcomes)
    )
    right = len(expected & found)
    metrics = NER.measure(targets, outcomes, OUTPUTS)
    assert metrics["precision"] == pytest.approx(right / max(len(found), 1))
    assert metrics["recall"] == pytest.approx(right / max(len(expected), 1))
    assert metrics["f1"] == pytest.approx(2 * right / max(len(found) + len(expected), 1))


def test_half_an_entity_is_none() -> None:
    metrics = NER.measure([(1, 2, 0, 3)], [("B-person", "O", "O", "B-place")], OUTPUTS)
    assert metrics == {"f1": 0.5, "precision": 0.5, "recall": 0.5}
