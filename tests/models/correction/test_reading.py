"""Corrected reading: what each field is read as, with every token's place in the text that was written."""

import itertools
import string
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from models.correction.lookalikes import fold
from models.correction.reading import Correction
from models.correction.spelling import KnownWords
from models.tasks import TASKS
from models.tasks.task import AnyTask, TextItem, read_item
from models.text import BadInput, Encoded, Reader, ReadingLimits
from tests.tiny import make_items, make_tokenizer

TOKENIZER = make_tokenizer().backend_tokenizer
LIMITS = ReadingLimits(max_tokens=24)
KNOWN = KnownWords(("the", "film", "was", "good", "awful", "story", "very", "great"))
PLAIN = Reader(TOKENIZER, LIMITS)

TEXTS = st.text("fimlgod wastеоԁ\u200b\u00adéﬁ,.", max_size=80) | st.text(max_size=40)


SENTIMENT_CORRECTION = Correction(KNOWN, TASKS["sentiment"].corrected)


def reader_of(task: AnyTask) -> Reader:
    return Reader(TOKENIZER, LIMITS, Correction(KNOWN, task.corrected))


SENTIMENT = TASKS["sentiment"]
READER = reader_of(SENTIMENT)


def read_alone(correction: Correction, text: str) -> str:
    return correction.read({"text": text})["text"].text


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


CORRECTED = {
    "nli": {"premise", "hypothesis"},
    "sts": {"text_a", "text_b"},
    "paraphrase": {"text_a", "text_b"},
    "pair-classification": {"text_a", "text_b"},
    "reading-comprehension": {"question", "choices"},
    "extractive-reading-comprehension": {"question"},
}
"""The fields of items in which words are corrected, of the tasks that do not read `text` alone."""


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.endpoint])
def test_words_are_corrected_everywhere_but_in_contexts(name: str) -> None:
    task = TASKS[name]
    (values,) = make_items(name, 1)
    spoilt: dict[str, Any] = {}
    for field, value in values.items():
        # Words of a context are right in its question.
        word = "fillm" if field == "context" else "flim"
        is_list = isinstance(value, list | tuple)
        spoilt[field] = [f"{word} {one} \uff41" for one in value] if is_list else f"{word} {value} \uff41"
    encoded = task.encode(read_item(task.item, spoilt), reader_of(task), "window")
    for field, text in encoded.texts.items():
        read = text.replace("\uff41", "a")
        is_corrected = field.partition("/")[0] in CORRECTED.get(name, {"text"})
        assert corrected(encoded, field) == (read.replace("flim", "film") if is_corrected else read)
        spans = [span for row in encoded.rows for _, span in row.spans(field)]
        assert text[slice(*spans[-1])] == "\uff41"


def test_only_where_names_are_asked_for_are_they_corrected_as_readily_as_other_words() -> None:
    # Far down the list, where the chance of an error in the word is below that of a name that no list has.
    known = KnownWords([*map("".join, itertools.product(string.ascii_lowercase, repeat=3)), "jamaica", "cat"])
    read = {
        name: [read_alone(Correction(known, TASKS[name].corrected), word) for word in ("Jamaicca", "jamaicca")]
        for name in ("ner", "sentiment")
    }
    assert read == {"ner": ["Jamaica", "jamaica"], "sentiment": ["Jamaicca", "jamaica"]}


WRITTEN = ["the", "flim", "w\u0430s", "Goood"]


@pytest.mark.parametrize("item", [{"text": " ".join(WRITTEN)}, {"tokens": WRITTEN}])
def test_words_that_entities_are_made_of_are_those_that_were_written(item: dict[str, Any]) -> None:
    task = TASKS["ner"]
    kind = task.item if "text" in item else task.example
    assert kind is not None
    encoded = task.encode(read_item(kind, item), reader_of(task), "window")
    (row,) = encoded.rows
    ((field, text),) = encoded.texts.items()
    assert row.encoding.tokens == ["[CLS]", "the", "film", "was", "good", "[SEP]"]
    assert [text[slice(*word)] for word in encoded.words] == WRITTEN
    assert [span for _, span in row.spans(field)] == [*encoded.words]


def test_entities_are_made_of_the_words_that_are_read() -> None:
    text = "the fi\u200blm mov ie \u200bfli\u200bm \ufb01lm Smith\u2105Jones phone\u2122\u2026"
    known = KnownWords(("the", "film", "movie"))
    reader = Reader(TOKENIZER, LIMITS, Correction(known, TASKS["ner"].corrected))
    encoded = TASKS["ner"].encode(TextItem(text=text), reader, "window")
    read = [text[slice(*word)] for word in encoded.words]
    assert read[:6] == ["the", "fi\u200blm", "mov", "ie", "fli\u200bm", "\ufb01lm"]
    assert read[6:] == ["Smith", "\u2105", "Jones", "phone", "\u2122", "\u2026"]


