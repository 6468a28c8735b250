"""Files as annotation tools write them: the right words, tags and labels come out, whatever their shape and order."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import DataSource
from models.data import load_answered, load_items, load_part, load_train, read_answers
from models.files.layout import Layout
from models.files.parts import DataError
from models.tasks.ner import NER
from models.tasks.task import AnyTask, Outputs
from models.tasks.text_classification import TEXT_CLASSIFICATION
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer

GOLDEN = Path(__file__).parent / "golden"

KINDS = ("LOC", "Location", "MISC", "ORG", "PER", "PERSON")
ENTITIES = Outputs(("O", *(f"{place}-{kind}" for kind in KINDS for place in "BI")))

TAGGED: dict[str, list[str]] = {
    "conll2003": ["EU/B-ORG rejects/O German/B-MISC call/O ./O", "Peter/B-PER Blackburn/I-PER"],
    "iob1_tabs": ['Ann/B-PER Lee/I-PER met/O Bo/B-PER Cy/B-PER "/O', "#Rome/B-LOC is/O far/O"],
    "label_studio_conll": ["Showers/O in/O Bahia/B-Location", "Rain/O"],
    "doccano_spans": [
        "EU/B-ORG rejects/O German/B-MISC call/O ./O",
        "Nobody/O came/O ./O",
        "東/B-LOC 京/I-LOC 都/I-LOC 渋/O 谷/O 区/O",
    ],
    "doccano_relations": ["Ann/B-PER Lee/I-PER lives/O in/O Rome/B-LOC"],
    "label_studio": ["😀/O Ann/B-PER Lee/I-PER sang/O in/O Rome/B-LOC ./O", "Nobody/O came/O ./O"],
    "label_studio_minimal": ["Ann/B-PER sang/O ./O", "Nobody/O came/O ./O"],
    "label_studio_table": ["Ann/B-PER sang/O ./O", "Nobody/O came/O ./O"],
    "spacy_pairs": [
        "Who/O is/O Shaka/B-PERSON Khan/I-PERSON ?/O",
        "I/O like/O London/B-LOC and/O Berlin/B-LOC ./O",
    ],
    "spacy_annotator": ["Ann/B-PER sang/O in/O Rome/B-LOC ./O", "Nobody/O came/O ./O"],
    "spacy_documents": ["Ann/B-PER Lee/I-PER sang/O ./O Bo/B-PER left/O ./O", "Nobody/O came/O ./O"],
    "prodigy": ["Apple/B-ORG paid/O U.S./B-LOC firms/O"],
}

LABELLED: dict[str, tuple[dict[str, str], list[str]]] = {
    "doccano_classes": ({}, ["a lovely film/pos", "a dull plot/neg"]),
    "label_studio": ({}, ["😀 Ann Lee sang in\nRome./Positive", "Nobody came./Negative"]),
    "label_studio_minimal": ({}, ["Ann sang./Positive", "Nobody came./Negative"]),
    "label_studio_table": ({}, ["Ann sang./Positive", "Nobody came./Negative"]),
    "spacy_documents": ({}, ["Ann Lee sang. Bo left./news", "Nobody came./sport"]),
}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=64))


def test_every_golden_file_is_read() -> None:
    assert {path.name.partition(".")[0] for path in GOLDEN.iterdir()} == TAGGED.keys() | LABELLED.keys()


@pytest.mark.parametrize("name", TAGGED)
def test_spans_and_columns_become_words_with_tags(name: str, reader: Reader) -> None:
    part = load_part(str(GOLDEN), name, "train", NER, ENTITIES, reader)
    assert part.origin.bad_rows == 0
    assert [_show(example.item, example.target) for example in part.examples] == TAGGED[name]


@pytest.mark.parametrize("name", TAGGED)
def test_every_other_reader_sees_the_same_words(name: str, reader: Reader) -> None:
    source = DataSource(data=str(GOLDEN), train=(name,), validation=name)
    expected = [[word.rpartition("/")[0] for word in line.split(" ")] for line in TAGGED[name]]
    (trained,) = load_train(source, NER, ENTITIES, reader)
    answered = load_answered(str(GOLDEN), name, NER, ENTITIES, reader)
    assert [list(one.item.tokens) for one in answered] == expected  # type: ignore[attr-defined]
    assert [one.item for one in trained.examples] == [one.item for one in answered]
    assert [item.text for item in load_items(str(GOLDEN), name, NER)] == [" ".join(words) for words in expected]  # type: ignore[attr-defined]
    assert len(list(read_answers(source, NER))) == len(expected)


@pytest.mark.parametrize("name", LABELLED)
def test_choices_and_categories_become_labels(name: str, reader: Reader) -> None:
    columns, expected = LABELLED[name]
    layout = Layout(columns=columns)
    source = DataSource(data=str(GOLDEN), train=(name,), validation=name, columns=columns)
    labels = Outputs(tuple(sorted(set(read_answers(source, TEXT_CLASSIFICATION)))))
    part = load_part(str(GOLDEN), name, "validation", TEXT_CLASSIFICATION, labels, reader, layout=layout)
    shown = [f"{example.item.text}/{labels.labels[example.target]}" for example in part.examples]  # type: ignore[union-attr]
    assert shown == expected


def test_what_annotators_skipped_is_left_out_and_counted(reader: Reader) -> None:
    for name in ("label_studio", "spacy_annotator"):
        origin = load_part(str(GOLDEN), name, "train", NER, ENTITIES, reader).origin
        assert (origin.rows, origin.bad_rows, origin.left_out_rows) == (2, 0, 1)


def _show(item: Any, target: Any) -> str:
    return " ".join(f"{token}/{ENTITIES.labels[tag]}" for token, tag in zip(item.tokens, target, strict=True))


def _reason(folder: Path, record: Any, task: AnyTask, reader: Reader, layout: Layout | None = None) -> str:
    (folder / "a.json").write_text(json.dumps([record]))
    outputs = ENTITIES if task is NER else Outputs(("Negative", "Positive"))
    with pytest.raises(DataError) as error:
        load_part(str(folder), "a", "train", task, outputs, reader, layout=layout or Layout())
    return str(error.value)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([[0, 30, "PER"]], "the span 0:30 ends behind the text, which has 20 characters"),
        ([[3, 3, "PER"]], "the span 3:3 does not begin before it ends"),
        ([[-2, 3, "PER"]], "the span -2:3 does not begin before it ends"),
        ([[0, 7, "PER"], [4, 12, "PER"]], "the spans 0:7 and 4:12 overlap"),
        ([[0, 7, "PER"], [0, 7, "ORG"]], "the spans 0:7 and 0:7 overlap"),
        ([[0, 2, "PER"]], "the span 0:2 ('An') ends inside of a word, 'Ann'"),
        ([[3, 4, "PER"]], "the span 3:4 holds nothing but white space"),
        ([["0", 3, "PER"]], "a span has whole numbers for its start and end, unlike ['0', 3, 'PER']"),
        ([[0, 3, "PER"], [4, 7]], "a span is [start, end, kind] or an object with these, not [4, 7]"),
        ([{"start": 0, "end": 3, "labels": ["PER", "ORG"]}], "a span has one kind, unlike"),
        ([{"start": 0, "end": 3, "text": "Bob", "label": "PER"}], "the span 0:3 holds 'Ann', where the export"),
    ],
)  # fmt: skip
def test_a_span_that_cannot_be_kept_makes_a_bad_record_with_a_reason(
    spans: list[Any], reason: str, tmp_path: Path, reader: Reader
) -> None:
    record = {"text": "Ann Lee-like person.", "entities": spans}
    assert f"a: 1 of 1 records cannot be used; the first is record 1: {reason}" in _reason(
        tmp_path, record, NER, reader
    )


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ([0, 8, "PER"], "Ann/B-PER Lee-/I-PER like/O person/O ./O"),
        ([0, 7, "PER"], "Ann/B-PER Lee/I-PER -like/O person/O ./O"),
        ([0, 4, "PER"], "Ann/B-PER Lee-like/O person/O ./O"),
        ([4, 12, "PER"], "Ann/O Lee-like/B-PER person/O ./O"),
        ([8, 12, "MISC"], "Ann/O Lee-/O like/B-MISC person/O ./O"),
        ([0, 20, "MISC"], "Ann/B-MISC Lee-like/I-MISC person/I-MISC ./I-MISC"),
    ],
)
def test_a_span_is_fitted_to_words_and_cuts_them_at_signs_alone(
    span: list[Any], words: str, tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ann Lee-like person.", "label": [span]}))
    (example,) = load_part(str(tmp_path), "a", "train", NER, ENTITIES, reader).examples
    assert _show(example.item, example.target) == words


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"text": "Ann Lee", "tags": [], "my_spans": [[0, 7, "PER"]]}, "Ann/B-PER Lee/I-PER"),
        ({"text": "Ann Lee", "entities": [], "spans": [[0, 7, "PER"]]}, "Ann/B-PER Lee/I-PER"),
        ({"text": "Ann Lee", "entities": []}, "Ann/O Lee/O"),
    ],
)
def test_an_empty_column_hides_no_spans_in_another(
    record: dict[str, Any], words: str, tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    (example,) = load_part(str(tmp_path), "a", "train", NER, ENTITIES, reader).examples
    assert _show(example.item, example.target) == words


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_a_label_that_an_annotator_refused_is_left_out(answer: str, tmp_path: Path, reader: Reader) -> None:
    rows = [
        {"text": "good", "label": "Positive", "answer": "accept"},
        {"text": "x", "label": "Negative", "answer": answer},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outputs = Outputs(("Negative", "Positive"))
    origin = load_part(str(tmp_path), "a", "train", TEXT_CLASSIFICATION, outputs, reader).origin
    assert (origin.rows, origin.bad_rows, origin.left_out_rows) == (1, 0, 1)


def test_a_tag_that_the_label_map_does_not_name_stays_what_it_is(tmp_path: Path, reader: Reader) -> None:
    layout = Layout(label_map={"person": "PER", "junk": "O"})
    labels = Outputs(("B-PER", "I-PER", "O"))
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"tokens": ["Ann", "x", "y"], "tags": [0, 2, 2]})
        + "\n"
        + json.dumps({"tokens": ["Bo", "x", "y"], "tags": ["B-person", "B-junk", "O"]})
    )
    examples = load_part(str(tmp_path), "a", "train", NER, labels, reader, layout=layout).examples
    assert [list(example.target) for example in examples] == [[0, 2, 2], [0, 2, 2]]
    assert "tag" in _reason(tmp_path, {"tokens": ["Ann"], "tags": [None]}, NER, reader, layout)


@pytest.mark.parametrize(
    "record",
    [
        {"text": "good", "label": "Positive", "paragraphs": [{"sentences": ["A b."]}]},
        {"text": "good", "label": "Positive", "paragraphs": [{"sentences": 3}]},
        {"text": "good", "label": "Positive", "annotations": [["note", {"entities": []}]]},
    ],
)
def test_a_record_with_a_text_of_its_own_is_no_collection(
    record: dict[str, Any], tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    outputs = Outputs(("Negative", "Positive"))
    (example,) = load_part(str(tmp_path), "a", "train", TEXT_CLASSIFICATION, outputs, reader).examples
    assert (example.item.text, example.target) == ("good", 1)  # type: ignore[union-attr]


@pytest.mark.parametrize("result", [["x"], {"a": 1}, 3])
def test_a_result_of_another_shape_makes_a_bad_record(result: Any, tmp_path: Path, reader: Reader) -> None:
    record = {"data": {"text": "Ann"}, "annotations": [{"result": result}]}
    assert "the result of an annotation is a list of objects" in _reason(tmp_path, record, NER, reader)
