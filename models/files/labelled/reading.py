"""Records of annotation tools as training reads them: a text with one label, or words with a tag each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.files.formats import Records
from models.files.labelled import label_studio, spacy_json
from models.files.labelled.spans import are_spans, read_spans, tag_words
from models.files.layout import TARGET_COLUMNS, Layout
from models.files.rows import BadRecord, LeftOutRecord, Record, UnknownColumn, find_column, look_up
from models.tasks.task import AnyTask, parse_list

SPAN_COLUMNS = ("entities", "spans", "label", "labels", "tags")
"""Names of the column of spans; the first that holds some is taken, else the only column that does."""

_REFUSED = ("reject", "ignore")
"""Answers of Prodigy's annotators to a text whose spans or label do not hold."""

_ANSWERS = frozenset(name for names in TARGET_COLUMNS.values() for name in names)


def unfold(records: Records) -> Records:
    """The records, with those of an object that holds several of them in its place."""
    shift = 0
    for record in records:
        number = record.number + shift
        inner = spacy_json.unfold(record.values) if isinstance(record, Record) else None
        if inner is None:
            yield replace(record, number=number) if shift else record
            continue
        shift -= 1
        for values in inner:
            shift += 1
            place = record.number + shift
            if values is None:
                yield LeftOutRecord(place, "nobody has annotated it", record.line)
            else:
                yield Record(place, values, record.line)


def read_annotations(record: Record, task: AnyTask, layout: Layout) -> Record | BadRecord:
    """The record with its annotations in the columns that the task reads; one that has none stays as it is.

    Spans become words with tags; they are taken from the columns that `layout` names for these. A task of Label Studio
    that nobody annotated is left out, and so is what an annotator of Prodigy refused.
    """
    try:
        values = record.values
        if values.get("answer") in _REFUSED and "answer" not in (task.example_columns or task.columns):
            raise label_studio.SkippedTask("its annotator refused it")
        if label_studio.is_task(values):
            values = label_studio.flatten(values, _ANSWERS)
        if task.target_column == "tags":
            values = _with_tags(values, task, layout.columns)
        elif spacy_json.CATEGORIES in values and not set(TARGET_COLUMNS.get(task.target_column or "", ())) & set(
            values
        ):
            values = {**values, label_studio.LABEL: spacy_json.read_categories(values[spacy_json.CATEGORIES])}
    except label_studio.SkippedTask as error:
        return LeftOutRecord(record.number, str(error), record.line)
    except ValueError as error:
        return BadRecord(record.number, str(error), record.line)
    return record if values is record.values else replace(record, values=values, raw="")


def _with_tags(values: Mapping[str, Any], task: AnyTask, columns: Mapping[str, str]) -> Mapping[str, Any]:
    """The values with words and tags in place of a text and its spans; as they are where there are none."""
    (field, names), *_ = (task.example_columns or task.columns).items()
    held = _find(values, names, columns.get(field))
    tokens = parse_list(held)
    # Some tools keep an object for each word beside the spans.
    if isinstance(tokens, list | tuple) and not any(isinstance(token, Mapping) for token in tokens):
        return values
    text = held if field in columns else _find(values, task.columns["text"])
    spans = _find_spans(values, columns.get("tags"))
    if not isinstance(text, str) or spans is None:
        return values
    words, tags = tag_words(text, read_spans(spans))
    return {**values, columns.get(field, field): words, columns.get("tags", "tags"): tags}


def _find(values: Mapping[str, Any], names: Sequence[str], chosen: str | None = None) -> Any:
    try:
        return look_up(values, find_column(list(values), names, chosen))
    except UnknownColumn:
        return None


def _find_spans(values: Mapping[str, Any], chosen: str | None) -> Any:
    """The spans of a record; None where it has none, and an empty list where its annotators found none."""
    is_task = label_studio.is_task(values)
    nothing: list[Any] | None = [] if is_task or label_studio.is_minimal(values) else None
    if chosen is not None:
        return nothing if (found := look_up(values, chosen)) is None else found
    usual = (label_studio.ENTITIES,) if is_task else SPAN_COLUMNS
    for name in usual:
        if are_spans(values.get(name)):
            return values[name]
    holding = [name for name, value in values.items() if are_spans(value)]
    if len(holding) > 1:
        raise ValueError(
            f"spans stand in several columns, {', '.join(map(repr, holding))}; name one with --tags-column"
        )
    if holding:
        return values[holding[0]]
    return [] if any(parse_list(values.get(name)) == [] for name in usual) else nothing