@settings(deadline=None)
@given(
    text=st.text("aflim .\u200b\u00ad\ufb01\u2105\u2122\u2026\u33c2\ufdfa\u309f\u00bd", max_size=20)
    | st.text(max_size=40)
)
def test_words_that_entities_are_made_of_never_overlap(text: str) -> None:
    try:
        encoded = TASKS["ner"].encode(TextItem(text=text), reader_of(TASKS["ner"]), "window")
    except BadInput:
        reject()
    ends = [0, *(word.end for word in encoded.words)]
    assert all(end <= word.start < word.end <= len(text) for end, word in zip(ends, encoded.words, strict=False))


def test_where_names_are_asked_for_no_two_words_are_read_as_one() -> None:
    known = KnownWords(("the", "film", "movie"))
    read = {name: read_alone(Correction(known, TASKS[name].corrected), "mov ie") for name in ("ner", "sentiment")}
    assert read == {"ner": "mov ie", "sentiment": "movie"}


READING = TASKS["reading-comprehension"]


def read_question(context: str, question: str, *choices: str) -> list[str]:
    texts = {"context": context, "question": question, **{f"choices/{n}": one for n, one in enumerate(choices)}}
    return [one.text for one in Correction(KNOWN, READING.corrected).read(texts).values()]


def test_words_of_the_context_are_right_in_questions_and_choices() -> None:
    context = "Flim was stroy, and stroy was great."
    read = read_question(context, "the flim was greta", "awfull stroy", "goood FLIM")
    assert read == [context, "the flim was great", "awful stroy", "good FLIM"]
    assert read_question("the st ory", "the st ory", "mo vie", "x")[1] == "the st ory"
    assert read_question("the film was great", "the flim", "stroy", "good") == [
        "the film was great",
        "the film",
        "story",
        "good",
    ]


@settings(deadline=None)
@given(texts=st.lists(st.text("teh film Fws\u200b", min_size=1, max_size=16), min_size=4, max_size=6))
def test_the_texts_of_an_item_that_was_corrected_are_read_as_they_are(texts: list[str]) -> None:
    fields = ["context", "question", *(f"choices/{number}" for number, _ in enumerate(texts[2:]))]
    correction = Correction(KNOWN, READING.corrected)
    read = {field: one.text for field, one in correction.read(dict(zip(fields, texts, strict=True))).items()}
    assert {field: one.text for field, one in correction.read(read).items()} == read
    assert len({read[field].lower() for field in fields[2:]}) == len({fold(text).text.lower() for text in texts[2:]})


def test_a_word_that_stays_as_a_name_is_one_in_small_letters_too() -> None:
    # Far down the list, where the chance of an error in the word is below that of a name that no list has.
    known = KnownWords([*map("".join, itertools.product(string.ascii_lowercase, repeat=3)), "jamaica", "cat"])
    correction = Correction(known, TASKS["paraphrase"].corrected)
    pairs = [("I met jamaicca.", "I met Jamaicca."), ("Jamaicca met jamaicca.", "x"), ("jamaicca", "jamaicca")]
    read = [[one.text for one in correction.read({"text_a": a, "text_b": b}).values()] for a, b in pairs]
    assert read == [[*pairs[0]], [*pairs[1]], ["jamaica", "jamaica"]]
    # Words in capitals for stress are no names, nor are halves of words.
    assert read_alone(SENTIMENT_CORRECTION, "teh TEH film, a flim FLIM") == "the TEH film, a film FLIM"
    assert read_alone(SENTIMENT_CORRECTION, "Stor y, a stor") == "Story, a story"


def test_choices_that_differ_are_not_read_alike() -> None:
    read = read_question("it was great", "the flim", "the flim was goood", "The film was good", "teh story")
    assert read[1:] == ["the film", "the flim was goood", "The film was good", "the story"]
    # Of two texts that are asked to be compared, one may be misspelt.
    item = read_item(TASKS["paraphrase"].item, {"text_a": "the flim", "text_b": "the film"})
    encoded = TASKS["paraphrase"].encode(item, reader_of(TASKS["paraphrase"]), "window")
    assert corrected(encoded, "text_a") == "the film"


def test_a_text_of_unseen_signs_alone_is_empty() -> None:
    with pytest.raises(BadInput, match="holds no words"):
        READER.read("\u200b\u00ad")
