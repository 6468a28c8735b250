"""The names of columns and labels in data of other tools."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models.checkpoint import DataSource
from models.data import load_answered, load_items, load_part, load_train, load_validation, read_answers, read_texts
from models.files.layout import Layout, LayoutError, check_layout, find_columns, named_columns
from models.files.parts import DataError
from models.tasks import TASKS
from models.tasks.ner import NER
from models.tasks.nli import NLI
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask
from models.tasks.text_classification import MULTI_LABEL_CLASSIFICATION, TEXT_CLASSIFICATION
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer

LAYOUT = Layout(
    columns={"text": "body.plain", "label": "verdict"}, label_map={"thumbs up": "positive", "2": "negative"}
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))


@pytest.fixture
def data(tmp_path: Path) -> str:
    records = [
        {"body": {"plain": "good", "html": "<b>"}, "verdict": "Thumbs-Up", "label": "noise"},
        {"body": {"plain": "bad", "html": "<b>"}, "verdict": 2.0, "label": "noise"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(tmp_path)


def test_named_and_nested_columns_and_mapped_labels_are_read_wherever_a_part_is(data: str, reader: Reader) -> None:
    source = DataSource(data=data, train=("a",), validation="a", columns=LAYOUT.columns, label_map=LAYOUT.label_map)
    assert source.layout == LAYOUT
    outputs = SENTIMENT.outputs
    (trained,) = load_train(source, SENTIMENT, outputs, reader)
    answered = load_answered(data, "a", SENTIMENT, outputs, reader, layout=LAYOUT)
    for targets in (
        [example.target for example in trained.examples],
        [example.target for example in load_validation(source, SENTIMENT, outputs, reader).examples],
        [one.target for one in answered],
    ):
        assert targets == [1, 0]
    assert list(read_texts(source, SENTIMENT)) == [("good",), ("bad",)]
    assert list(read_answers(source, SENTIMENT)) == ["positive", "negative"]
    items = load_items(data, "a", SENTIMENT, layout=LAYOUT)
    assert [item.model_dump(exclude={"id"}) for item in items] == [{"text": "good"}, {"text": "bad"}]


def test_a_column_that_is_named_and_not_there_is_an_error_though_a_usual_one_is(data: str, reader: Reader) -> None:
    layout = Layout(columns={"label": "stars"})
    (Path(data) / "a.jsonl").write_text('{"text": "good", "label": 1}\n')
    with pytest.raises(DataError, match=r"a: no column 'stars'; there are: 'text', 'label'"):
        load_part(data, "a", "validation", SENTIMENT, SENTIMENT.outputs, reader, layout=layout)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("POS", "positive"), (" pos ", "positive"), (1, "negative"), (1.0, "negative"), ("1", "negative"),
        ("1.0", "negative"), (True, "yes"), ("true", "yes"), ("not there", "not there"), (None, None), (0.5, 0.5),
        (["B-PER", "O", "i-per", 7], ["B-person", "O", "i-person", 7]), ('["S-PER", "O"]', ["S-person", "O"]),
        ("e-pos", "e-pos"),
    ],
)  # fmt: skip
def test_labels_are_mapped_whatever_their_case_and_kind(answer: Any, expected: Any) -> None:
    layout = Layout(label_map={"pos": "positive", "1": "negative", "TRUE": "yes", "PER": "person"})
    assert layout.rename(answer) == expected


@pytest.mark.parametrize("answer", ["pos", 1, True, [], '["a"]', {"a": 1}])
def test_without_a_map_every_answer_stays_as_it_is(answer: Any) -> None:
    assert Layout().rename(answer) is answer


def test_a_label_that_cannot_be_matched_says_what_was_seen_and_what_is_accepted(tmp_path: Path, reader: Reader) -> None:
    layout = Layout(label_map={"pos": "positive", "so-so": "neutral"})
    for label, reason in {
        "meh": "label 'meh' is none of: 0 or 'negative', 1 or 'positive'; the label map has: 'pos', 'so-so'",
        "so-so": "label 'neutral' is none of: 0 or 'negative', 1 or 'positive'; the label map makes it of 'so-so'",
    }.items():
        (tmp_path / "a.jsonl").write_text(json.dumps({"text": "good", "label": label}))
        with pytest.raises(DataError) as error:
            load_part(str(tmp_path), "a", "validation", SENTIMENT, SENTIMENT.outputs, reader, layout=layout)
        assert str(error.value).endswith(reason)


def test_kinds_of_entities_are_mapped_under_their_tags(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["Ann", "Lee", "sings"], "ner_tags": ["B-PER", "I-PER", "O"]}\n')
    layout = Layout(label_map={"per": "person"})
    part = load_part(str(tmp_path), "a", "validation", NER, NER.outputs, reader, layout=layout)
    assert [NER.outputs.labels[number] for number in part.examples[0].target] == ["B-person", "I-person", "O"]


@pytest.mark.parametrize(
    ("task", "columns", "found"),
    [
        (SENTIMENT, ("review", "Sentiment"), ("review", "Sentiment")),
        (SENTIMENT, ("sentence", "idx", "Label"), ("sentence", "Label")),
        (TEXT_CLASSIFICATION, ("id", "Text", "Category"), ("Text", "Category")),
        (TEXT_CLASSIFICATION, ("text", "intent", "label_text"), ("text", "intent")),
        (NLI, ("gold_label", "sentence1", "sentence2"), ("sentence1", "sentence2", "gold_label")),
        (NLI, ("Premise", "Hypothesis", "labels"), ("Premise", "Hypothesis", "labels")),
        (PARAPHRASE, ("qid1", "question1", "question2", "is_duplicate"), ("question1", "question2", "is_duplicate")),
        (STS, ("sentence1", "sentence2", "similarity_score"), ("sentence1", "sentence2", "similarity_score")),
        (NER, ("id", "tokens", "pos_tags", "ner_tags"), ("tokens", "ner_tags")),
        (NER, ("words", "labels"), ("words", "labels")),
    ],
)
def test_usual_columns_of_published_data_are_found_by_themselves(
    task: AnyTask, columns: tuple[str, ...], found: tuple[str, ...]
) -> None:
    read = find_columns(columns, task, Layout(), has_answers=True)
    assert (*read.fields.values(), read.target) == found


def test_what_a_task_does_not_read_cannot_be_named() -> None:
    with pytest.raises(LayoutError, match="nli reads no text; columns can be named for: premise, hypothesis, label"):
        check_layout(Layout(columns={"text": "a"}), NLI)
    with pytest.raises(LayoutError, match="sts has no labels to map"):
        check_layout(Layout(label_map={"a": "b"}), STS)
    for task in TASKS.values():
        check_layout(Layout(columns=dict.fromkeys(named_columns(task), "a")), task)


def test_labels_that_differ_in_nothing_but_case_are_mapped_alike_or_refused() -> None:
    assert Layout(label_map={"Pos": "positive", "pos": "positive"}).rename("POS") == "positive"
    with pytest.raises(ValidationError, match="'Pos' and 'pos' differ in nothing but case or signs"):
        Layout(label_map={"Pos": "positive", "pos": "other"})


@pytest.mark.parametrize("name", ["1", "1.0", "01", " 1 "])
@pytest.mark.parametrize("answer", [1, 1.0, "1", "1.0", True])
def test_a_number_is_one_name_however_it_is_written(name: str, answer: Any) -> None:
    assert Layout(label_map={name: "positive"}).rename(answer) == "positive"


@pytest.mark.parametrize("label_map", [{"": "positive"}, {" ": "positive"}])
def test_an_empty_name_is_refused(label_map: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="a name is empty"):
        Layout(label_map=label_map)


def test_records_whose_label_stands_for_nothing_are_left_out_and_counted(tmp_path: Path, reader: Reader) -> None:
    lines = [{"text": "good", "label": "positive"}, {"text": "so", "label": "-"}, {"text": "what", "label": "-"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="2 of 3 records cannot be used; the first is record 2: label '-' is none of"):
        load_part(str(tmp_path), "a", "validation", SENTIMENT, SENTIMENT.outputs, reader)
    layout = Layout(label_map={"-": ""})
    part = load_part(str(tmp_path), "a", "validation", SENTIMENT, SENTIMENT.outputs, reader, layout=layout)
    assert (part.origin.rows, part.origin.bad_rows, part.origin.left_out_rows) == (1, 0, 2)
    assert layout.rename("?") == "?"


def test_a_kind_that_stands_for_nothing_leaves_its_words_outside() -> None:
    layout = Layout(label_map={"MISC": ""})
    assert layout.rename(["B-MISC", "I-MISC", "B-PER", "misc"]) == ["O", "O", "B-PER", "O"]


def test_names_given_later_win_one_by_one() -> None:
    earlier = Layout(columns={"text": "a", "label": "b"}, label_map={"1": "x"})
    assert Layout(columns={"text": "c"}).over(earlier) == Layout(
        columns={"text": "c", "label": "b"}, label_map={"1": "x"}
    )


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("zu spät|kaputt", ["late", "broken"]), (["kaputt", "late"], ["broken", "late"]), ("kaputt", ["broken"]),
        ('["zu spät"]', ["late"]), ("", []), ("a, b", ["both"]), ("E-zu spät", ["E-zu spät"]), (None, None),
    ],
)  # fmt: skip
def test_each_of_any_number_of_labels_is_mapped(answer: object, labels: object) -> None:
    layout = Layout(label_map={"zu spät": "late", "Kaputt": "broken", "a, b": "both"})
    assert layout.rename_answer(answer, TASKS["multi-label-classification"]) == labels


def test_names_that_stand_for_one_label_of_several_are_that_label_once() -> None:
    layout = Layout(label_map={"tardy": "late", "junk": ""})
    assert layout.rename_answer(["tardy", "late", "junk"], MULTI_LABEL_CLASSIFICATION) == ["late"]
    assert layout.rename_answer(["late", "late"], MULTI_LABEL_CLASSIFICATION) == ["late", "late"]
