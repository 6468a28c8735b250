"""Corrected reading: what each field is read as, with every token's place in the text that was written."""

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from models.correction.reading import Correction
from models.correction.spelling import KnownWords
from models.tasks import TASKS
from models.tasks.task import AnyTask, read_item
from models.text import BadInput, Encoded, Reader, ReadingLimits
from tests.tiny import make_items, make_tokenizer

TOKENIZER = make_tokenizer().backend_tokenizer
LIMITS = ReadingLimits(max_tokens=24)
KNOWN = KnownWords(("the", "film", "was", "good", "awful", "story", "very", "great"))
PLAIN = Reader(TOKENIZER, LIMITS)

TEXTS = st.text("fimlgod wastеоԁ\u200b\u00adéﬁ,.", max_size=80) | st.text(max_size=40)


def reader_of(task: AnyTask) -> Reader:
    return Reader(TOKENIZER, LIMITS, Correction(KNOWN, task.corrected_fields))


SENTIMENT = TASKS["sentiment"]
READER = reader_of(SENTIMENT)


def corrected(encoded: Encoded, field: str) -> str:
    text = encoded.texts[field]
    for span, to in reversed(encoded.corrections.get(field, ())):
        text = text[: span.start] + to + text[span.end :]
    return text


@settings(deadline=None)
@given(text=TEXTS)
def test_the_corrections_replaced_give_the_text_whose_tokens_are_read(text: str) -> None:
    try:
        encoded = READER.read(text)
    except BadInput:
        reject()
    assert encoded.texts == {"text": text}
    assert [row.ids for row in encoded.rows] == [row.ids for row in PLAIN.read(corrected(encoded, "text")).rows]
    assert not READER.read(corrected(encoded, "text")).corrections


@settings(deadline=None)
@given(text=TEXTS)
def test_tokens_stand_in_the_written_text_in_order(text: str) -> None:
    try:
        encoded = READER.read(text)
    except BadInput:
        reject()
    for row in encoded.rows:
        spans = [span for _, span in row.spans("text")]
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert spans == sorted(spans)


@settings(deadline=None)
@given(text=st.text("the film was good", max_size=60))
def test_a_text_without_corrections_is_read_as_if_there_were_none(text: str) -> None:
    try:
        encoded, plain = READER.read(text), PLAIN.read(text)
    except BadInput:
        reject()
    if not encoded.corrections:
        assert encoded.texts["text"] is text
        assert [(row.ids, row.spans("text")) for row in encoded.rows] == [
            (row.ids, row.spans("text")) for row in plain.rows
        ]


def test_tokens_of_a_corrected_word_have_the_place_of_what_was_written() -> None:
    encoded = READER.read("the flim\u200bs w\u0430s godo")
    assert corrected(encoded, "text") == "the flims was good"
    encoded = READER.read("teh flim w\u0430s godo")
    (row,) = encoded.rows
    assert row.encoding.tokens == ["[CLS]", "the", "film", "was", "good", "[SEP]"]
    assert [encoded.texts["text"][slice(*span)] for _, span in row.spans("text")] == ["teh", "flim", "w\u0430s", "godo"]


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.endpoint])
def test_words_are_corrected_in_the_fields_that_answers_do_not_quote(name: str) -> None:
    task = TASKS[name]
    (values,) = make_items(name, 1)
    spoilt = {
        field: [f"flim {one} \uff41" for one in value] if isinstance(value, list | tuple) else f"flim {value} \uff41"
        for field, value in values.items()
    }
    encoded = task.encode(read_item(task.item, spoilt), reader_of(task), "window")
    for field, text in encoded.texts.items():
        read = text.replace("\uff41", "a")
        is_corrected = field.partition("/")[0] in task.corrected_fields
        assert corrected(encoded, field) == (read.replace("flim", "film") if is_corrected else read)
        spans = [span for row in encoded.rows for _, span in row.spans(field)]
        assert text[slice(*spans[-1])] == "\uff41"


@pytest.mark.parametrize("name", ["ner", "extractive-reading-comprehension", "reading-comprehension"])
def test_names_and_quoted_texts_are_in_no_corrected_field(name: str) -> None:
    assert {"text", "tokens", "context"}.isdisjoint(TASKS[name].corrected_fields)


def test_a_text_of_unseen_signs_alone_is_empty() -> None:
    with pytest.raises(BadInput, match="holds no words"):
        READER.read("\u200b\u00ad")
