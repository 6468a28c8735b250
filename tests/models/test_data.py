"""Reading examples from folders and hubs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from models.checkpoint import DataSource
from models.data import (
    Part,
    check_columns,
    draw_rows,
    load_answered,
    load_part,
    load_train,
    load_unlabelled,
    read_texts,
)
from models.files.layout import Layout
from models.files.parts import DataError
from models.tasks.ner import NER
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import Outputs
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))


def _load(folder: Path | str, name: str, reader: Reader) -> Part:
    return load_part(str(folder), name, "validation", SENTIMENT, SENTIMENT.outputs, reader)


def test_labels_are_read_as_numbers_or_by_name(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": 1}\n{"text": "bad", "label": "negative"}\n')
    assert [example.target for example in _load(tmp_path, "a", reader).examples] == [1, 0]


def test_a_column_may_have_another_usual_name(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"review": "good", "label": 1}\n')
    assert _load(tmp_path, "a", reader).examples[0].encoded.texts == {"text": "good"}


def test_the_origin_names_the_file_by_digest_and_counts_its_rows(tmp_path: Path, reader: Reader) -> None:
    lines = [json.dumps({"text": "good", "label": 1})] * 150 + ["{broken"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    origin = _load(tmp_path, "a", reader).origin
    assert origin.sha256 == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert (origin.rows, origin.bad_rows) == (150, 1)


def test_a_missing_text_is_one_short_reason(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null, "label": 1}\n')
    with pytest.raises(DataError, match=r"record 1: text: must be a text$"):
        _load(tmp_path, "a", reader)


def test_one_bad_row_in_a_hundred_is_passed_over(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": 1}\n' * 99 + "{broken\n")
    assert _load(tmp_path, "a", reader).origin.bad_rows == 1


def test_many_bad_rows_are_an_error_that_shows_the_first(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": 1}\n{"text": "", "label": 1}\n')
    with pytest.raises(DataError, match="1 of 2 records cannot be used; the first is record 2: holds no words"):
        _load(tmp_path, "a", reader)


def test_an_empty_part_is_an_error(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(DataError, match="a: no records"):
        _load(tmp_path, "a", reader)


def test_a_part_that_is_there_twice_is_refused(tmp_path: Path, reader: Reader) -> None:
    for ending in ("jsonl", "csv"):
        (tmp_path / f"a.{ending}").write_text("x")
    with pytest.raises(DataError, match=r"part 'a' is there twice: a\.csv, a\.jsonl"):
        _load(tmp_path, "a", reader)


def test_long_texts_are_cut_for_training_and_windowed_for_measuring(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "good film " * 20, "label": 1}))
    source = DataSource(data=str(tmp_path), train=("a",), validation="a")
    (trained,) = load_train(source, SENTIMENT, SENTIMENT.outputs, reader)
    assert len(trained.examples[0].encoded.rows) == 1
    assert len(_load(tmp_path, "a", reader).examples[0].encoded.rows) > 1


def _write_numbers(folder: Path, name: str, count: int) -> None:
    (folder / f"{name}.jsonl").write_text(
        "".join(json.dumps({"text": f"{name} {number}", "label": 1}) + "\n" for number in range(count))
    )


def _drawn(folder: Path, reader: Reader, rows: int | None) -> list[str]:
    source = DataSource(data=str(folder), train=("a", "b", "c"))
    parts = load_train(source, SENTIMENT, SENTIMENT.outputs, reader, rows)
    assert [len(part.examples) for part in parts] == [part.origin.rows for part in parts]
    return [example.encoded.texts["text"] for part in parts for example in part.examples]


def test_drawn_rows_come_from_all_parts_in_their_order_and_are_always_the_same(tmp_path: Path, reader: Reader) -> None:
    for name, count in {"a": 40, "b": 1, "c": 30}.items():
        _write_numbers(tmp_path, name, count)
    drawn, everything = _drawn(tmp_path, reader, 20), _drawn(tmp_path, reader, None)
    assert len(set(drawn)) == 20
    assert drawn == [text for text in everything if text in drawn] == _drawn(tmp_path, reader, 20)
    assert {text[0] for text in drawn} >= {"a", "c"}
    assert _drawn(tmp_path, reader, 71) == everything


def test_the_smallest_group_is_drawn_where_each_is_larger_than_was_asked_for() -> None:
    assert list(draw_rows(range(6), 1, ["a", "a", "a", "b", "b", "c"])) == [5]
    assert list(draw_rows(range(5), 1, ["a", "a", "a", "b", "b"])) == [3, 4]
    assert len(draw_rows(range(6), 5, ["a", "a", "b", "b", "c", "c"])) == 4
    assert len(draw_rows(range(120), 10, [*(["large"] * 100), *map(str, range(20))])) == 10


def test_more_rows_than_there_are_is_an_error(tmp_path: Path, reader: Reader) -> None:
    for name in ("a", "b", "c"):
        _write_numbers(tmp_path, name, 3)
    with pytest.raises(DataError, match="rows: 10 are wanted, and a, b, c hold 9"):
        _drawn(tmp_path, reader, 10)


def test_rows_that_are_versions_of_each_other_are_a_group(tmp_path: Path, reader: Reader) -> None:
    rows = [{"text": "good", "label": 1, "pair_id": 7}, {"text": "good", "label": 1}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [example.group for example in _load(tmp_path, "a", reader).examples] == ["7", None]


def test_unlabelled_parts_need_no_answers_and_do_not_read_them(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "bare.jsonl").write_text(json.dumps({"text": "good film " * 20}))
    (tmp_path / "odd.jsonl").write_text('{"text": "good", "label": "no such label"}\n')
    source = DataSource(data=str(tmp_path), unlabelled=("bare", "odd"))
    parts = load_unlabelled(source, SENTIMENT, SENTIMENT.outputs, reader)
    assert [(part.origin.part, part.origin.name, part.origin.rows) for part in parts] == [
        ("unlabelled", "bare", 1),
        ("unlabelled", "odd", 1),
    ]
    assert [part.examples[0].target for part in parts] == [None, None]
    assert len(parts[0].examples[0].encoded.rows) == 1


def test_a_hub_that_cannot_be_reached_is_a_clear_error(reader: Reader) -> None:
    with pytest.raises(
        DataError, match="'some/where:there' is neither a folder here nor a data set that could be fetched"
    ):
        _load("some/where:there", "train", reader)


def _hub(monkeypatch: pytest.MonkeyPatch, label: Any, values: list[Any], **columns: Any) -> None:
    """Let the library `datasets` find these records, whose answers are of the type `label`."""
    texts = columns or {"text": [f"text {number}" for number in range(len(values))]}
    name = "tags" if isinstance(label, Sequence) else "label"
    types = {column: datasets.Sequence(Value("string")) if name == "tags" else Value("string") for column in texts}
    found = Dataset.from_dict({**texts, name: values}, features=Features({**types, name: label}))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)


@pytest.mark.parametrize(
    ("labels", "names", "label_map", "targets"),
    [
        (("negative", "positive"), ["pos", "neg"], {}, [1, 0]),
        (("bad", "good"), ["positive", "negative"], {}, [1, 0]),
        (("negative", "positive"), ["Up", "down"], {"up": "positive", "down": "negative"}, [1, 0]),
        (("2", "1"), ["1", "2"], {}, [1, 0]),
        (("negative", "positive"), ["pos", "neg", "neutral"], {"neutral": "negative"}, [1, 0, 0]),
        # Where the model has none of the names, or only in their places, a number is a place.
        (("negative", "positive"), ["1", "2"], {}, [0, 1]),
        (("fine", "bland"), ["pos", "neg"], {}, [0, 1]),
        (("negative", "neutral", "positive"), ["negative", "in between", "positive"], {}, [0, 1, 2]),
        # What the user says of numbers holds.
        (("negative", "positive"), ["neg", "pos"], {"0": "positive", "1": "negative"}, [1, 0]),
    ],
)
def test_numbers_of_a_hubs_classes_are_read_by_their_names(
    labels: tuple[str, ...], names: list[str], label_map: dict[str, str], targets: list[int],
    reader: Reader, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _hub(monkeypatch, ClassLabel(names=names), list(range(len(names))))
    layout, outputs = Layout(label_map=label_map), Outputs(labels)
    part = load_part("owner/x", "test", "validation", SENTIMENT, outputs, reader, layout=layout)
    assert [example.target for example in part.examples] == targets
    answered = load_answered("owner/x", "test", SENTIMENT, outputs, reader, layout=layout)
    assert [one.target for one in answered] == targets


def test_classes_of_which_a_model_has_some_in_other_places_are_refused(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hub(monkeypatch, ClassLabel(names=["negative", "neutral", "positive"]), [0, 1, 2])
    message = (
        "^test: its class 2 is 'positive', which is label 1 here, and 'negative', 'positive' have none for 'neutral'; "
        "say with --label-map which label each name stands for$"
    )
    with pytest.raises(DataError, match=message):
        _load("owner/x", "test", reader)


@pytest.mark.parametrize(("kind", "label_map"), [("person", {}), ("PER", {"PER": "person"})])
def test_tags_of_a_hub_are_read_by_their_names(
    kind: str, label_map: dict[str, str], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hub(
        monkeypatch, Sequence(ClassLabel(names=[f"B-{kind}", f"I-{kind}", "O"])), [[0, 1, 2]], tokens=[["A", "B", "c"]]
    )
    layout = Layout(label_map=label_map)
    (example,) = load_part("owner/x", "test", "validation", NER, NER.outputs, reader, layout=layout).examples
    assert [NER.outputs.labels[number] for number in example.target] == ["B-person", "I-person", "O"]


@pytest.mark.parametrize("place", [0, 1, 199])
def test_a_record_without_a_key_is_a_bad_record_wherever_it_stands(tmp_path: Path, reader: Reader, place: int) -> None:
    lines = ['{"text": "good", "label": 1}'] * 200
    lines[place] = '{"label": 1}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    origin = _load(tmp_path, "a", reader).origin
    assert (origin.rows, origin.bad_rows) == (199, 1)
    check_columns(str(tmp_path), "a", SENTIMENT)
    texts = read_texts(DataSource(data=str(tmp_path), train=("a",)), SENTIMENT)
    assert [text for text in texts if text] == [("good",)] * 199


@pytest.mark.parametrize("count", [1, 2_000])
def test_a_part_of_which_no_record_has_the_columns_is_an_error_that_names_them(
    tmp_path: Path, reader: Reader, count: int
) -> None:
    (tmp_path / "a.jsonl").write_text('{"words": "good", "label": 1}\n' * count)
    for read in (lambda: _load(tmp_path, "a", reader), lambda: check_columns(str(tmp_path), "a", SENTIMENT)):
        with pytest.raises(DataError, match=r"^a: no column 'text' or .*; there are: 'words', 'label'$"):
            read()


@pytest.mark.parametrize("column", ["label", "labels", "Label", "gold_label", "target", "class"])
def test_right_answers_are_found_under_their_usual_names(tmp_path: Path, reader: Reader, column: str) -> None:
    (tmp_path / "a.csv").write_text(f"Text,{column}\ngood,Positive\nbad,0.0\n")
    assert [example.target for example in _load(tmp_path, "a", reader).examples] == [1, 0]


def test_a_part_without_right_answers_is_an_error_that_names_its_columns(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.csv").write_text("text,stars\ngood,5\n")
    with pytest.raises(DataError, match=r"a: no column 'label' or .*; there are: 'text', 'stars'"):
        _load(tmp_path, "a", reader)


def test_tags_are_found_under_their_usual_name(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["Ann", "sings"], "ner_tags": ["B-PERSON", "O"]}\n')
    part = load_part(str(tmp_path), "a", "validation", NER, NER.outputs, reader)
    assert [NER.outputs.labels[number] for number in part.examples[0].target] == ["B-person", "O"]
