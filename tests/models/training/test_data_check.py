"""What a look through a data set finds."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.files.layout import USUAL_LAYOUT, Layout
from models.files.parts import DataError
from models.tasks.ner import NER
from models.tasks.nli import NLI
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask, Outputs
from models.tasks.text_classification import MULTI_LABEL_CLASSIFICATION
from models.training.data_check import DataReport, Leak, Lengths, check_data, find_parts, find_reader


def _write(folder: Path, name: str, records: list[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _check(folder: Path, task: AnyTask, layout: Layout = USUAL_LAYOUT, max_tokens: int = 8) -> DataReport:
    parts = find_parts(folder)
    return check_data(str(folder), parts, task, task.outputs, find_reader(None), layout, max_tokens, lambda *_: None)


def test_duplicates_conflicts_leaks_labels_and_lengths_are_counted(tmp_path: Path) -> None:
    rows = [("good", 1), ("bad", 0), ("good", 1), ("so so", 0), ("so so", 1), ("a b c d e f g h i", 1)]
    _write(tmp_path, "train", [{"review": text, "Label": label} for text, label in rows])
    _write(tmp_path, "validation", [{"text": "bad", "label": "pos"}, {"text": "new", "label": "neg"}])
    report = _check(tmp_path, SENTIMENT)
    train, validation = report.parts
    assert train.columns == {"text": "review", "label": "Label"}
    assert (train.records, train.bad, train.duplicates, train.conflicting) == (6, 0, 2, 1)
    assert train.labels == {"positive": 4, "negative": 2}
    assert train.lengths == Lengths(median=1, most=9, longest=9, cut=1)
    assert report.leaks == (Leak(("train", "validation"), texts=1, conflicting=1),)
    assert validation.fault is None
    assert report.is_usable


def test_a_part_is_usable_just_where_training_takes_it(tmp_path: Path) -> None:
    good = [{"text": f"good {number}", "label": 1} for number in range(99)]
    _write(tmp_path, "a", [*good, {"text": "x", "label": "meh"}])
    _write(tmp_path, "b", [*good[1:], {"text": "x", "label": "meh"}, {"label": 1}])
    _write(tmp_path, "c", [{"body": "x", "stars": 1}])
    _write(tmp_path, "d", [])
    report = _check(tmp_path, SENTIMENT)
    assert [part.fault for part in report.parts] == [
        None,
        "2 of 100 records cannot be used",
        "c: no column 'label' or 'labels' or 'gold_label' or 'target' or 'class' or 'category' or 'intent' or 'topic' "
        "or 'stance' or 'sentiment' or 'polarity' or 'is_duplicate'; there are: 'body', 'stars'",
        "no records",
    ]
    assert report.parts[1].reasons == (
        "record 99: label 'meh' is none of: 0 or 'negative', 1 or 'positive'",
        "record 100: text: must be a text",
    )
    assert not report.is_usable


def test_pairs_are_the_same_where_both_texts_are(tmp_path: Path) -> None:
    rows = [("a", "b", 0), ("a", "c", 0), ("a", "b", 1), ("a", "b", "-")]
    _write(tmp_path, "train", [{"premise": one, "hypothesis": two, "label": label} for one, two, label in rows])
    (part,) = _check(tmp_path, NLI, Layout(label_map={"-": ""})).parts
    assert (part.records, part.left_out, part.duplicates, part.conflicting) == (4, 1, 1, 1)


def test_of_entities_each_is_counted_and_scores_have_no_mix(tmp_path: Path) -> None:
    _write(tmp_path, "train", [{"text": "Ann Lee met Bo", "spans": [[0, 7, "person"], [12, 14, "group"]]}])
    (part,) = _check(tmp_path, NER).parts
    assert part.labels == {"group": 1, "person": 1}
    _write(tmp_path, "train", [{"sentence1": "a", "sentence2": "b", "score": 2.5}])
    (part,) = _check(tmp_path, STS).parts
    assert (part.records, part.labels) == (1, {})


def test_a_folder_without_data_or_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data files at all"):
        find_parts(tmp_path)
    with pytest.raises(DataError, match=r"no tokenizer\.json; name a folder of a model"):
        find_reader(tmp_path)


def test_each_of_several_labels_of_a_text_is_counted_and_one_without_a_name_is_none(tmp_path: Path) -> None:
    rows = [["late", "broken"], ["late"], [], ["late", "junk"]]
    _write(tmp_path, "train", [{"text": f"text {number}", "labels": row} for number, row in enumerate(rows)])
    outputs = Outputs(("broken", "late"), label_threshold=0.5)
    layout = Layout(label_map={"junk": ""})
    task = MULTI_LABEL_CLASSIFICATION
    report = check_data(
        str(tmp_path), ["train"], task, outputs, find_reader(None), layout, max_tokens=8, progress=lambda *_: None
    )
    assert report.parts[0].labels == {"late": 3, "broken": 1}
    assert (report.parts[0].bad, report.parts[0].left_out) == (0, 0)
