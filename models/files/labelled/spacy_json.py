"""Objects of JSON in which spaCy keeps several texts, and those around them that annotators for spaCy write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

CATEGORIES = "cats"
"""The column of labels for whole texts."""


def unfold(values: Mapping[str, Any]) -> Iterator[dict[str, Any] | None] | None:
    """The texts that an object holds, each with its annotations; None in place of one that holds nothing.

    Returns None for an object that is no such collection. These are: a document of spaCy 2, whose paragraphs are the
    texts, and `{"classes": [...], "annotations": [["text", {"entities": [...]}], ...]}`.
    """
    if "text" in values:
        return None
    paragraphs = values.get("paragraphs")
    if isinstance(paragraphs, list) and _all_of(paragraphs, _is_paragraph):
        return map(_read_paragraph, paragraphs)
    annotations = values.get("annotations")
    if isinstance(annotations, list) and any(annotations) and _all_of(annotations, _is_pair_or_nothing):
        return (None if one is None else read_pair(one) for one in annotations)
    return None


def is_pair(value: Any) -> bool:
    """Whether a value is `["text", {"entities": [...]}]`, as spaCy's simple training data have it."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def read_pair(value: Any) -> dict[str, Any]:
    """The annotations of such a pair as columns, with the text in column `text`."""
    text, annotations = value
    return {**annotations, "text": text}


def read_categories(value: Any) -> Any:
    """The labels among categories with a value each, which is 1 or true for those that hold; a list as it is."""
    if isinstance(value, Mapping):
        return [label for label, given in value.items() if _holds(given)]
    if isinstance(value, list) and all(isinstance(one, Mapping) and "label" in one for one in value):
        return [one["label"] for one in value if _holds(one.get("value"))]
    return value


def _holds(given: Any) -> bool:
    return isinstance(given, bool | int | float) and given >= 0.5


def _all_of(values: Sequence[Any], is_one: Callable[[Any], bool]) -> bool:
    return bool(values) and all(map(is_one, values))


def _is_paragraph(value: Any) -> bool:
    if not isinstance(value, Mapping) or not _are_objects(value.get("sentences")):
        return False
    return all(_are_objects(sentence.get("tokens", [])) for sentence in value["sentences"])


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _is_pair_or_nothing(value: Any) -> bool:
    return value is None or is_pair(value)


def _read_paragraph(paragraph: Mapping[str, Any]) -> dict[str, Any]:
    tokens = [token for sentence in paragraph["sentences"] for token in sentence.get("tokens", ())]
    words = [token.get("orth") for token in tokens]
    # A dash stands for a tag that nobody gave.
    tags = [None if token.get("ner") == "-" else token.get("ner") for token in tokens]
    raw = paragraph.get("raw")
    found = {name: paragraph[name] for name in ("entities", CATEGORIES) if paragraph.get(name) is not None}
    found["text"] = raw if isinstance(raw, str) else " ".join(map(str, words))
    if any(tags):
        found |= {"tokens": words, "tags": tags}
    return found
